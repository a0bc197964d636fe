"""Duplicates: one row at a time or many, the fingerprints are the same; devices that share a key are told apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.records import Reading, Rows
from headrace.streams.decoders.intake import Deduplicator, _fingerprints, columns

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 5e-324])
TIMES = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(TIMES, NUMBERS, NUMBERS, st.text(max_size=3)), min_size=2, max_size=5), st.booleans())
def test_a_row_alone_has_the_same_fingerprint(found: list[tuple[int, float, float, str]], shared: bool) -> None:
    times, first, second, devices = (list(column) for column in zip(*found, strict=True))
    rows = Rows(
        np.array(times, np.int64), {"a": np.array(first), "é": np.array(second), "x.w": np.ones((len(found), 2))}
    )
    names = devices if shared else None
    alone = [_fingerprints(rows.take([n]), names and [names[n]])[0] for n in range(len(found))]
    assert _fingerprints(rows, names).tolist() == alone


def test_two_devices_of_one_key_may_say_the_same() -> None:
    readings = [Reading(device, 10**18, {"value": 1.0}) for device in ("a", "b", "a")]
    rows, devices = columns(readings), [reading.device for reading in readings]
    assert Deduplicator().keep(rows, None, devices).tolist() == [True, True, False]
    one = Deduplicator()
    assert [one.keep(rows.take([n]), None, [devices[n]]).tolist() for n in range(3)] == [[True], [True], [False]]
    loaded = Deduplicator()
    loaded.load(one.state())
    assert loaded.keep(rows, None, devices).tolist() == [False, False, False]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["", "m1", "m2"]), st.floats(0, 2).map(round)), max_size=30),
    st.integers(1, 8),
)
def test_rows_one_by_one_are_kept_and_remembered_as_in_blocks(found: list[tuple[int, str, int]], limit: int) -> None:
    fields = [{"a": float(number), "on": True, "text": "x", "b": 1.5} for _, _, number in found]
    readings = [Reading("d", time, one, identity) for (time, identity, _), one in zip(found, fields, strict=True)]
    whole, single = Deduplicator(limit), Deduplicator(limit)
    wanted = whole.keep(columns(readings), [reading.id for reading in readings]).tolist() if readings else []
    kept = []
    for reading in readings:
        rows = columns([reading])
        assert list(rows.columns) == ["a", "on", "b"] and rows.time.dtype == np.int64
        kept += single.keep(rows, [reading.id] if reading.id else None).tolist()
    assert kept == wanted
    assert {name: value.tolist() for name, value in single.state().items()} == {
        name: value.tolist() for name, value in whole.state().items()
    }
