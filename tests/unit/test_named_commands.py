"""Commands and options that messages, the page and the docs name are there: an error that names another says nothing to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from headrace.cli import app

HOME = Path(__file__).parent.parent.parent
NAMED = re.compile(r"`headrace ([a-z][^`\n]{0,160})`")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def _texts() -> Iterator[Path]:
    for folder, kinds in (("src/headrace", "*.py"), ("src/headrace/console/static", "*.js"), ("examples", "*.md")):
        yield from (path for path in (HOME / folder).rglob(kinds) if "clients" not in path.parts)
    yield from (path for path in (HOME / "docs").glob("*.md") if path.name != "roadmap.md")
    yield HOME / "README.md"


def _wrong(named: str, command: Any) -> str:
    """What of a named command line there is not; "" if all is there."""
    words = re.split(r"[\s|]+", named)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands") and words and re.fullmatch("[a-z-]+", words[0]):
        return words[0]
    known = {option for one in command.params for option in [*one.opts, *one.secondary_opts, "--help"]}
    return " ".join(sorted(set(OPTION.findall(named)) - known))


def test_what_is_named_is_there() -> None:
    root, found, wrong = typer.main.get_command(app), 0, []
    for path in _texts():
        for match in NAMED.finditer(path.read_text(encoding="utf-8")):
            found += 1
            if said := _wrong(match.group(1), root):
                wrong.append(f"{path.relative_to(HOME)}: headrace {match.group(1)}: {said}")
    assert wrong == [] and found > 100


def test_what_is_not_there_is_found() -> None:
    root = typer.main.get_command(app)
    assert _wrong("ledger --repair", root) == "--repair" and _wrong("lodger", root) == "lodger"
    assert _wrong("dataset erase ID", root) == "erase" and _wrong("ledger --rebuild", root) == ""
