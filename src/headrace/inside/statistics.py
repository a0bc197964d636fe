"""What is in a dataset: samples, their shape, figures of columns, features or channels, and matrices of these.

``python -m headrace.inside.statistics``: reads a request, looks into the file, writes an answer (see `work.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.errors import BadInput, Ragged
from headrace.inside import arrays, columns, images, work
from headrace.inside.media import detect
from headrace.settings import InspectionSettings


def inspect(path: Path, media: str, limits: InspectionSettings) -> dict[str, Any]:
    """``media``, ``samples``, ``sample_shape``, ``statistics``; ``error`` if it is a table that cannot be measured.

    Args:
        media: what it is said to be; "": find out.

    Raises:
        BadInput: it is not what it is said to be, damaged, or over a bound.
    """
    size = path.stat().st_size
    kind = media or (detect(path, limits) if size else "other")
    if not size and media not in {"", "other"}:
        raise BadInput(detail="it is empty")
    try:
        return {"media": kind, **_look(path, kind, size, limits)}
    except Ragged as error:
        return {"media": kind, "samples": None, "sample_shape": None, "statistics": {}, "error": str(error)}


def _look(path: Path, media: str, size: int, limits: InspectionSettings) -> dict[str, Any]:
    match media:
        case "csv" | "parquet":
            return columns.look(path, media, limits)
        case "npy":
            return arrays.look_npy(path, limits)
        case "npz":
            return arrays.look_npz(path, limits)
        case "images":
            return images.look(path, limits)
        case _:
            return {"samples": None, "sample_shape": None, "statistics": {"bytes": size}}


if __name__ == "__main__":
    work.main(inspect)
