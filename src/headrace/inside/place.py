"""Where a program in here finds what it was given: ``/work``, or where a runner without a sandbox put that."""

from __future__ import annotations

import os
from pathlib import Path

WORK = Path(os.environ.get("HEADRACE_WORK", "/work"))


def led(path: str) -> Path:
    """A path below ``/work`` as it is here.

    >>> str(led("/work/archive"))
    '/work/archive'
    """
    return WORK / Path(path).relative_to("/work") if path.startswith("/work/") else Path(path)
