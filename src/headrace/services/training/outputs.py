"""What a run left behind: hostile until looked at. Only regular files, opened without following links, within bounds."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from headrace.assets import Limits, Scalar
from headrace.errors import BadInput
from headrace.runners.collect import take

METRICS = "metrics.json"
HYPERPARAMETERS = "hyperparameters.json"
"""What the code trained with, as far as the recipe does not say it: defaults of the script's own."""
METRICS_BYTES = 64 * 1024
METRICS_COUNT = 1000
TEXT = 1000
"""Characters of a metric that is a text."""


def read_small(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes. Raises BadInput, FileNotFoundError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInput(detail=f"{path.name} is no regular file") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadInput(detail=f"{path.name} is no regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadInput(detail=f"{path.name} is over {limit} bytes")
    return data


def collected(output: Path, into: Path, limits: Limits) -> tuple[list[str], list[str]]:
    """The regular files below `output`, moved below `into`: (their paths in order, what was left out and why).

    Raises BadInput when there are more, or larger ones, than `limits` allows.
    """
    into.mkdir()
    try:
        left_out = take(output, limits, into)
    except ValueError as error:
        raise BadInput(detail=str(error)) from error
    return sorted(path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()), left_out


def read_flat(output: Path, name: str) -> dict[str, Scalar]:
    """The numbers and texts in `METRICS` or `HYPERPARAMETERS`; none without that file. NaN and infinity become texts: JSON has
    none.

    Raises:
        BadInput: it is not a flat JSON object of at most `METRICS_COUNT` numbers and texts.
    """
    try:
        loaded = json.loads(read_small(output / name, METRICS_BYTES))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise BadInput(detail=f"{name} is no JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise BadInput(detail=f'{name} is no JSON object such as {{"rate": 0.1}}')
    if len(loaded) > METRICS_COUNT:
        raise BadInput(detail=f"{name} has more than {METRICS_COUNT} entries")
    return {key: _scalar(name, key, value) for key, value in loaded.items()}


def _scalar(file: str, name: str, value: Any) -> Scalar:
    if not name or len(name) > 200:
        raise BadInput(detail=f"{file} has a name that is empty or over 200 characters")
    if any("\ud800" <= letter <= "\udfff" for text in (name, value) if isinstance(text, str) for letter in text):
        raise BadInput(detail=f"{file}: {name!r} has half a surrogate pair, which is no text")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and len(value) <= TEXT:
        return value
    if isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    raise BadInput(detail=f"{file}: {name!r} is neither a number nor a text of up to {TEXT} characters")
