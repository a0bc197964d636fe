"""The container runner: podman on this machine, with the recipe's image, named by its digest.

The image is never pulled, its file system is read-only, there is no network. The container is made and initialised first: then
its output's tmpfs can be opened from outside and its first process be moved into control groups of ours, before the program
starts; from there on a run is watched as in bubblewrap. podman's own monitor outlives the platform, so a guard process
ends the container when the platform is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from headrace.assets import Environment, Limits
from headrace.errors import NoIsolation, WrongEnvironment
from headrace.runners import Ended, Task
from headrace.runners.bubblewrap import Plan, new_user
from headrace.runners.cgroups import Group, places
from headrace.runners.environment import compare, fingerprint
from headrace.runners.local import OUTPUT, defaults, limits_by, threads
from headrace.runners.seccomp import REFUSED
from headrace.runners.sandboxed import Sandboxed, room

INSTALL = "apt-get install --no-install-recommends podman runc (dnf install podman)"
PATIENCE = 120
"""Seconds for one podman command."""
GUARD = "import os, signal, sys; h = os.pidfd_open(int(sys.argv[1])); print(flush=True); sys.stdin.read(); signal.pidfd_send_signal(h, 9)"

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
            raise WrongEnvironment(detail=f"{image!r} may be another image tomorrow; name it by its digest: podman images --digests")
        if _podman("image", "exists", image).returncode:
            raise WrongEnvironment(detail=f"{image!r} is not on this machine, and nothing is pulled: podman pull it, or load it")
        compare(environment, _ask(image))

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """The fingerprint of what the image has."""
        made = fingerprint(threads(limits), _ask(environment.image))
        return {**made, "image": environment.image, "isolation": "podman", "limits_by": limits_by()}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """See the Protocol."""
        await asyncio.to_thread(self.check, task.environment)
        group = await asyncio.to_thread(Group, where, task.limits) if (where := places()) else None
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
        if os.path.exists(PROFILE):
            options.append(f"--security-opt=seccomp={stack.enter_context(_profile())}")
        await _done("create", "--name", name, *options, image, *command)
        await _done("container", "init", name)
        self._first_pid = int(await _done("inspect", "--format", "{{.State.Pid}}", name))
        self._first = os.pidfd_open(self._first_pid)
        if self._group is not None:
            for procs in self._group.joining():
                Path(procs).write_text(str(self._first_pid), encoding="ascii")
        inside = f"/proc/{self._first_pid}/root"
        self._folders = [os.open(f"{inside}{place}", os.O_RDONLY | os.O_DIRECTORY) for place in (OUTPUT, "/tmp", "/dev/shm")]  # noqa: S108
        self._started = True
        await self._guard(stack)
        line = [*_line(), "start", "--attach", name]
        return await asyncio.create_subprocess_exec(*line, stdin=DEVNULL, stdout=writer, stderr=writer, start_new_session=True)

    def _hear(self) -> None:
        """Everything is known from the beginning."""

    async def _guard(self, stack: contextlib.ExitStack) -> None:
        """A process that kills the container when the pipe to us is closed, by our death too."""
        line = [sys.executable, "-I", "-S", "-c", GUARD, str(self._first_pid)]
        pipe = asyncio.subprocess.PIPE
        guard = await asyncio.create_subprocess_exec(*line, stdin=pipe, stdout=pipe, start_new_session=True)
        assert guard.stdout is not None
        await guard.stdout.readline()
        stack.callback(guard.kill)


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
        *[f"--volume={source}:{target}:ro" for target, source in inputs.items()],
    ]  # fmt: skip


@contextlib.contextmanager
def _profile() -> Iterator[str]:
    """podman's own filter of system calls, without those our sandboxes refuse."""
    profile = json.loads(Path(PROFILE).read_text(encoding="utf-8"))
    for rule in profile["syscalls"]:
        if rule["action"] == "SCMP_ACT_ALLOW":
            rule["names"] = [name for name in rule["names"] if name not in REFUSED | {"clone", "clone3"}]
    plain = {"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    threads_only = {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [plain]}  # clone3's flags cannot be seen
    profile["syscalls"] = [*(rule for rule in profile["syscalls"] if rule["names"]), threads_only]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(profile, file)
        file.flush()
        yield file.name


@contextlib.contextmanager
def _readable(inputs: Mapping[str, Path], uid: int) -> Iterator[Mapping[str, Path]]:
    """The inputs where the container's user may read them: as root, those that are private are copied for the run."""
    with tempfile.TemporaryDirectory(prefix="headrace-inputs-") as folder:
        Path(folder).chmod(0o755)
        yield {
            target: _copy(source.resolve(), Path(folder) / str(number)) if uid and not _public(source) else source.resolve()
            for number, (target, source) in enumerate(inputs.items())
        }


def _public(path: Path) -> bool:
    """Whether everybody may read it, below the folder it is in."""
    below = [path, *path.rglob("*")] if path.is_dir() else [path]
    return all(one.is_symlink() or one.stat().st_mode & 0o005 == (5 if one.is_dir() else one.stat().st_mode & 1 | 4) for one in below)


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
        return subprocess.run([*_line(), *words], capture_output=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)
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
    options = ["--rm", "--pull=never", "--network=none", "--read-only", "--entrypoint=", "--cap-drop=all", "--log-driver=none"]
    options += ["--security-opt=no-new-privileges", "--ulimit=nproc=256:256", "--ulimit=nofile=1024:1024"]
    options += [f"--env={name}={value}" for name, value in defaults(Limits()).items()]  # type: ignore[call-arg]
    done = _podman("run", *options, image, "python", "-c", code)
    if done.returncode:
        raise WrongEnvironment(detail=f"the image {image!r} does not answer as Python: {_last(done.stderr)}")
    return done.stdout
