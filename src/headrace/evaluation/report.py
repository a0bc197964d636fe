"""What an experiment found, in the one shape that is printed, written, pushed and shown.

Numbers are rounded to six significant digits and durations kept out, so that two runs give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

DIGITS = 6


@dataclass(frozen=True)
class Column:
    """A column of the main table."""

    name: str
    label: str
    unit: str = ""
    help: str = ""
    form: str = ".4f"
    """How people see it: a format, "%" for a share, "" for an amount in some unit."""

    def plain(self) -> dict[str, str]:
        """As the report has it."""
        given = {"name": self.name, "label": self.label, "unit": self.unit, "help": self.help}
        return {name: value for name, value in given.items() if value}

    def text(self, value: object) -> str:
        """A cell for people."""
        if value is None or value != value:  # noqa: PLR0124 (the shortest test for NaN)
            return "–"
        if not isinstance(value, int | float):
            return str(value)
        if not self.form:
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return f"{value:.0%}" if self.form == "%" else f"{value:{self.form}}"


@dataclass
class Report:
    """One experiment."""

    name: str
    title: str
    kind: str
    """rolling or drift."""
    columns: list[Column]
    rows: list[dict[str, Any]]
    notes: list[str]
    details: list[dict[str, Any]] = field(default_factory=list)
    """What the CSV holds: one row per contender and period, or start."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further parts of the JSON: settings, periods, normality."""
    figures: list[dict[str, Any]] = field(default_factory=list)
    """As data, for whoever draws them: {"name", "title", "x", "series": [{"name", "values"}]}."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU per contender; shown, never stored."""

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        found = {
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "columns": [column.plain() for column in self.columns],
            "rows": self.rows,
            "notes": self.notes,
            "figures": self.figures,
            **self.more,
            "details": self.details,
        }
        rounded: dict[str, Any] = tidy(found)
        return rounded

    def json(self) -> str:
        """The whole report."""
        return json.dumps(self.plain(), indent=1, ensure_ascii=False) + "\n"

    def csv(self) -> str:
        """The details, a line each."""
        names = list(dict.fromkeys(name for row in self.details for name in row))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in tidy(self.details):
            writer.writerow(["" if row.get(name) is None else row[name] for name in names])
        return out.getvalue()


def tidy(value: Any) -> Any:
    """Floats rounded to six significant digits; what is not finite, and NumPy's own types, as JSON can hold them.

    >>> tidy({"mse": 0.0176912345, "n": 3, "no": float("nan")})
    {'mse': 0.0176912, 'n': 3, 'no': None}
    """
    if isinstance(value, dict):
        return {str(name): tidy(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(inner) for inner in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def show(report: Report) -> None:
    """The table, the notes and what is kept out of files, on the terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 10_000  # a pipe gets whole lines
    console.print(Text(report.title, style="bold"))
    columns = [
        (f"{one.label} {one.unit}".rstrip(), [one.text(row.get(one.name)) for row in report.rows])
        for one in report.columns
    ]
    if report.seconds:
        spent = [report.seconds.get(str(row["model"])) for row in report.rows]
        columns.append(("CPU s", ["–" if one is None else f"{one:.3g}" for one in spent]))
    for part in beside(columns, console.width):
        console.print(_table(part))
    for note in report.notes:
        console.print(Text(f"- {note}"), soft_wrap=not console.is_terminal)


def beside(columns: Sequence[tuple[str, list[str]]], width: int) -> list[list[tuple[str, list[str]]]]:
    """Columns cut into as many tables as the width asks for; each begins with the first column.

    >>> [[head for head, _ in part] for part in beside([("m", ["ridge"]), ("mse", ["0.01"]), ("n", ["7"])], 12)]
    [['m', 'mse'], ['m', 'n']]
    """
    sizes = [max(len(head), *map(len, cells)) + 2 if cells else len(head) + 2 for head, cells in columns]
    parts, used = [[columns[0]]], sizes[0]
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        if used + size > width + 2 and len(parts[-1]) > 1:
            parts.append([columns[0]])
            used = sizes[0]
        parts[-1].append(column)
        used += size
    return parts


def _table(columns: Sequence[tuple[str, list[str]]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, (head, _) in enumerate(columns):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    for cells in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def finite_mean(values: Sequence[float]) -> float | None:
    """Mean of what is finite, None of nothing."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else None
