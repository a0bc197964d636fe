"""A filter of system calls for the sandbox: what no training needs and what has opened kernels before is refused with EPERM.

Also refused: kinds of memory that no limit of ours sees where there are no cgroups (memfd, System V), and changing the set of
processors; and modes with set-user-id or set-group-id, for what a worker of root's platform writes to its company's folder is
root's on the disk. And what leads out past the namespaces: sockets of families that have none (AF_VSOCK), or that nothing here
needs; and what of a file that several sandboxes see read-only is shared all the same: its locks, leases, watches and hints, and
whether it is in the page cache. A job that could set them would tell a program of its company what it read of another's data.

A program for the kernel's classic BPF machine: seccomp(2), linux/seccomp.h, linux/audit.h.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable, Mapping, Sequence

_EPERM, _ENOLCK, _ENOSYS, _EOPNOTSUPP, _EAFNOSUPPORT = 1, 37, 38, 95, 97
_LOAD, _EQUAL, _ABOVE, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OLD = {
    "x86_64": {
        "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "chroot": 161, "acct": 163, "settimeofday": 164,
        "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "init_module": 175, "delete_module": 176, "quotactl": 179,
        "sched_setaffinity": 203, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "mbind": 237,
        "set_mempolicy": 238, "migrate_pages": 256, "move_pages": 279, "unshare": 272, "perf_event_open": 298,
        "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "memfd_create": 319, "kexec_file_load": 320, "bpf": 321,
        "userfaultfd": 323, "shmget": 29, "shmat": 30, "msgget": 68, "semget": 64, "mincore": 27, "inotify_init": 253,
        "inotify_init1": 294, "inotify_add_watch": 254,
    },
    "aarch64": {
        "ptrace": 117, "syslog": 116, "personality": 92, "pivot_root": 41, "chroot": 51, "acct": 89, "settimeofday": 170,
        "mount": 40, "umount2": 39, "swapon": 224, "reboot": 142, "init_module": 105, "delete_module": 106, "quotactl": 60,
        "sched_setaffinity": 122, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219, "mbind": 235,
        "set_mempolicy": 237, "migrate_pages": 238, "move_pages": 239, "unshare": 97, "perf_event_open": 241,
        "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "memfd_create": 279, "kexec_file_load": 294, "bpf": 280,
        "userfaultfd": 282, "shmget": 194, "shmat": 196, "msgget": 186, "semget": 190, "mincore": 232, "inotify_init1": 26,
        "inotify_add_watch": 27,
    },
}  # fmt: skip
"""Numbers: the kernel's arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h."""
_NEW = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "openat2": 437, "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447,
    "cachestat": 451,
}  # fmt: skip
"""The same number on every architecture; programs know that a kernel may not have them: ENOSYS."""

_MODES = {
    "x86_64": {2: 2, 257: 3, 85: 1, 90: 1, 91: 1, 268: 2, 133: 1, 259: 2, 452: 2},
    "aarch64": {56: 3, 52: 1, 53: 2, 33: 2, 452: 2},
}
"""open, openat, creat, chmod, fchmod, fchmodat, mknod, mknodat, fchmodat2 -> which argument is the mode."""
_SET_ID = 0o6000
REFUSED = frozenset(_NEW) | frozenset(_OLD["x86_64"])
"""Their names."""

FAMILIES = (1, 2, 10)
"""Sockets there may be: AF_UNIX, AF_INET, AF_INET6, each of the sandbox's own namespace. sys/socket.h"""
COMMANDS = (0, 1, 2, 3, 4, 8, 9, 10, 11, 15, 16, 1027, 1028, 1030, 1031, 1032, 1033, 1034)
"""fcntl's that are of the handle alone: copies, flags, owners and signals, the size of a pipe, seals. linux/fcntl.h"""
_LOCKS = (5, 6, 7, 36, 37, 38)
"""fcntl's F_GETLK, F_SETLK, F_SETLKW and the same of open file descriptions."""
_NOWAIT = 8
"""preadv2's flag RWF_NOWAIT: no answer for what is not in the page cache."""
_CALLS = {
    "x86_64": {"socket": 41, "socketpair": 53, "fcntl": 72, "flock": 73, "preadv2": 327},
    "aarch64": {"socket": 198, "socketpair": 199, "fcntl": 25, "flock": 32, "preadv2": 286},
}


def refusing(machine: str = platform.machine(), more: Sequence[int] = (), *, locks: bool = False) -> bytes:
    """The filter, or nothing for a processor whose numbers are not known here.

    Args:
        more: system calls to refuse too, whatever their arguments.
        locks: whether files may be locked, as SQLite must: for a worker, which sees its own company's data only. A sandbox
            without can neither set nor test a lock, so it tells one that can nothing by them.

    >>> len(refusing("x86_64")) % 8, refusing("sparc")
    (0, b'')
    """
    if machine not in _AUDIT:
        return b""
    head = [
        _step(_LOAD, 0, 0, 4),  # which architecture the call is made for: 32-bit calls have other numbers
        _step(_EQUAL, 1, 0, _AUDIT[machine]),
        _step(_RETURN, 0, 0, _KILL),
        _step(_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        head += [_step(_ABOVE, 0, 1, _X32), _step(_RETURN, 0, 0, _ERROR | _ENOSYS)]
    tests = _whole(_OLD[machine].values(), _EPERM) + _whole(more, _EPERM) + _whole(_NEW.values(), _ENOSYS)
    for number, argument in _MODES[machine].items():
        tests += _looked(number, argument, [_step(_ANY, 0, 1, _SET_ID), _step(_RETURN, 0, 0, _ERROR | _EPERM)])
    tests += _arguments(_CALLS[machine], locks=locks)
    return b"".join([*head, *tests, _step(_RETURN, 0, 0, _ALLOW)])


def _arguments(calls: Mapping[str, int], *, locks: bool) -> list[bytes]:
    """What is refused for an argument."""
    nowait = [_step(_ANY, 0, 1, _NOWAIT), _step(_RETURN, 0, 0, _ERROR | _EOPNOTSUPP)]
    return [
        *([] if locks else _whole([calls["flock"]], _ENOLCK)),
        *_looked(calls["fcntl"], 1, _only((*COMMANDS, *(_LOCKS if locks else ())), _ENOLCK)),
        *_looked(calls["socket"], 0, _only(FAMILIES, _EAFNOSUPPORT)),
        *_looked(calls["socketpair"], 0, _only(FAMILIES, _EAFNOSUPPORT)),
        *_looked(calls["preadv2"], 5, nowait),
    ]


def _whole(numbers: Iterable[int], error: int) -> list[bytes]:
    """These calls are refused whatever their arguments."""
    return [
        step
        for number in sorted(numbers)
        for step in (_step(_EQUAL, 0, 1, number), _step(_RETURN, 0, 0, _ERROR | error))
    ]


def _looked(number: int, argument: int, tests: Sequence[bytes]) -> list[bytes]:
    """Tests of the lower half of one argument of one call, which is allowed when none of them returned: the kernel looks at no
    more than that of the arguments meant here."""
    return [
        _step(_EQUAL, 0, len(tests) + 2, number),
        _step(_LOAD, 0, 0, 16 + 8 * argument),
        *tests,
        _step(_RETURN, 0, 0, _ALLOW),
    ]


def _only(values: Sequence[int], error: int) -> list[bytes]:
    """Refuses any other value."""
    jumps = [_step(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*jumps, _step(_RETURN, 0, 0, _ERROR | error)]


def _step(code: int, if_true: int, if_false: int, value: int) -> bytes:
    """One ``struct sock_filter``."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
