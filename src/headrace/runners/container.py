"""The container runner: podman on this machine, with the recipe's image, named by its digest.

The image is never pulled, its file system is read-only, there is no network. The container is made and initialised first: then
its output's tmpfs can be opened from outside and its first process be moved into control groups of ours, before the program
starts; from there on a run is watched as in bubblewrap. podman's own monitor outlives the platform, so a guard process
ends the container when the platform is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from headrace.assets import Environment, Limits
from headrace.errors import NoIsolation, WrongEnvironment
from headrace.runners import Ended, Task
from headrace.runners.bubblewrap import Plan, new_user
from headrace.runners.cgroups import Group, places
from headrace.runners.environment import compare, fingerprint
from headrace.runners.local import OUTPUT, check_inputs, defaults, limits_by, threads
from headrace.runners.sandboxed import Sandboxed, room
from headrace.runners.seccomp import COMMANDS, FAMILIES, REFUSED

INSTALL = "apt-get install --no-install-recommends podman runc (dnf install podman)"
USER_IDS = "apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME"
PATIENCE = 120
"""Seconds for one podman command."""
GUARD = """
import os, signal, sys
first = os.pidfd_open(int(sys.argv[1]))
print(flush=True)
sys.stdin.read()
signal.pidfd_send_signal(first, signal.SIGKILL)
"""

NAMESPACES = 0x7E020000
"""clone(2)'s flags for new namespaces."""
PROFILE = "/usr/share/containers/seccomp.json"
INIT = """
import os, sys
child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    pid, status = os.wait()
    if pid == child:
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
"""
"""The first process: a program that is first itself cannot be killed by its own signals, and inherits the dead of others."""


class ContainerRunner:
    """Runs tasks with podman: as root in rootful containers under an id of nobody, else in rootless ones."""

    def check(self, environment: Environment) -> None:
        """Raises NoIsolation, WrongEnvironment."""
        probe()
        image = environment.image
        if not image:
            raise WrongEnvironment(detail="the recipe names no image, which the container runner needs")
        if "@sha256:" not in image:
            raise WrongEnvironment(
                detail=f"{image!r} may be another image tomorrow; name it by its digest: podman images --digests"
            )
        if _podman("image", "exists", image).returncode:
            raise WrongEnvironment(
                detail=f"{image!r} is not on this machine, and nothing is pulled: podman pull it, or load it"
            )
        compare(environment, _ask(image))

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """The fingerprint of what the image has."""
        made = fingerprint(threads(limits), _ask(environment.image))
        return {**made, "image": environment.image, "isolation": "podman", "limits_by": limits_by()}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """See the Protocol."""
        await asyncio.to_thread(self.check, task.environment)
        return await _contained(task, cancel)


async def _contained(task: Task, cancel: asyncio.Event) -> Ended:
    check_inputs(task)
    where = places()
    group = await asyncio.to_thread(Group, where, task.limits) if where else None
    try:
        return await _Contained(task, Plan(bwrap="", uid=new_user()), group).run(cancel)
    finally:
        if group is not None:
            await asyncio.to_thread(group.close)


class _Contained(Sandboxed):
    """One run: as in bubblewrap, but for its beginning."""

    async def _start(self, writer: int, stack: contextlib.ExitStack) -> Process:
        name = f"headrace-{secrets.token_hex(8)}"
        stack.callback(_remove, name)
        inputs = stack.enter_context(_readable(self._task.inputs, self._made.uid))
        options = _options(self._task, self._made.uid, inputs)
        image = self._task.environment.image
        command = list(self._task.command)
        if command[0] == "python":
            command = ["python", "-I", "-S", "-c", INIT, *command]
        options += stack.enter_context(_profile())
        await _done("create", "--name", name, *options, image, *command)
        await _done("container", "init", name)
        self._first_pid = int(await _done("inspect", "--format", "{{.State.Pid}}", name))
        self._first = os.pidfd_open(self._first_pid)
        if self._group is not None:
            self._group.add(self._first_pid)
        self._folders = [_open_inside(self._first_pid, place) for place in (OUTPUT, "/tmp", "/dev/shm")]  # noqa: S108
        self._started = True
        stack.enter_context(self._guard())
        line = [*_line(), "start", "--attach", name]
        return await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=writer, stderr=writer, start_new_session=True
        )

    def _hear(self) -> None:
        """Everything is known from the beginning."""

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """A process that kills the container when the pipe to us is closed, by our death too."""
        line = [sys.executable, "-I", "-S", "-c", GUARD, str(self._first_pid)]
        pipe = subprocess.PIPE
        with subprocess.Popen(line, stdin=pipe, stdout=pipe, start_new_session=True) as guard:
            assert guard.stdout is not None
            guard.stdout.readline()
            try:
                yield
            finally:
                guard.kill()


def _open_inside(pid: int, place: str) -> int:
    """A folder of the container, step by step: an image's link may lead anywhere, and out here it would lead to ours."""
    at = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY)
    for name in place.strip("/").split("/"):
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        except OSError as error:
            raise WrongEnvironment(
                detail=f"in the image {place} is not what it has to be ({error.strerror})"
            ) from error
        finally:
            os.close(at)
        at = below
    return at


def _options(task: Task, uid: int, inputs: Mapping[str, Path]) -> list[str]:
    limits = task.limits
    variables = {**defaults(limits), "HOME": "/tmp", "LANG": "C.UTF-8", "TZ": "UTC", **task.variables}  # noqa: S108
    tmpfs = "rw,nosuid,nodev,mode=1777"
    half = limits.memory_bytes // 2
    return [
        "--pull=never", "--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--entrypoint=",
        "--cap-drop=all", "--security-opt=no-new-privileges", "--log-driver=none", "--http-proxy=false", "--no-hosts",
        "--hostname=sandbox", "--systemd=false", "--ipc=private", f"--shm-size={half}", f"--workdir={task.folder}",
        "--ulimit=core=0:0", "--ulimit=nofile=1024:1024", f"--ulimit=nproc={limits.processes + 1}:{limits.processes + 1}",
        *([f"--user={uid}:{uid}"] if uid else ["--userns=keep-id"]),
        *[f"--env={name}={value}" for name, value in variables.items()],
        f"--tmpfs=/tmp:{tmpfs},size={half}", f"--tmpfs={OUTPUT}:{tmpfs},size={room(limits)}",
        *[f"--mount={_mount(source, target)}" for target, source in inputs.items()],
    ]  # fmt: skip


def _mount(source: Path, target: str) -> str:
    """podman reads it as a line of CSV: names with commas and quotes are quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        ["type=bind", f"source={source}", f"destination={target}", "readonly=true"]
    )
    return line.getvalue()


@contextlib.contextmanager
def _profile() -> Iterator[list[str]]:
    """podman's own filter of system calls, without what our sandboxes refuse; where it has none, its built-in one."""
    if not Path(PROFILE).exists():
        yield []
        return
    profile = json.loads(Path(PROFILE).read_text(encoding="utf-8"))
    again = {"clone", "socket", "socketpair", "fcntl"}  # for some arguments only; clone3's flags cannot be seen
    for rule in profile["syscalls"]:
        unwanted = {*REFUSED, *again, "clone3", "flock"} if rule["action"] == "SCMP_ACT_ALLOW" else again
        rule["names"] = [name for name in rule["names"] if name not in unwanted]
    profile["syscalls"] = [*(rule for rule in profile["syscalls"] if rule["names"]), *_allowed()]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(profile, file)
        file.flush()
        yield [f"--security-opt=seccomp={file.name}"]


def _allowed() -> Iterator[dict[str, Any]]:
    """Threads but no namespaces; sockets and handles as in `headrace.runners.seccomp`. preadv2's flags are podman's to judge."""
    kinds: list[tuple[list[str], int, str, Sequence[int]]] = [(["clone"], 0, "SCMP_CMP_MASKED_EQ", [NAMESPACES])]
    kinds += [(["socket", "socketpair"], 0, "SCMP_CMP_EQ", FAMILIES), (["fcntl"], 1, "SCMP_CMP_EQ", COMMANDS)]
    for names, index, how, values in kinds:
        for value in values:
            only = {"index": index, "value": value, "valueTwo": 0, "op": how}
            yield {"names": names, "action": "SCMP_ACT_ALLOW", "args": [only]}


@contextlib.contextmanager
def _readable(inputs: Mapping[str, Path], uid: int) -> Iterator[Mapping[str, Path]]:
    """The inputs where the container's user may read them: as root, those that are private are copied for the run."""
    with tempfile.TemporaryDirectory(prefix="headrace-inputs-") as folder:
        Path(folder).chmod(0o755)
        yield {
            target: _copy(source.resolve(), Path(folder) / str(number))
            if uid and not _public(source)
            else source.resolve()
            for number, (target, source) in enumerate(inputs.items())
        }


def _public(path: Path) -> bool:
    """Whether everybody may read it, and what is in it."""
    below = [path, *path.rglob("*")] if path.is_dir() else [path]
    wanted = ((one.stat().st_mode, 0o005 if one.is_dir() else 0o004) for one in below if not one.is_symlink())
    return all(mode & bits == bits for mode, bits in wanted)


def _copy(source: Path, place: Path) -> Path:
    if source.is_dir():
        shutil.copytree(source, place, symlinks=True)
    else:
        shutil.copyfile(source, place)
    for one in [place, *(place.rglob("*") if place.is_dir() else ())]:
        if not one.is_symlink():
            one.chmod(0o755 if one.is_dir() else 0o644)
    return place


@cache
def probe() -> None:
    """Whether podman works here. Raises NoIsolation."""
    done = _podman("info", "--format", "{{.Host.OCIRuntime.Name}}") if shutil.which("podman") else None
    if done is None:
        raise NoIsolation(reason="there is no podman", fix=INSTALL)
    if done.returncode:
        raise NoIsolation(reason=_last(done.stderr) or "podman does not work", fix="see what `podman info` says")
    if os.geteuid() != 0 and int(_podman("info", "--format", "{{len .Host.IDMappings.UIDMap}}").stdout or 0) < 2:
        raise NoIsolation(reason="podman has no user ids of its own for this user", fix=USER_IDS)


@cache
def _line() -> tuple[str, ...]:
    """podman without systemd, which a platform in a container or started by hand need not have."""
    runtime = next((found for name in ("crun", "runc") if (found := shutil.which(name, path=_search()))), "runc")
    return ("podman", "--cgroup-manager=cgroupfs", "--events-backend=none", f"--runtime={runtime}")


def _search() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _podman(*words: str) -> subprocess.CompletedProcess[bytes]:
    """One command. Raises NoIsolation when it hangs."""
    try:
        return subprocess.run(
            [*_line(), *words], capture_output=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise NoIsolation(reason=f"`podman {words[0]}` gave no answer", fix="see what `podman info` says") from error


async def _done(*words: str) -> str:
    """What a command printed. Raises NoIsolation."""
    done = await asyncio.to_thread(_podman, *words)
    if done.returncode:
        raise NoIsolation(reason=f"podman {words[0]}: {_last(done.stderr)}", fix="see what `podman info` says")
    return done.stdout.decode().strip()


def _remove(name: str) -> None:
    _podman("rm", "--force", "--ignore", "--time=0", name)


def _last(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


@cache
def _ask(image: str) -> partial[bytes]:
    """Runs Python in the image; the same object for the same image."""
    return partial(_asked, image)


def _asked(image: str, code: str) -> bytes:
    """An image is a stranger's: the question is a run like any other, in a loop of its own. Blocks."""
    with tempfile.TemporaryDirectory(prefix="headrace-ask-") as folder, ThreadPoolExecutor(1) as thread:
        output, log = Path(folder) / "output", Path(folder) / "log"
        output.mkdir()
        limits = Limits.model_validate(
            {"seconds": PATIENCE, "memory_bytes": 2**30, "output_files": 1, "output_bytes": 1}
        )
        asked = Environment.model_validate({"image": image})
        ended = thread.submit(_run, Task(["python", "-c", code], {}, output, log, limits, asked)).result()
        said = log.read_bytes()
    if ended.how != "exit" or ended.code:
        raise WrongEnvironment(detail=f"the image {image!r} does not answer as Python: {ended.detail or _last(said)}")
    return said


def _run(task: Task) -> Ended:
    with asyncio.Runner() as runner:
        return runner.run(_contained(task, asyncio.Event()))
