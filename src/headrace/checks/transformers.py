"""The contract of a Transformer: same bytes wherever the blocks are cut or the process is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from headrace.models.transformers import Transformer
from headrace.models.transformers.blocks import join
from headrace.records import HOUR, MINUTE, Rows
from headrace.states import pack, unpack

Make = Callable[[], Transformer]
_CUTS = 12
"""Random ways to cut the sample."""


def check_transformer(name: str, make: Make, *, target: str = "value", seed: int = 0) -> None:
    """Run the whole suite on what `make` returns, a fresh step each time.

    The step is given 1500 rows, 20 minutes apart on average over 20 days, partly out of order and doubled, with holes
    and NaN, that have the fields `target`, temperature, v1-v3, i1-i3, pf and ``masked``. Make a scaler with an
    `initial` well below 20 days, so that the suite sees both of its phases.

    Raises:
        AssertionError: the step breaks its contract.
    """
    rows = sample(target, seed)
    for check in _CHECKS:
        try:
            check(name, make, rows, target)
        except AssertionError as error:
            raise AssertionError(f"transformer {name!r}: {check.__name__[1:]}: {error}") from error


def sample(target: str = "value", seed: int = 0) -> Rows:
    """The suite's rows."""
    random = np.random.default_rng(seed)
    gaps = random.choice([MINUTE, 10 * MINUTE, 20 * MINUTE, 50 * MINUTE, 4 * HOUR, 11 * HOUR], 1500, p=_GAPS)
    time = 1_541_664_000 * 10**9 + np.cumsum(gaps)
    time = np.where(random.random(1500) < 0.1, time - random.integers(0, 2 * HOUR, 1500), time)
    time[200:210] = time[200]
    names = [target, "temperature", *(f"{kind}{phase}" for kind in "vi" for phase in (1, 2, 3))]
    columns: dict[str, Any] = {name: random.uniform(0, 300, 1500) for name in names}
    columns["pf"] = random.uniform(0.5, 1, 1500)
    columns["masked"] = random.random(1500) < 0.05
    for values in columns.values():
        if values.dtype == np.float64:
            values[random.random(1500) < 0.02] = np.nan
    return Rows(time.astype(np.int64), columns)


_GAPS = [0.25, 0.3, 0.3, 0.13, 0.015, 0.005]


def _chunks(name: str, make: Make, rows: Rows, target: str) -> None:
    """One block gives the same bytes as many, and leaves the same state."""
    whole = make()
    expected = _bytes(whole.apply(rows))
    for seed in range(_CUTS):
        step = make()
        found = join([step.apply(block) for block in _cut(rows, seed)])
        assert _bytes(found) == expected, f"other rows when the blocks are cut elsewhere (cuts of seed {seed})"
        assert pack(step.state()) == pack(whole.state()), f"another state when the blocks are cut elsewhere ({seed})"


def _one_by_one(name: str, make: Make, rows: Rows, target: str) -> None:
    """Blocks of one row are blocks, too."""
    rows = rows.take(slice(400))
    step = make()
    found = join([step.apply(rows.take(slice(place, place + 1))) for place in range(len(rows))])
    assert _bytes(found) == _bytes(make().apply(rows)), "other rows when they come one by one"


def _stops(name: str, make: Make, rows: Rows, target: str) -> None:
    """State, saved and loaded between any two blocks, goes on as if nothing had happened."""
    whole = make()
    expected = _bytes(whole.apply(rows))
    for seed in range(_CUTS):
        step, found = make(), []
        for block in _cut(rows, seed):
            found.append(step.apply(block))
            saved = pack(step.state())
            step = make()
            step.load(unpack(saved))
            assert pack(step.state()) == saved, "a loaded state is not the saved one"
        assert _bytes(join(found)) == expected, "other rows after a stop"
        assert pack(step.state()) == pack(whole.state()), "another state after a stop"


def _saved_stays(name: str, make: Make, rows: Rows, target: str) -> None:
    """What `state` returned does not change when the step goes on, nor when the input's memory is used again."""
    step, half = make(), len(rows) // 2
    first = _copy(rows.take(slice(half)))
    step.apply(first)
    state = step.state()
    saved = pack(state)
    first.time[:] = 0
    for values in first.columns.values():
        values[:] = 0
    assert pack(step.state()) == saved, "the step keeps the caller's arrays, not copies"
    step.apply(rows.take(slice(half, None)))
    assert pack(state) == saved, "a state changed after it was taken"


def _input(name: str, make: Make, rows: Rows, target: str) -> None:
    """The input is left as it was, even when it could not be changed."""
    given, before = _copy(rows), _bytes(rows)
    for values in (given.time, *given.columns.values()):
        values.flags.writeable = False
    try:
        make().apply(given)
    except ValueError as error:
        raise AssertionError(f"apply failed on input that may not be changed: {error}") from error
    assert _bytes(given) == before, "the input was changed"


def _empty(name: str, make: Make, rows: Rows, target: str) -> None:
    """No rows in, no rows out, nothing remembered."""
    step = make()
    for block in _cut(rows, 0):
        state = pack(step.state())
        for nothing in (rows.take(slice(0)), Rows(np.empty(0, np.int64))):
            assert len(step.apply(nothing)) == 0, "rows out of none"
        assert pack(step.state()) == state, "an empty block changed the state"
        step.apply(block)


def _missing(name: str, make: Make, rows: Rows, target: str) -> None:
    """A target that is NaN throughout, or absent, is no error."""
    for columns in ({**rows.columns, target: np.full(len(rows), np.nan)}, {"temperature": rows.columns["temperature"]}):
        made = make().apply(Rows(rows.time, columns))
        assert all(len(values) == len(made) for values in made.columns.values()), "columns of different length"


def _columns(name: str, make: Make, rows: Rows, target: str) -> None:
    """As many values as rows in every column, int64 times, and feature columns of the promised shape."""
    step = make()
    made = step.apply(rows)
    assert made.time.dtype == np.int64, f"times of type {made.time.dtype}"
    for column, values in made.columns.items():
        assert len(values) == len(made), f"{len(values)} values of {column!r} for {len(made)} rows"
    shape = getattr(step, "shape", None)
    if shape is not None:
        assert made.columns[f"x.{name}"].shape == (len(made), *shape()), f"x.{name} has not the shape {shape()}"
        assert made.columns[f"x.{name}"].dtype == np.float64, f"x.{name} is not float64"


def _scaler(name: str, make: Make, rows: Rows, target: str) -> None:
    """`inverse` undoes what `apply` did to the target."""
    step: Any = make()
    if not hasattr(step, "inverse"):
        return
    made = step.apply(rows)
    back = step.inverse(made.columns[target])
    given = rows.columns[target][: len(made)]
    assert np.allclose(back, given, rtol=1e-12, atol=1e-9, equal_nan=True), "inverse(apply(x)) is not x"


def _ticks(name: str, make: Make, rows: Rows, target: str) -> None:
    """A tick before the first row does nothing; ticks between rows give the same bytes after a stop."""
    if not hasattr(make(), "tick"):
        return
    step: Any = make()
    assert len(step.tick(int(rows.time[0]))) == 0, "rows from a tick before any row"
    assert pack(step.state()) == pack(make().state()), "a tick before any row changed the state"
    ends = []
    for stops in (False, True):
        step, found = make(), []
        for block in _cut(rows, 1):
            found += [step.apply(block), step.tick(int(block.time.max()) + HOUR)]
            if stops:
                saved = pack(step.state())
                step = make()
                step.load(unpack(saved))
        ends.append((_bytes(join(found)), pack(step.state())))
    assert ends[0] == ends[1], "a stop between ticks changed what followed"


_CHECKS = (
    _input,
    _chunks,
    _one_by_one,
    _stops,
    _saved_stays,
    _empty,
    _missing,
    _columns,
    _scaler,
    _ticks,
)


def _bytes(rows: Rows) -> bytes:
    return pack([rows.time, dict(rows.columns) if len(rows) else {}])


def _copy(rows: Rows) -> Rows:
    return Rows(rows.time.copy(), {name: values.copy() for name, values in rows.columns.items()})


def _cut(rows: Rows, seed: int) -> Iterable[Rows]:
    """The rows in blocks of random lengths, some of them empty."""
    random = np.random.default_rng(seed)
    cuts = np.sort(random.integers(0, len(rows), int(random.integers(1, 40)))).tolist()
    for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        if stop > start:
            yield rows.take(slice(start, stop))
