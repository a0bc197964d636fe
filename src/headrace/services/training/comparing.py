"""What a run left, collected; and whether a second run of a recipe left the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace import claims
from headrace.assets import Model, OutputFile, Stored, Verdict

SHOWN = 5
"""Names of differing files in a note."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comparing two runs of a recipe says about it."""

    verdict: Verdict | None
    """None: nothing; the two environments differ, and so may the files."""
    word: str
    text: str
    files: str = ""
    """The files that differ, as the end of the text."""
    differing: list[str] = field(default_factory=list)
    """Their paths."""
    digest: str = ""
    """Over the files of the second run, as `Model.digest` is over those of the first."""


def compare(model: Model, folder: Path, paths: list[str], fingerprint: str) -> Outcome:
    """Digest by digest, the files of a trained model and those of a second run."""
    first = {file.path: file.stored.sha256 for file in model.files}
    second = {path: _digest(folder / path) for path in paths}
    made = digest_of(second)
    differing = sorted(path for path in {*first, *second} if first.get(path) != second.get(path))
    same = fingerprint == model.fingerprint
    where = f"in the same environment ({fingerprint[:19]}…)" if same else "in another environment"
    if not differing:
        return Outcome(
            "reproduced", "reproduced", f"a second run made the same {len(first)} files {where}", digest=made
        )
    shown = ": " + ", ".join(repr(path) for path in differing[:SHOWN]) + (", …" if len(differing) > SHOWN else "")
    text = f"a second run made {len(differing)} of {len({*first, *second})} files differently {where}"
    if same:
        return Outcome("never", "differs", text, shown, differing, made)
    return Outcome(None, "undecided", f"{text}, which says nothing about the recipe", shown, differing, made)


def digest_of(files: Mapping[str, str]) -> str:
    """The digest over files, by path and sha256."""
    return claims.digest_of(
        OutputFile(path=path, stored=Stored(size=0, sha256=it, root="")) for path, it in files.items()
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
