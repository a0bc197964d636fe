"""Local time: where a reading stands in its day, and what a file without zones means by its times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from headrace.models.transformers.calendar import offsets
from headrace.records import HOUR, MINUTE, SECOND

_PIECE = 15 * MINUTE
"""Offsets from UTC change only at multiples of this."""
_STEP = HOUR * 5 // 2
"""Longest step over a skipped hour that shows it: a night's pause over it shows nothing."""


def local(time: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """UTC times as a clock in `zone` shows them, ns since 1970-01-01 00:00 of that clock."""
    return time + offsets(time, ZoneInfo(zone)) if len(time) else time


def wall_to_utc(wall: NDArray[np.int64], zone: str) -> NDArray[np.int64] | None:
    """UTC of wall-clock times in the order they were written; None unless the zone's clock changes show in them.

    They show if an hour that the zone skips in spring is empty while there are readings shortly before and after it, and
    no reading stands in any skipped hour. Of an hour that comes twice in autumn, what is written after a step backwards
    is the second.
    """
    pieces, place = np.unique(wall // _PIECE, return_inverse=True)
    both = np.array([_offsets(int(piece) * _PIECE, ZoneInfo(zone)) for piece in pieces], np.int64).reshape(-1, 2)
    skipped = both[:, 0] < both[:, 1]
    if skipped[place].any() or not _jumps(np.unique(wall), ZoneInfo(zone)):
        return None
    second = (both[:, 0] > both[:, 1])[place] & _after_step_back(wall)
    moved: NDArray[np.int64] = wall - np.where(second, both[place, 1], both[place, 0])
    return moved


def _offsets(wall: int, zone: ZoneInfo) -> tuple[int, int]:
    """(first, second) offset of a wall-clock time from UTC, ns; they differ where it is skipped or comes twice."""
    moment = datetime.fromtimestamp(wall // SECOND, UTC).replace(tzinfo=zone)
    first, second = (moment.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return round(first.total_seconds()) * SECOND, round(second.total_seconds()) * SECOND


def _jumps(wall: NDArray[np.int64], zone: ZoneInfo) -> bool:
    """Whether the series steps over an hour that the zone's clock skips."""
    steps = np.diff(wall)
    for index in np.flatnonzero((steps >= 30 * MINUTE) & (steps <= _STEP)).tolist():
        start, stop = int(wall[index]), int(wall[index + 1])
        inside = range(-(-(start + 1) // _PIECE) * _PIECE, stop, _PIECE)
        if any(first < second for first, second in (_offsets(moment, zone) for moment in inside)):
            return True
    return False


def _after_step_back(wall: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that follow a step backwards of half an hour or more, until the time before it is reached again."""
    peaks = np.maximum.accumulate(wall)
    behind = wall <= peaks
    back = np.zeros(len(wall), np.bool_)
    for index in np.flatnonzero(np.diff(wall) <= -30 * MINUTE).tolist():
        stop = index + 1
        while stop < len(wall) and wall[stop] <= wall[index] and behind[stop]:
            stop += 1
        back[index + 1 : stop] = True
    return back
