"""Figures out of raw samples. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


def percentile(samples: Sequence[float], percent: float) -> float:
    """Nearest rank: a value that was really measured.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Latencies in ms."""
    return {name: percentile(seconds, p) * 1e3 for name, p in (("p50", 50.0), ("p90", 90.0), ("p99", 99.0))}


@dataclass(frozen=True)
class Match:
    """How an answer tells which reading it belongs to."""

    field: str = ""
    """A JSON number in the answer, wherever it stands; "": the answers come in the order of the readings."""
    offset: int = 0
    """What the answer's field holds beyond the reading's `ts`: the step, where it names the forecast time."""

    def key(self, answer: bytes) -> int | None:
        """The `ts` of the reading this answers, None when the answer does not say.

        >>> Match("origin_ms", 1000).key(b'{"model": "m", "origin_ms": 6000}')
        5000
        """
        found = re.search(rb'"%b"\s*:\s*(-?\d+)' % self.field.encode(), answer)
        return int(found[1]) - self.offset if found else None


def latencies(sent: Mapping[int, float], answers: Sequence[tuple[float, bytes]], match: Match) -> list[float]:
    """Seconds from each reading (its `ts`: when it was sent) to the first answer that belongs to it."""
    if not match.field:
        return [when - sent_at for (when, _), sent_at in zip(answers, sent.values(), strict=False)]
    found: dict[int, float] = {}
    for when, answer in answers:
        key = match.key(answer)
        if key is not None and key in sent and key not in found:
            found[key] = when - sent[key]
    return list(found.values())


@dataclass(frozen=True)
class Ratio:
    """One figure over another, taken round by round so that a slow moment of the machine hits both."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        """
        >>> Ratio.of([30, 20], [10, 10])
        Ratio(median=2.5, low=2.0, high=3.0)
        """
        rounds = [mine / its for mine, its in zip(ours, theirs, strict=True)]
        return Ratio(median(rounds), min(rounds), max(rounds))
