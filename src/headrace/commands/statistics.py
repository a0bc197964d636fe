"""How the statistics of a dataset are printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.commands.printing import clock, say, table
from headrace.commands.records import figure, number

HEAD = ["column", "type", "missing", "least", "most", "mean", "std"]
FEATURES = 50
"""Features of one array that are listed."""
EPOCH_NS = range(10**17, 10**19)
"""Whole numbers of a column called ..._ns that are times: 1973 to 2286."""


def print_statistics(found: dict[str, Any]) -> None:
    """A row for each column, feature, channel or array; what goes with what; what was left out."""
    if rows := list(_columns(found)):
        table(HEAD, rows)
    if "classes" in found:
        table(["class", "images"], [[name, figure(count)] for name, count in found["classes"].items()])
    for name, matrix in _matrices(found):
        say(_strongest(matrix) + (f" ({name})" if name else ""))
    if "warning" in found:
        say(f"warning: {found['warning']}")
    if "note" in found:
        say(found["note"])


def _columns(found: dict[str, Any]) -> Iterator[list[str]]:
    for place, one in enumerate(found.get("columns") or []):
        yield _row(str(one.get("name", place)), one)
    yield from _array("", found)
    for name, array in (found.get("arrays") or {}).items():
        shape = " x ".join(f"{axis:,}" for axis in array["shape"]) or "one number"
        yield [name, f"{array['type']}, {shape}", *_figures(name, array.get("values") or {})]
        yield from _array(name, {"features": array.get("features")})


def _array(name: str, found: dict[str, Any]) -> Iterator[list[str]]:
    """All values of an array, or each feature of it."""
    if "values" in found:
        yield _row("all values", found["values"] | {"type": found.get("type", "")})
    features = found.get("features") or []
    for place, one in enumerate(features[:FEATURES]):
        yield _row(f"{name}[{place}]" if name else str(one.get("name", place)), one)
    if len(features) > FEATURES:
        yield [f"and {len(features) - FEATURES:,} more", *[""] * (len(HEAD) - 1)]


def _row(name: str, one: dict[str, Any]) -> list[str]:
    return [name, str(one.get("type", "")), *_figures(name, one)]


def _figures(name: str, one: dict[str, Any]) -> list[str]:
    low, high = (one.get(own, one.get(other)) for own, other in (("min", "first"), ("max", "last")))
    times = [int(end) for end in (low, high) if name.endswith("_ns") and isinstance(end, int | float)]
    if len(times) == 2 and all(end in EPOCH_NS for end in times):
        return [number(one.get("missing")), *(clock(end // 10**6) for end in times), "", ""]
    return [number(one.get("missing")), *map(figure, [low, high, one.get("mean"), one.get("std")])]


def _matrices(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    every = {"": found, **(found.get("arrays") or {})}
    yield from ((name, one["matrix"]) for name, one in every.items() if one.get("matrix"))


def _strongest(matrix: dict[str, Any], most: int = 3) -> str:
    """The pairs that go together most."""
    names, table_ = matrix["columns"], matrix["correlation"]
    pairs = [
        (value, names[row], names[column])
        for row, cells in enumerate(table_)
        for column, value in enumerate(cells[:row])
        if value is not None
    ]
    pairs.sort(key=lambda pair: -abs(pair[0]))
    if not pairs:
        return "correlation: no two columns vary together"
    said = ", ".join(f"{column} and {row} {value:+.2f}" for value, row, column in pairs[:most])
    return f"correlation of {len(names)} columns, strongest: {said}; covariance and the rest: --json"
