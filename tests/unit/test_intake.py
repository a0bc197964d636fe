"""Rows from readings, and duplicates: exact, and the same however blocks are cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.records import Reading, Rows
from headrace.states import pack, unpack
from headrace.streams.decoders.intake import Deduplicator, columns


def test_columns_hold_numbers_and_nan() -> None:
    readings = [
        Reading("d", 1, {"a": 1.0, "on": True, "mode": "x"}),
        Reading("d", 2, {"b": 2.0, "a": "broken"}),
        Reading("d", 3, {"on": False}),
    ]
    rows = columns(readings)
    assert list(rows.columns) == ["a", "on", "b"]
    np.testing.assert_array_equal(rows.time, [1, 2, 3])
    np.testing.assert_array_equal(rows.columns["a"], [1, np.nan, np.nan])
    np.testing.assert_array_equal(rows.columns["on"], [1, np.nan, 0])
    np.testing.assert_array_equal(rows.columns["b"], [np.nan, 2, np.nan])
    assert all(column.dtype == np.float64 for column in rows.columns.values())


def test_named_columns_are_always_there() -> None:
    rows = columns([Reading("d", 1, {"a": 1.0, "mode": "x"})], ["mode", "b", "a"])
    assert list(rows.columns) == ["mode", "b", "a"]
    assert np.isnan(rows.columns["mode"]).all()
    assert np.isnan(rows.columns["b"]).all()
    empty = columns([], ["a"])
    assert len(empty) == 0
    assert empty.columns["a"].shape == (0,)


class Naive:
    """The definition, row by row."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.kept: list[tuple[object, str]] = []

    def keep(self, reading: Reading) -> bool:
        row = (reading.device, reading.time, frozenset(reading.fields.items()))
        recent = self.kept[-self.limit :]
        if any(row == other or (reading.id and reading.id == identity) for other, identity in recent):
            return False
        self.kept.append((row, reading.id))
        return True


READINGS = st.lists(
    st.builds(
        Reading,
        device=st.sampled_from(["d", "e"]),
        time=st.integers(0, 6),
        fields=st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, -0.0, 1.0, 2.5]), min_size=1),
        id=st.sampled_from(["", "", "m1", "m2", "m3"]),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(
    readings=READINGS,
    limit=st.integers(1, 8),
    cuts=st.lists(st.integers(0, 40)),
    ids=st.booleans(),
    rising=st.booleans(),
)
def test_duplicates_as_defined_wherever_blocks_are_cut(
    readings: list[Reading], limit: int, cuts: list[int], ids: bool, rising: bool
) -> None:
    if not ids:
        readings = [reading._replace(id="") for reading in readings]
    if rising:
        readings = [reading._replace(time=index) for index, reading in enumerate(readings)]
    naive, one = Naive(limit), Deduplicator(limit)
    expected = [naive.keep(reading) for reading in readings]
    got: list[bool] = []
    edges = sorted({0, len(readings), *(cut for cut in cuts if cut < len(readings))})
    for start, end in pairwise(edges):
        block = readings[start:end]
        told = [reading.id for reading in block] if ids else None
        got += one.keep(columns(block), told, [reading.device for reading in block]).tolist()
        state = one.state()
        one = Deduplicator(limit)
        one.load(unpack(pack(state)))
    assert got == expected
    whole = Deduplicator(limit)
    whole.keep(columns(readings), [reading.id for reading in readings], [reading.device for reading in readings])
    assert pack(whole.state()) == pack(one.state())


@pytest.mark.parametrize("size", [1, 7, 300, 5000])
def test_large_blocks(size: int) -> None:
    """The ways for small and for large blocks agree, beyond the limit too."""
    random = np.random.default_rng(3)
    time = np.sort(random.integers(0, 4000, 5000)).astype(np.int64)
    time[random.random(5000) < 0.05] -= 500
    rows = Rows(time, {"a": random.integers(0, 2, 5000).astype(np.float64)})
    ids = ["" if value % 3 else f"m{value}" for value in random.integers(0, 3000, 5000).tolist()]
    whole, cut = Deduplicator(64), Deduplicator(64)
    mask = np.concatenate([cut.keep(rows.take(slice(i, i + size)), ids[i : i + size]) for i in range(0, 5000, size)])
    np.testing.assert_array_equal(mask, whole.keep(rows, ids))
    assert 0 < mask.sum() < 5000
    assert pack(whole.state()) == pack(cut.state())


def test_memory_is_bounded() -> None:
    one = Deduplicator(16)
    for start in range(0, 10_000, 10):
        one.keep(Rows(np.arange(start, start + 10, dtype=np.int64), {"a": np.zeros(10)}))
    assert one._memory.shape[1] <= 3 * 16
    assert len(one.state()["time"]) == 16
