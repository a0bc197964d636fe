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


def local(time: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """UTC times as a clock in `zone` shows them, ns since 1970-01-01 00:00 of that clock."""
    return time + offsets(time, ZoneInfo(zone)) if len(time) else time


def in_skipped_hours(wall: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Those of these wall-clock times that this zone's clock never shows: they are of another clock."""
    place, _, both = _of_pieces(wall, zone)
    impossible: NDArray[np.int64] = wall[(both[:, 0] < both[:, 1])[place]]
    return impossible


def wall_to_utc(wall: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """UTC of wall-clock times in the order they were written.

    Of an hour that comes twice in autumn, what is written after a step backwards is the second.
    """
    place, _, both = _of_pieces(wall, zone)
    second = (both[:, 0] > both[:, 1])[place] & _after_step_back(wall)
    moved: NDArray[np.int64] = wall - np.where(second, both[place, 1], both[place, 0])
    return moved


def put_back(time: NDArray[np.int64]) -> bool:
    """Whether times go back by up to an hour and on by two, as those of a clock with summer time do."""
    steps = np.diff(time)
    back, on = (steps <= 0) & (steps >= -HOUR), (steps > HOUR // 2) & (steps <= 2 * HOUR)
    return bool(back.any() and on.any())


def _of_pieces(wall: NDArray[np.int64], zone: str) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """(each time's quarter hour by its index, the quarter hours, their two offsets from UTC)."""
    pieces, place = np.unique(wall // _PIECE, return_inverse=True)
    both = np.array([_offsets(int(piece) * _PIECE, ZoneInfo(zone)) for piece in pieces], np.int64).reshape(-1, 2)
    return place, pieces, both


def _offsets(wall: int, zone: ZoneInfo) -> tuple[int, int]:
    """(first, second) offset of a wall-clock time from UTC, ns; they differ where it is skipped or comes twice."""
    moment = datetime.fromtimestamp(wall // SECOND, UTC).replace(tzinfo=zone)
    first, second = (moment.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return round(first.total_seconds()) * SECOND, round(second.total_seconds()) * SECOND


def _after_step_back(wall: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that follow a step backwards of half an hour or more, until the time before it is reached again.

    In an hourly series it is the same time once more.
    """
    peaks = np.maximum.accumulate(wall)
    behind, steps = wall <= peaks, np.diff(wall)
    hourly = (steps > 0).any() and np.median(steps[steps > 0]) >= HOUR
    back = np.zeros(len(wall), np.bool_)
    for index in np.flatnonzero(steps <= (0 if hourly else -30 * MINUTE)).tolist():
        stop = index + 1
        while stop < len(wall) and wall[stop] <= wall[index] and behind[stop]:
            stop += 1
        back[index + 1 : stop] = True
    return back
