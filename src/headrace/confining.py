"""The sandbox of a company's workers: they read its folder, write what they learn, and reach nothing else.

What they can write is opened by the platform itself, so they may make neither links nor named pipes there: a link would
let a company have another's file opened in its name, a pipe would make the platform wait.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.errors import NoIsolation
from headrace.runners.bubblewrap import STARTER, finish, plan, scratch
from headrace.runners.local import probe
from headrace.runners.seccomp import refusing
from headrace.services.learning.isolation import Isolation

WRITTEN = ("state", "objects")
"""Folders of a company that its workers write."""
SCRATCH = 2**28
"""Bytes of their private /tmp and /dev/shm."""
_LINKS = {"x86_64": (88, 133, 259, 266), "aarch64": (33, 36)}
"""symlink, mknod, mknodat, symlinkat: the kernel's syscall_64.tbl and asm-generic/unistd.h."""


def isolation(folder: Path) -> Isolation:
    """How the code of a company other than the first is kept in its folder: in a sandbox, or not run at all. Blocks."""
    try:
        probe()
        if platform.machine() not in _LINKS:
            raise NoIsolation(
                reason=f"no filter of system calls is known for {platform.machine()}", fix="use x86-64 or ARM64"
            )
    except NoIsolation as error:
        return Isolation(reason=str(error))
    _no_links(folder)
    for name in WRITTEN:
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    return Isolation(wrap=lambda command: [*_before(folder.resolve()), *command])


def _before(folder: Path) -> list[str]:
    """The words before a worker's command."""
    made = plan({}, str(folder))
    made.seccomp = _filter(refusing(), platform.machine()).hex()
    made.binds.append((str(folder), str(folder), "own"))
    made.binds += [(str(folder / name), str(folder / name), "rw") for name in WRITTEN]
    scratch(made, SCRATCH)
    made.parent = os.getpid()
    finish(made)
    return made.line([sys.executable, "-I", "-S", STARTER, "-1", "0"])


def _filter(program: bytes, machine: str) -> bytes:
    """A filter of system calls with ours before its last step, which allows the rest.

    >>> len(_filter(refusing("aarch64"), "aarch64")) - len(refusing("aarch64"))
    32
    """
    steps = b"".join(
        struct.pack("=HBBI", 0x15, 0, 1, number) + struct.pack("=HBBI", 0x06, 0, 0, 0x00050001)  # EPERM
        for number in _LINKS[machine]
    )
    return program[:-8] + steps + program[-8:]


def _no_links(folder: Path) -> None:
    """Nothing a company has left is a link, whoever made it. Raises NoIsolation."""
    found: Sequence[Path] = [path for path in folder.rglob("*") if path.is_symlink() or path.is_fifo()]
    if found:
        raise NoIsolation(reason=f"{found[0]} is a link or a pipe", fix="look who made it, and remove it")
