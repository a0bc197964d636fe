"""A container image made without a network: the Python that runs the tests, its standard library, and the libraries they load."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from functools import cache
from pathlib import Path

NAME = f"localhost/headrace-test:{platform.python_version()}"
LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "__pycache__",
    "turtledemo",
)


@cache
def image(folder: Path) -> str:
    """The image's name with its digest; built when it is not there. "" without podman."""
    if shutil.which("podman") is None:
        return ""
    if _podman("image", "exists", NAME).returncode:
        packed = folder / "image.tar"
        _pack(packed)
        _podman("import", "--change", "ENV PATH=/usr/bin", str(packed), NAME).check_returncode()
        packed.unlink()
    digest = _podman("image", "inspect", "--format", "{{.Digest}}", NAME).stdout.decode().strip()
    return f"{NAME.partition(':')[0]}@{digest}"


@cache
def with_program(folder: Path, program: str) -> str:
    """The same with a program `train` on its PATH. "" without podman."""
    if not image(folder):
        return ""
    content = hashlib.sha256(program.encode()).hexdigest()[:12]
    name = f"localhost/headrace-test-train:{platform.python_version()}-{content}"
    if _podman("image", "exists", name).returncode:
        (folder / "train").write_text(f"#!/usr/bin/python\n{program}")
        (folder / "train").chmod(0o755)
        made = _podman("create", NAME, "/usr/bin/python").stdout.decode().strip()
        _podman("cp", str(folder / "train"), f"{made}:/usr/bin/train").check_returncode()
        _podman("commit", "--quiet", made, name).check_returncode()
        _podman("rm", made)
    digest = _podman("image", "inspect", "--format", "{{.Digest}}", name).stdout.decode().strip()
    return f"{name.partition(':')[0]}@{digest}"


def _pack(packed: Path) -> None:
    program, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    loaded = {path for file in (program, *library.glob("lib-dynload/*.so")) for path in _loads(file)}
    with tarfile.open(packed, "w") as tape:
        tape.add(program, f"usr/bin/{name}")
        link = tarfile.TarInfo("usr/bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, name
        tape.addfile(link)
        tape.add(library, f"usr/lib/{name}", filter=_wanted)
        for path in sorted(loaded):
            tape.add(Path(path).resolve(), path.lstrip("/"))


def _loads(file: Path) -> set[str]:
    told = subprocess.run(["ldd", file], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", told))


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if set(Path(entry.name).parts) & set(LEFT_OUT) else entry


def _podman(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["podman", *words], capture_output=True, check=False)
