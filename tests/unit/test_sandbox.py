"""The sandbox on this machine: it ends with the platform, serves workers too, finds any Python, and says why it cannot be had."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import psutil
import pytest

from headrace.assets import Environment, Limits
from headrace.errors import NoIsolation, StorageUnavailable
from headrace.runners import RUNNERS, Task, bubblewrap
from headrace.runners.bubblewrap import confined, plan
from headrace.runners.local import LocalRunner, asked, probe

PLATFORM = """
import asyncio, sys
from pathlib import Path
from headrace.assets import Environment, Limits
from headrace.runners import RUNNERS, Task
name, image, token, folder = sys.argv[1:]
program = f"import os, time; os.fork(); os.setsid() if os.getpid() > 3 else None; print('up', flush=True); time.sleep(600) # {token}"
task = Task(["python", "-c", program], {}, Path(folder), Path(folder) / "log", Limits(), Environment(image=image))
asyncio.run(RUNNERS.find(name)().run(task, asyncio.Event()))
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    try:
        probe()
    except NoIsolation as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def with_token(token: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(token in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("name", RUNNERS.names())
def test_nothing_of_a_job_survives_a_killed_platform(name: str, tmp_path: Path) -> None:
    image = ""
    if name == "container":
        import runner_image

        image = runner_image.image(tmp_path)
        try:
            RUNNERS.find(name)().check(Environment.model_validate({"image": image}))
        except NoIsolation as error:
            pytest.skip(str(error))
    token, output = secrets.token_hex(12), tmp_path / "output"
    output.mkdir()
    platform = subprocess.Popen([sys.executable, "-c", PLATFORM, name, image, token, str(output)])
    log, deadline = output / "log", time.monotonic() + 30
    while not (log.exists() and log.read_bytes().count(b"up") == 2):
        assert platform.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert len(with_token(token)) >= 3
    platform.kill()
    platform.wait()
    deadline = time.monotonic() + 10
    while (left := with_token(token)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:
        process.kill()
    assert not left


WORKER = """
import json, os, socket
link = socket.socket(fileno=0)
told = {"uid": os.getuid(), "cwd": os.getcwd(), "home": os.environ["HOME"], "asked": link.recv(100).decode()}
for name, attempt in {
    "sibling": lambda: os.listdir("../other"), "readable": lambda: open(os.environ["EXTRA"]).read(),
    "network": lambda: socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), timeout=1),
    "change": lambda: open(os.environ["EXTRA"], "a"),
    "setuid": lambda: (open("tool", "w").close(), os.chmod("tool", 0o4755)),
    "created": lambda: os.open("other", os.O_CREAT | os.O_WRONLY, 0o2755),
    "mode": lambda: (os.chmod("tool", 0o750), os.stat("tool").st_mode & 0o7777 == 0o750)[1],
}.items():
    try:
        told[name] = str(attempt())
    except OSError as error:
        told[name] = error.strerror
open("state.bin", "w").write("learnt")
os.makedirs("deep/er"); os.replace("state.bin", "deep/er/state.bin")
link.sendall(json.dumps(told).encode())
"""


def test_a_companys_worker(tmp_path: Path) -> None:
    home, other, extra = tmp_path / "acme", tmp_path / "other", tmp_path / "plugin.py"
    home.mkdir(mode=0o700)
    other.mkdir()
    extra.write_text("x")
    extra.chmod(0o600)
    ours, theirs = socket.socketpair()
    with socket.socket() as server, ours:
        server.bind(("127.0.0.1", 0))
        server.listen()
        variables = {"EXTRA": str(extra), "PORT": str(server.getsockname()[1])}
        line = [*confined(home, variables, [extra]), sys.executable, "-c", WORKER]
        process = subprocess.Popen(line, stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()
        ours.settimeout(20)
        ours.sendall(b"are you there")
        told = json.loads(ours.recv(10_000))
        assert process.wait(20) == 0
    assert told["asked"] == "are you there" and told["cwd"] == str(home) and told["home"] == "/tmp"
    assert told["uid"] != 0 and told["sibling"] == "No such file or directory"
    assert (
        told["readable"] == "x"
        and told["change"] == "Read-only file system"
        and told["network"] == "Connection refused"
    )
    assert told["setuid"] == told["created"] == "Operation not permitted" and told["mode"] == "True"
    made = home / "deep" / "er" / "state.bin"
    assert made.read_text() == "learnt" and made.stat().st_uid == os.geteuid()


def test_a_worker_ends_with_the_platform(tmp_path: Path) -> None:
    token = secrets.token_hex(12)
    program = f"import subprocess, sys; from pathlib import Path; from headrace.runners.bubblewrap import confined; subprocess.run([*confined(Path({str(tmp_path)!r}), {{}}), sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)', {token!r}])"
    platform = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert platform.stdout is not None and platform.stdout.readline() == b"1\n"
    assert with_token(token)
    platform.kill()
    platform.wait()
    platform.stdout.close()
    deadline = time.monotonic() + 10
    while with_token(token):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_python_is_found_through_links_in_a_home(tmp_path: Path) -> None:
    """As uv and pyenv lay it out: venv -> link to a version -> the real folder, the packages through a .pth."""
    versions = tmp_path / "home" / ".local" / "python"
    versions.mkdir(parents=True)
    (versions / "3.11").symlink_to(sys.base_prefix)
    (versions / "current").symlink_to("3.11")
    venv = tmp_path / "home" / "project" / ".venv"
    name = f"python3.{sys.version_info.minor}"
    site = venv / "lib" / name / "site-packages"
    site.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(versions / "current" / "bin" / name)
    (venv / "pyvenv.cfg").write_text(f"home = {versions / 'current' / 'bin'}\nversion = {sys.version.split()[0]}\n")
    places = [entry for entry in sys.path if entry.endswith("site-packages")] + [
        str(Path(bubblewrap.__file__).parents[2])
    ]
    (site / "base.pth").write_text("\n".join(places))
    inner = "import headrace, numpy, sys, os; print(sys.prefix, sorted(os.listdir(sys.prefix + '/..')))"
    program = f"from headrace.runners.local import asked; print(asked({inner!r}).decode())"
    done = subprocess.run([venv / "bin" / "python", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(venv), "['.venv']"], done.stderr


def test_a_folder_of_the_platforms_is_hidden_in_pythons(tmp_path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib")) / "json"
    made = plan({}, "/", [library])
    assert ["--tmpfs", str(library.resolve())] == [
        word for word in made.after if word in ("--tmpfs", str(library.resolve()))
    ][:2]


async def test_private(tmp_path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib")) / "wsgiref"
    output = tmp_path / "output"
    output.mkdir()
    program = f"import os; print(os.listdir({str(library)!r}))"
    limits, environment = Limits.model_validate({}), Environment.model_validate({})
    task = Task(["python", "-c", program], {}, output, tmp_path / "log", limits, environment)
    ended = await LocalRunner(private=[library]).run(task, asyncio.Event())
    assert ended.code == 0 and (tmp_path / "log").read_text() == "[]\n"


def test_no_isolation_says_what_to_do() -> None:
    """In a sandbox there is no second one: a machine that cannot isolate, made on one that can."""
    told = asked(
        "from headrace.errors import NoIsolation\nfrom headrace.runners.local import probe\n"
        "try: probe()\nexcept NoIsolation as error: print(error)"
    ).decode()
    assert "cannot run other people's code isolated" in told and "not permitted" in told
    assert "kernel.unprivileged_userns_clone=1" in told and "apparmor_restrict_unprivileged_userns=0" in told


def test_no_bubblewrap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoIsolation, match="apt-get install bubblewrap"):
        bubblewrap.program()


def test_a_signal_is_told_as_it_was(tmp_path: Path) -> None:
    done = subprocess.run([*confined(tmp_path, {}), "sh", "-c", "kill -TERM $$"], check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_on_the_platforms_event_loop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")
    output = tmp_path / "output"
    output.mkdir()
    limits, environment = Limits.model_validate({"seconds": 1}), Environment.model_validate({})
    heard: list[bytes] = []
    for program, how in (("print('::progress 0.5')", "exit"), ("while True: pass", "time")):
        task = Task(["python", "-c", program], {}, output, tmp_path / "log", limits, environment, heard=heard.append)
        assert uvloop.run(LocalRunner().run(task, asyncio.Event())).how == how
    assert b"".join(heard) == b"::progress 0.5\n"


async def test_a_run_whose_caller_gives_up(tmp_path: Path) -> None:
    """A cancelled asyncio task leaves no process behind either."""
    token, output = secrets.token_hex(12), tmp_path / "output"
    output.mkdir()
    limits, environment = Limits.model_validate({}), Environment.model_validate({})
    program = f"import time; print('up', flush=True); time.sleep(600) # {token}"
    task = Task(["python", "-c", program], {}, output, tmp_path / "log", limits, environment)
    run = asyncio.create_task(LocalRunner().run(task, asyncio.Event()))
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_bytes():
        await asyncio.sleep(0.02)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not with_token(token)


async def test_what_is_gone_from_the_disk_is_told(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    limits, environment = Limits.model_validate({}), Environment.model_validate({})
    task = Task(["python", "-c", ""], {"/work/data/0/x": tmp_path / "x"}, output, tmp_path / "log", limits, environment)
    with pytest.raises(StorageUnavailable, match="/work/data/0/x"):
        await LocalRunner().run(task, asyncio.Event())
