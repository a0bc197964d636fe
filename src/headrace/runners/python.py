"""What the platform's own Python needs to run: its folders, the shared libraries, and the links on the way to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import headrace

SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/usr/bin",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/lib32",
    "/bin",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/fonts",
    "/usr/share/fonts",
    "/nix/store",
)
"""Of the system: the loader, shared libraries, a shell. Nothing of anybody's data, no settings."""

_ASK = """
import json, site, sys
print(json.dumps({
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix],
    "path": sys.path,
    "user": site.getuserbase() if site.ENABLE_USER_SITE else "",
}))
"""


@dataclass(frozen=True, slots=True)
class PythonFiles:
    """Where the interpreter and its packages lie."""

    executable: str
    folders: Sequence[str]
    """Files and folders without which it does not run."""
    user_base: str
    """PYTHONUSERBASE, where packages come from the user's own folder; else empty."""


@cache
def python_files() -> PythonFiles:
    """Asked of a fresh interpreter, so that nothing depends on where or how the platform was started."""
    line = [sys.executable, "-P", "-E", "-c", _ASK]
    told = json.loads(subprocess.run(line, capture_output=True, check=True, timeout=60).stdout)
    package = Path(headrace.__file__).parent
    home = Path.home()
    path = [Path(entry) for entry in told["path"] if entry]
    kept = [entry for entry in path if entry.exists() and not _too_much(entry, home)]
    prefixes = [Path(prefix) for prefix in told["prefixes"] if prefix not in ("/usr", "/")]
    wanted = [Path(sys.executable), *prefixes, *kept, *_libraries(), package, *map(Path, SYSTEM)]
    return PythonFiles(sys.executable, [str(entry) for entry in wanted if os.path.lexists(entry)], told["user"])


def _too_much(entry: Path, home: Path) -> bool:
    """A folder that would take everything in with it."""
    return home.is_relative_to(entry.resolve())


def _libraries() -> list[Path]:
    """The folders' strays: shared libraries this very process has loaded, wherever they lie."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        names = {line.split(maxsplit=5)[-1].strip() for line in maps if ".so" in line}
    return [Path(name) for name in sorted(names) if name.startswith("/") and Path(name).is_file()]


@dataclass(frozen=True, slots=True)
class Seen:
    """What has to be in the sandbox for some paths to work there."""

    places: Sequence[str]
    """Real files and folders, each at the same path inside; none lies in another."""
    links: Sequence[tuple[str, str]]
    """(symbolic link, where it points), outside of the places."""


def closure(wanted: Iterable[str]) -> Seen:
    """The real paths of what is wanted, and every symbolic link on the way there.

    >>> any(link == "/proc/self" for link, _ in closure(["/proc/self/exe"]).links)
    True
    """
    links: dict[str, str] = {}
    real = {_follow(Path(path), links) for path in wanted}
    places: list[str] = []
    for path in sorted(real):
        if not places or not Path(path).is_relative_to(places[-1]):
            places.append(path)
    outside = [(link, to) for link, to in sorted(links.items()) if not _within(link, places)]
    return Seen(places, outside)


def _within(path: str, places: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)


def _follow(path: Path, links: dict[str, str]) -> str:
    """Walk to the real path, writing down each link; raises OSError for a loop."""
    todo, at = list(path.parts[1:]), Path("/")
    for _ in range(4096):
        if not todo:
            return str(at)
        part = todo.pop(0)
        if part == "..":
            at = at.parent
            continue
        step = at / part
        if not step.is_symlink():
            at = step
            continue
        target = str(step.readlink())
        links[str(step)] = target
        if target.startswith("/"):
            at = Path("/")
        todo = [piece for piece in target.split("/") if piece not in ("", ".")] + todo
    raise OSError(f"{path}: too many symbolic links")
