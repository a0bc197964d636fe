# ruff: noqa: PTH102, PTH112, PTH115, PTH116
"""The last step before bubblewrap: a short program of its own, run as ``python -I -S launch.py PLAN`` and nothing imported.

bubblewrap run by an ordinary user may only bind what that user may read, and knows no tmpfs with a limit on files. So this
process first makes itself a mount namespace (an ordinary user: in a user namespace of his own), collects there under /tmp
everything the sandbox shall see, joins the cgroups, gives up root for good, and becomes bubblewrap. It also hands the output's
tmpfs back through a socket as an open directory: that stays readable when the sandbox is gone.

Imports are few, for each is paid for at every start. PLAN is the JSON of `headrace.runners.bubblewrap.Plan`. A failure is said
on the socket, as ``failed: REASON``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
AT_EMPTY_PATH, AT_RECURSIVE = 0x1000, 0x8000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_IDMAP = 1, 4, 0x00100000
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442  # the same number on every architecture
STAGE = "/tmp"  # noqa: S108 covered by a private tmpfs before anything is put there

libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """The kernel's ``struct mount_attr``."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("namespace", ctypes.c_uint64),
    )


def main() -> None:
    """Prepare, and become bubblewrap."""
    plan = json.loads(sys.argv[1])
    channel = socket.socket(fileno=plan["channel"]) if plan["channel"] >= 0 else None
    try:
        _join(plan)
        sources = _own_mounts(plan)
        folders = _stage(plan, sources)
        if channel is not None:
            socket.send_fds(channel, [b"folders"], folders)
        _become(plan)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = f"failed: {where}{error.strerror}"
        if channel is not None:
            channel.sendall(reason.encode())
        sys.exit(reason)


def _join(plan: dict[str, Any]) -> None:
    """Into the cgroups; on the processors; first to go when memory is short. While we still may."""
    for procs in plan["cgroups"]:
        with open(procs, "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
    if plan["cpus"]:
        os.sched_setaffinity(0, plan["cpus"])
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _own_mounts(plan: dict[str, Any]) -> list[int]:
    """A mount namespace of our own, and every source open in it before /tmp is covered."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", ctypes.c_int(CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER))
    if uid != 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    return [os.open(source, os.O_PATH) for source, _, _ in plan["binds"]]


def _stage(plan: dict[str, Any], sources: list[int]) -> list[int]:
    """Everything the sandbox shall see, under /tmp. Returns open folders: output (if any) and scratch."""
    uid = plan["uid"]
    _mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    mapping = -1
    for number, (handle, (_, _, how)) in enumerate(zip(sources, plan["binds"], strict=True)):
        place = f"{STAGE}/{number}"
        _like(handle, place)
        readable = how != "rw" and _readable(handle)
        if uid and (how != "ro" or not readable):
            mapping = _namespace(uid) if mapping < 0 else mapping
            done = _mapped(handle, place, mapping, must=not readable)
        else:
            done = False
        if not done:
            _mount(f"/proc/self/fd/{handle}", place, "", MS_BIND | MS_REC)
        os.close(handle)
    folders = []
    for name, size, files, parts in plan["folders"]:
        place = f"{STAGE}/{name}"
        os.mkdir(place)
        limits = f"size={size},nr_inodes={files},mode=0700,uid={uid or os.getuid()},gid={uid or os.getgid()}"
        _mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, limits)
        for part in parts:
            os.mkdir(f"{place}/{part}")
            os.chown(f"{place}/{part}", uid or -1, uid or -1)
        folders.append(os.open(place, os.O_RDONLY | os.O_DIRECTORY))
    return folders


def _like(handle: int, place: str) -> None:
    """An empty file or folder to mount on."""
    if os.path.isdir(f"/proc/self/fd/{handle}"):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))


def _readable(handle: int) -> bool:
    """Whether everybody may read what is there, as far as modes tell; a folder's first level stands for the rest."""
    mode = os.stat(f"/proc/self/fd/{handle}").st_mode
    if not os.path.isdir(f"/proc/self/fd/{handle}"):
        return bool(mode & 0o004)
    if mode & 0o005 != 0o005:
        return False
    with os.scandir(f"/proc/self/fd/{handle}") as entries:
        return all(
            entry.is_symlink() or entry.stat().st_mode & (0o005 if entry.is_dir() else 0o004) for entry in entries
        )


def _namespace(uid: int) -> int:
    """A user namespace in which root's files are the sandbox's own: for mounts only, nobody ever runs in it."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _call("unshare", ctypes.c_int(CLONE_NEWUSER))
        os.write(ready[1], b"1")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    _write(f"/proc/{child}/uid_map", f"0 {uid} 1")
    _write(f"/proc/{child}/gid_map", f"0 {uid} 1")
    namespace = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    os.write(go[1], b"1")
    os.waitpid(child, 0)
    for end in (*ready, *go):
        os.close(end)
    return namespace


def _mapped(handle: int, place: str, namespace: int, must: bool) -> bool:
    """Mount it so that root's files look like the sandbox's; on the disk they stay root's (mount_setattr(2)).

    False where the file system or the kernel cannot, unless it must be.
    """
    source = f"/proc/self/fd/{handle}".encode()
    tree = _system(SYS_OPEN_TREE, -100, source, OPEN_TREE_CLONE | os.O_CLOEXEC)
    attributes = _Attributes(set=MOUNT_ATTR_IDMAP, namespace=namespace)
    size = ctypes.sizeof(attributes)
    try:
        _system(SYS_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size)
    except OSError as error:
        os.close(tree)
        if not must:
            return False
        name = os.readlink(f"/proc/self/fd/{handle}")
        raise OSError(error.errno, f"its file system has no idmapped mounts ({error.strerror})", name) from error
    _system(SYS_MOVE_MOUNT, tree, b"", -100, place.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree)
    return True


def _become(plan: dict[str, Any]) -> None:
    """Give up root for good, die with the platform, be bubblewrap."""
    if plan["uid"]:
        os.setgroups([])
        os.setresgid(plan["uid"], plan["uid"], plan["uid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    _call("prctl", ctypes.c_int(PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL))
    if plan["parent"] and os.getppid() != plan["parent"]:
        sys.exit("failed: the platform has ended")
    arguments = list(plan["before"])
    for text, target in plan["texts"]:
        arguments += ["--ro-bind-data", str(_pipe(text.encode())), target]
    if plan["seccomp"]:
        arguments += ["--seccomp", str(_pipe(bytes.fromhex(plan["seccomp"])))]
    if plan["channel"] >= 0:
        os.set_inheritable(plan["channel"], True)
    os.chdir("/")
    os.execve(plan["bwrap"], [plan["bwrap"], *arguments, *plan["after"], *sys.argv[2:]], {})  # noqa: S606


def _pipe(data: bytes) -> int:
    """An open end that gives these bytes (fewer than a pipe holds), kept across exec."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _mount(source: str, place: str, kind: str, flags: int, options: str = "") -> None:
    texts = [ctypes.c_char_p(text.encode()) for text in (source, place, kind)]
    _call("mount", *texts, ctypes.c_ulong(flags), ctypes.c_char_p(options.encode()), where=f"mount on {place}")


def _call(name: str, *arguments: Any, where: str = "") -> None:
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), where or name)


def _system(number: int, *arguments: Any) -> int:
    """A system call that libc has no function for."""
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


if __name__ == "__main__":
    main()
