"""What every runner must do, above all with programs that mean harm.

Each check is a small program and what must become of it; `CHECKS` names them all, `check_runner` runs one after the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from headrace.assets import Environment, Limits
from headrace.errors import WrongEnvironment
from headrace.runners import Ended, Runner, Task
from headrace.runners.collect import collect

MEMORY = 192 * 2**20
SECONDS = 20.0
"""A limit no honest check comes near."""
LATE = 15.0
"""Seconds after which a run that had to be ended is called endless, on a busy machine."""
Check: TypeAlias = "Callable[[Stage], Awaitable[None]]"


@dataclass
class Stage:
    """A runner and a folder to try it in.

    Args:
        environment: what its tasks ask for.
    """

    runner: Runner
    folder: Path
    environment: Environment = field(default_factory=Environment)  # type: ignore[arg-type]

    async def run(
        self,
        program: str,
        inputs: Mapping[str, Path] | None = None,
        variables: Mapping[str, str] | None = None,
        cancel: asyncio.Event | None = None,
        name: str = "a",
        **limits: Any,
    ) -> Tried:
        """Run a Python program; limits are small unless given."""
        home = self.folder / name
        output = home / "output"
        output.mkdir(parents=True, exist_ok=True)
        small = {"memory_bytes": MEMORY, "seconds": SECONDS, "output_bytes": 2**20, "output_files": 50, "processes": 16}
        task = Task(
            command=["python", "-c", program],
            inputs=inputs or {},
            output=output,
            log=home / "log",
            limits=Limits.model_validate({**small, **limits}),
            environment=self.environment,
            variables=variables or {},
        )
        ended = await self.runner.run(task, cancel or asyncio.Event())
        return Tried(ended, task, (home / "log").read_text(encoding="utf-8", errors="replace"), home)


@dataclass
class Tried:
    """What became of a program."""

    ended: Ended
    task: Task
    log: str
    home: Path

    def collected(self) -> tuple[dict[str, bytes], list[str]]:
        """(path -> content of what may be taken, what was left out)."""
        into = self.home / "collected"
        into.mkdir()
        left = [*self.ended.left_out, *collect(self.task.output, self.task.limits, into)]
        return {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}, left

    def went_well(self) -> Tried:
        """Raises AssertionError unless it ended by itself with 0."""
        assert self.ended.how == "exit" and self.ended.code == 0, f"{self.ended}\n{self.log}"
        return self

    def was(self, how: str) -> Tried:
        """Raises AssertionError unless it was ended for that, told why, and in time."""
        assert self.ended.how == how, f"ended by {self.ended.how!r}, not {how!r}: {self.ended}\n{self.log}"
        assert self.ended.detail, "nothing says why it was ended"
        assert self.ended.seconds < LATE, f"it took {self.ended.seconds:.1f} s to end it"
        return self


async def check_runner(runner: Runner, folder: Path) -> None:
    """All checks, in folders of their own. Raises AssertionError with what went wrong."""
    for name, check in CHECKS.items():
        place = folder / name
        place.mkdir()
        await check(Stage(runner, place))


async def ordinary(stage: Stage) -> None:
    """Output comes out, in folders too; what is printed is logged; it says how it ended."""
    tried = await stage.run(
        "import os, sys; os.makedirs('/work/output/a/b'); open('/work/output/a/b/weights.bin','wb').write(bytes(1000));"
        "open('/work/output/metrics.json','w').write('{}'); print('to stdout', flush=True); print('to stderr', file=sys.stderr)"
    )
    tried.went_well()
    files, left = tried.collected()
    assert files == {"a/b/weights.bin": bytes(1000), "metrics.json": b"{}"}, f"collected {files}"
    assert not left, f"left out: {left}"
    assert tried.log == "to stdout\nto stderr\n", f"logged {tried.log!r}"
    assert 0 < tried.ended.seconds < SECONDS


async def exit_codes(stage: Stage) -> None:
    """The program's own code; 128 + signal; no output is no error of the runner; no such program."""
    for code in (0, 1, 7, 255):
        ended = (await stage.run(f"import sys; sys.exit({code})")).ended
        assert (ended.how, ended.code) == ("exit", code), f"exit({code}) gave {ended}"
    ended = (await stage.run("import os; os.kill(os.getpid(), 9)")).ended
    assert (ended.how, ended.code) == ("exit", 137), f"SIGKILL gave {ended}"
    ended = (await stage.run("raise ValueError('bad data')")).ended
    assert (ended.how, ended.code) == ("exit", 1), f"an exception gave {ended}"


async def nothing_written(stage: Stage) -> None:
    """Exit 0 without output: said to be that, with an empty folder."""
    tried = (await stage.run("pass")).went_well()
    assert tried.collected() == ({}, []), "something was collected from nothing"


async def variables(stage: Stage) -> None:
    """It sees the variables given, and none of the platform's."""
    tried = await stage.run(
        "import json, os; open('/work/output/env','w').write(json.dumps(dict(os.environ)))",
        variables={"HEADRACE_DATA": "/work/data/ü ñ", "SEED": "3", "LONG": "x" * 5000},
    )
    found = json.loads(tried.went_well().collected()[0]["env"])
    assert found["HEADRACE_DATA"] == "/work/data/ü ñ" and found["SEED"] == "3" and len(found["LONG"]) == 5000
    known = {"container", "HOSTNAME", "TERM"}  # what container engines set
    known |= {"PATH", "HOME", "USER", "LANG", "TZ", "PWD", "PYTHONHASHSEED", "PYTHONUNBUFFERED", "KERAS_BACKEND"}
    foreign = {name for name in found if not name.endswith("_NUM_THREADS")} - known - {"HEADRACE_DATA", "SEED", "LONG"}
    assert not foreign & set(os.environ), f"variables of the platform came in: {foreign}"


async def inputs_are_read_only(stage: Stage) -> None:
    """Files and folders are where they were asked for, also private ones, and nothing changes them."""
    folder = stage.folder / "code"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "x.py").write_text("x = 1")
    data = stage.folder / "günther, mit leerzeichen.csv"
    data.write_bytes(b"a,b\n1,2\n")
    data.chmod(0o600)
    before = sorted(str(path) for path in stage.folder.rglob("*"))
    tried = await stage.run(
        """
import os
assert open("/work/data/0/ä,ro=false b.csv").read() == "a,b\\n1,2\\n" and open("/work/code/deep/x.py").read() == "x = 1"
def tries():
    yield lambda: open("/work/data/0/ä,ro=false b.csv", "a")
    yield lambda: open("/work/code/new.py", "w")
    yield lambda: open("/work/code/deep/new.py", "w")
    yield lambda: os.remove("/work/code/deep/x.py")
    yield lambda: os.chmod("/work/data/0/ä,ro=false b.csv", 0o777)
    yield lambda: os.rename("/work/code/deep", "/work/code/flat")
    yield lambda: os.utime("/work/code/deep/x.py", (0, 0))
for attempt in tries():
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit("an input was changed")
""",
        inputs={"/work/code": folder, "/work/data/0/ä,ro=false b.csv": data},
    )
    tried.went_well()
    after = sorted(str(path) for path in stage.folder.rglob("*") if not path.is_relative_to(tried.home))
    assert after == before and data.read_bytes() == b"a,b\n1,2\n", "an input was changed"


async def no_network(stage: Stage) -> None:
    """It reaches no address, not even this machine's own; there is no interface but its own loopback."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        tried = await stage.run(
            f"""
import socket
for address in (("127.0.0.1", {server.getsockname()[1]}), ("192.0.2.1", 80), ("1.1.1.1", 53)):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        continue
    raise SystemExit(f"reached {{address}}")
try:
    socket.getaddrinfo("example.org", 80)
except OSError:
    pass
else:
    raise SystemExit("names are resolved")
tunnels = ("lo", "tunl", "sit", "gre", "erspan", "ip_", "ip6")  # kernels put some into every namespace, and they lead nowhere
names = [line.split(":")[0].strip() for line in open("/proc/net/dev").read().splitlines()[2:]]
assert all(name.startswith(tunnels) for name in names), names
"""
        )
        tried.went_well()
        server.setblocking(False)
        try:
            server.accept()
        except BlockingIOError:
            return
        raise AssertionError("it reached a server on this machine")


async def no_other_sockets(stage: Stage) -> None:
    """Families of sockets that no namespace holds, or that reach deep into the kernel, cannot be had; the usual ones can."""
    tried = await stage.run(
        """
import socket
for family, kind in ((16, 3), (17, 3), (38, 5), (40, 1), (29, 3), (31, 1), (44, 3)):  # NETLINK PACKET ALG VSOCK CAN BLUETOOTH XDP
    for make in (socket.socket, socket.socketpair):
        try:
            make(family, kind, 0)
        except OSError:
            continue
        raise SystemExit(f"has a socket of family {family}")
socket.socketpair()[0].close()
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
    socket.socket(family).close()
"""
    )
    tried.went_well()


LOCKS = """
import ctypes, encodings, fcntl, os, struct
libc, shared = ctypes.CDLL(None, use_errno=True), open(encodings.__file__, "rb")
region = struct.pack("hhqqi4x", 0, 0, 0, 0, 0)
tries = {"flock": lambda: fcntl.flock(shared, 2 | 4), "inotify": lambda: known(libc.inotify_init1(0))}
for command in (5, 6, 7, 36, 37, 38):
    tries[f"fcntl lock {command}"] = lambda command=command: fcntl.fcntl(shared, command, region)
for command, value in ((1024, 0), (1025, 0), (1026, 1), (1035, b"x" * 8), (1036, b"\\3" + bytes(7))):
    tries[f"fcntl {command}"] = lambda command=command, value=value: fcntl.fcntl(shared, command, value)
def known(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
for name, attempt in tries.items():
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit(f"can {name}")
os.set_inheritable(os.dup(shared.fileno()), True)
fcntl.fcntl(shared, fcntl.F_SETFL, fcntl.fcntl(shared, fcntl.F_GETFL) | os.O_NONBLOCK)
"""


async def nothing_shared_to_lock(stage: Stage) -> None:
    """Files that other sandboxes see too carry no sign: neither locks nor leases, watches or hints can be set or seen."""
    (await stage.run(LOCKS)).went_well()


async def no_file_system(stage: Stage) -> None:
    """Files of the machine are neither seen nor made: by absolute paths, `..`, links, other processes, devices."""
    secret = stage.folder / "secret"
    secret.write_text("the platform's")
    tried = await stage.run(
        f"""
import os
secret = {str(secret)!r}
for path in (secret, "/work/output/../.." + secret, "/proc/1/root" + secret, "/proc/self/cwd/../.." + secret,
             "/etc/shadow", "/root/.bashrc", "/proc/kcore", "/dev/sda", "/dev/vda", "/dev/mem"):
    try:
        open(path, "rb").read(1)
    except OSError:
        continue
    raise SystemExit(f"read {{path}}")
os.symlink(secret, "/work/output/link")
assert not os.path.exists("/work/output/link")
for path in ("/x", "/etc/x", "/usr/x", "/usr/bin/x", "/bin/x", "/dev/x", "/work/x", "/proc/sys/kernel/core_pattern", "/sys/x"):
    try:
        open(path, "w").write("x")
    except OSError:
        continue
    raise SystemExit(f"wrote {{path}}")
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) > 20]
assert not others, f"sees processes {{others}}"
assert os.getuid() != 0 or open("/proc/self/uid_map").read().split()[1] != "0", "is root outside"
"""
    )
    tried.went_well()
    assert secret.read_text() == "the platform's"


async def no_privileges(stage: Stage) -> None:
    """No capability, none to be had, and the calls that open kernels are refused."""
    tried = await stage.run(
        """
import ctypes, os
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0 and int(status["CapBnd"], 16) == 0, status
assert status["NoNewPrivs"].strip() == "1", "setuid programs work"
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") == -1, "can mount"
assert libc.unshare(0x10000000) == -1, "can make user namespaces"
assert libc.ptrace(0, 0, 0, 0) == -1, "can trace"
for call in (os.setuid, os.setgid):
    try:
        call(12345)
    except OSError:
        continue
    raise SystemExit("changed its user")
"""
    )
    tried.went_well()


async def fork_bomb(stage: Stage) -> None:
    """Processes and threads are counted together; the bomb goes nowhere and the machine stays usable."""
    tried = await stage.run(
        """
import os, time
made = 0
for _ in range(300):
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    made += 1
print("made", made)
assert made < 16, made
while True:
    try:
        if os.fork() == 0:
            while True:
                try: os.fork()
                except OSError: time.sleep(0.01)
    except OSError:
        time.sleep(0.01)
""",
        seconds=3,
    )
    tried.was("time")
    assert "made " in tried.log and "Error" not in tried.log, tried.log


async def memory_bomb(stage: Stage) -> None:
    """One process that takes all memory is ended for it."""
    tried = await stage.run("kept = []\nwhile True: kept.append(b'x' * 2**20)", memory_bytes=128 * 2**20)
    tried.was("memory")


async def memory_bomb_of_many(stage: Stage) -> None:
    """Each takes little, together they take too much."""
    tried = await stage.run(
        """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(os.urandom(2**16) * (48 * 16))
        time.sleep(60)
time.sleep(60)
""",
        memory_bytes=192 * 2**20,
    )
    tried.was("memory")


async def memory_bomb_of_files(stage: Stage) -> None:
    """Files in /tmp and shared memory are memory, too: they are refused or count."""
    tried = await stage.run(
        """
import time
kept = b"x" * 2**20
try:
    for place in ("/tmp/a", "/dev/shm/b"):
        with open(place, "wb") as file:
            for _ in range(256):
                file.write(kept)
except OSError as error:
    raise SystemExit(f"full: {error}")
time.sleep(30)
""",
        memory_bytes=128 * 2**20,
    )
    ended = tried.ended
    assert ended.how == "memory" or (ended.how == "exit" and "full" in tried.log), f"{ended}\n{tried.log}"


async def endless_loop(stage: Stage) -> None:
    """Time ends everything: children in sessions of their own, and those that ignore signals."""
    began = time.monotonic()
    tried = await stage.run(
        """
import os, signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
os.fork()
os.setsid() if os.getpid() != 2 and os.getpgrp() != os.getpid() else None
while True: pass
""",
        seconds=1.0,
    )
    tried.was("time")
    assert 1.0 <= time.monotonic() - began < LATE, "time was not kept"


async def orphans(stage: Stage) -> None:
    """What a program leaves running in the background ends with it."""
    tried = await stage.run(
        """
import os, time
if os.fork() == 0:
    os.setsid()
    while True:
        open("/work/output/beat", "w").write(str(time.time()))
        time.sleep(0.01)
time.sleep(0.3)
print("gone")
"""
    )
    tried.went_well()
    before = {path.name: path.stat().st_mtime_ns for path in tried.task.output.iterdir()}
    await asyncio.sleep(0.3)
    assert before == {path.name: path.stat().st_mtime_ns for path in tried.task.output.iterdir()}, "it is still alive"


async def million_files(stage: Stage) -> None:
    """1e6 output files: ended at the limit, and the machine's disk does not fill."""
    program = "for n in range(10**6): open(f'/work/output/{n}', 'w').close()"
    (await stage.run(program)).was("files")


async def a_few_files_too_many(stage: Stage) -> None:
    """The limit is the limit."""
    program = "for n in range({}): open(f'/work/output/{{n}}', 'w').write('x')"
    (await stage.run(program.format(50))).went_well()
    (await stage.run(program.format(51), name="b")).was("files")


async def output_too_big(stage: Stage) -> None:
    """Bytes really written, a sparse file that claims 100 GB, and files deleted while open."""
    real = "with open('/work/output/big','wb') as file:\n  for _ in range(10**5): file.write(bytes(2**20))"
    (await stage.run(real)).was("output")
    (await stage.run("open('/work/output/sparse','wb').truncate(100 * 10**9)", name="b")).was("output")
    hidden = """
import os
kept = []
for n in range(1000):
    file = open("/work/output/hidden", "wb")
    file.write(bytes(2**16)); file.flush()
    os.remove("/work/output/hidden")
    kept.append(file)
"""
    tried = await stage.run(hidden, name="c")
    assert tried.ended.how == "output" or "No space left" in tried.log, f"{tried.ended}\n{tried.log}"


async def links_and_pipes(stage: Stage) -> None:
    """Symbolic links, hard links, pipes, sockets in the output: never followed, never opened, left out by name."""
    secret = stage.folder / "secret"
    secret.write_text("the platform's")
    tried = await stage.run(
        f"""
import os, socket
os.chdir("/work/output")
open("good", "w").write("good")
os.symlink({str(secret)!r}, "symlink")
os.symlink("/", "folder")
os.symlink("good", "inner")
open("one", "w").write("twice")
os.link("one", "two")
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
os.mkdir("sub")
os.symlink("..", "sub/up")
"""
    )
    files, left = tried.went_well().collected()
    assert files == {"good": b"good"}, f"collected {files}"
    told = "\n".join(left)
    for name in ("symlink", "folder", "inner", "one", "two", "pipe", "socket", "sub/up"):
        assert f"'{name}'" in told, f"nothing says that {name} was left out: {left}"


async def names_nobody_can_store(stage: Stage) -> None:
    """Names that are no UTF-8, have line ends or are deep are left out and told, readable; unicode is taken."""
    tried = await stage.run(
        """
import os
os.chdir(b"/work/output")
for name in (b"a\\xff", b"line\\nend", b"esc\\x1b[2J", "gewichte-größe-模型.bin".encode(), b"back\\\\slash", b".hidden"):
    open(name, "w").write("x")
os.makedirs("/".join("d" * 20))
open("/".join("d" * 20) + "/deep", "w").write("x")
"""
    )
    files, left = tried.went_well().collected()
    assert set(files) == {"gewichte-größe-模型.bin", ".hidden"}, f"collected {sorted(files)}"
    assert len(left) == 5 and all(line.isprintable() for line in left), f"told {left}"


async def big_log(stage: Stage) -> None:
    """A log keeps its beginning and its end within its size, says what is missing, and stops nobody."""
    tried = await stage.run(
        "print('the beginning')\nfor n in range(200_000): print('line', n)\nprint('the end')", log_bytes=10_000
    )
    tried.went_well()
    size = tried.task.log.stat().st_size
    assert size <= 10_000, f"the log has {size} bytes"
    assert tried.log.startswith("the beginning\nline 0\n") and tried.log.endswith("the end\n"), tried.log[-100:]
    assert "bytes left out" in tried.log, "nothing says that something is missing"


async def live_log(stage: Stage) -> None:
    """What is printed is in the log while the program runs; and it may print anything."""
    cancel = asyncio.Event()
    run = asyncio.create_task(
        stage.run("import time, os; os.write(1, b'\\xff\\x00ready\\n'); time.sleep(30)", cancel=cancel)
    )
    log = stage.folder / "a" / "log"
    try:
        for _ in range(200):
            if log.exists() and b"ready" in log.read_bytes():
                break
            assert not run.done(), (await run).ended
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("nothing was logged while it ran")
    finally:
        cancel.set()
        ended = (await run).ended
    assert ended.how == "cancelled", ended


async def cancelled(stage: Stage) -> None:
    """Cancelled at once, before it began and while it runs."""
    cancel = asyncio.Event()
    cancel.set()
    (await stage.run("import time; time.sleep(60)", cancel=cancel)).was("cancelled")
    cancel = asyncio.Event()
    asyncio.get_running_loop().call_later(0.5, cancel.set)
    (await stage.run("import os\nos.fork()\nwhile True: pass", cancel=cancel, name="b")).was("cancelled")


async def two_at_a_time(stage: Stage) -> None:
    """Two run beside each other and see nothing of each other."""
    program = """
import os, time
before = set(os.listdir("/tmp"))  # a Python that lives below /tmp has its folders there
assert "mine" not in before, "the other's files"
open("/tmp/mine", "w").write("x")
open("/work/output/from", "w").write(str(time.time()))
time.sleep(1)
assert set(os.listdir("/tmp")) - before == {"mine"} and sorted(os.listdir("/work/output")) == ["from"]
assert sum(name.isdigit() for name in os.listdir("/proc")) <= 5
open("/work/output/to", "w").write(str(time.time()))
"""
    both = await asyncio.gather(stage.run(program, name="a"), stage.run(program, name="b"))
    spans = [tried.went_well().collected()[0] for tried in both]
    assert max(float(span["from"]) for span in spans) < min(float(span["to"]) for span in spans), "one after the other"


async def environment_refused(stage: Stage) -> None:
    """An environment that is not the one asked for is refused before anything runs, each difference named."""
    asked = stage.environment.model_copy(update={"requires": {"python": "2.7.18", "no-such-package": "1.0"}})
    for attempt in (lambda: stage.runner.check(asked), lambda: stage.runner.check(_other(stage.environment))):
        try:
            await asyncio.to_thread(attempt)
        except WrongEnvironment as error:
            if attempt.__name__ and "fingerprint" not in str(error):
                assert "python 2.7.18" in str(error) and "no-such-package 1.0" in str(error), str(error)
            continue
        raise AssertionError("a wrong environment was accepted")
    await asyncio.to_thread(stage.runner.check, stage.environment)


def _other(environment: Environment) -> Environment:
    return environment.model_copy(update={"fingerprint": "sha256:" + "0" * 64})


async def environment_described(stage: Stage) -> None:
    """The fingerprint is the same every time, differs by threads, is accepted, and says what is inside."""
    one, again, two = [
        await asyncio.to_thread(stage.runner.describe, stage.environment, Limits.model_validate({"cpus": cpus}))
        for cpus in (1, 1, 2)
    ]
    assert one == again and one["digest"] != two["digest"], "the fingerprint does not tell environments apart"
    assert one["python"] and one["threads"] == 1 and isinstance(one["packages"], dict), one
    asked = stage.environment.model_copy(update={"fingerprint": one["digest"], "requires": {"python": one["python"]}})
    await asyncio.to_thread(stage.runner.check, asked)


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        ordinary,
        exit_codes,
        nothing_written,
        variables,
        inputs_are_read_only,
        no_network,
        no_other_sockets,
        nothing_shared_to_lock,
        no_file_system,
        no_privileges,
        fork_bomb,
        memory_bomb,
        memory_bomb_of_many,
        memory_bomb_of_files,
        endless_loop,
        orphans,
        million_files,
        a_few_files_too_many,
        output_too_big,
        links_and_pipes,
        names_nobody_can_store,
        big_log,
        live_log,
        cancelled,
        two_at_a_time,
        environment_refused,
        environment_described,
    )
}
