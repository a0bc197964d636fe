"""How the lines of a text file divide into fields, found without DuckDB: its reader takes the longest part of a file that is
a table and says nothing of the lines before it, which may be all of them but the last."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from headrace.inside.media import GZIP, beginning, encoding

SEPARATORS = ";\t|,"
"""In the order of preference: a comma may stand in a number."""
_NUMBER = re.compile(r"\s*[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?\s*")
Row: TypeAlias = tuple[int, list[str]]
"""(number of its first line, from 1; its fields)."""


@dataclass(frozen=True)
class Layout:
    """How most of the first lines divide."""

    separator: str
    fields: int
    """Of most rows."""
    first: int
    """Number of the line the table begins at, from 1."""
    names: tuple[str, ...] = ()
    """Of the columns, if its first line has one name less than there are columns: R writes no name over the row names."""
    share: float = 1.0
    """Of the first rows that have as many fields."""
    numbers: float = 0.0
    """Share of the fields of these rows that are numbers."""

    @property
    def table(self) -> bool:
        """Whether it is rather a table with some bad rows than prose with commas in it: numbers stand in it."""
        return self.numbers >= 0.25

    @property
    def skipped(self) -> str:
        """What to say of lines before the table; "" if there are none."""
        count = self.first - 1
        if not count:
            return ""
        return "line 1 is" if count == 1 else f"the first {count:,} lines are"


def layout(path: Path) -> Layout | None:
    """None: most rows have no number of fields, above one, in common. Ties go to the first of SEPARATORS."""
    text, whole = beginning(path)
    lines = text.splitlines(keepends=True)
    lines = lines if whole or len(lines) < 2 else lines[:-1]
    found = [one for separator in SEPARATORS if (one := _divided(lines, separator)) is not None]
    return max(found, key=lambda one: one.share, default=None)


def _divided(lines: list[str], separator: str) -> Layout | None:
    try:
        rows = [row for row in _rows(iter(lines), separator) if row[1]]
    except csv.Error:
        return None
    if not rows:
        return None
    counts = Counter(len(cells) for _, cells in rows)
    fields, often = max(counts.items(), key=lambda item: (item[1], item[0]))
    share = often / len(rows)
    if fields < 2 or (share < 0.5 and often < len(rows) - 1):
        return None
    cells = [cell for _, row in rows if len(row) == fields for cell in row]
    numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells) / len(cells)
    return _begun(rows, Layout(separator, fields, 1, share=share, numbers=numbers))


def _begun(rows: list[Row], made: Layout) -> Layout:
    """With where the table begins, and the names of a first line that has one less."""
    place = next(index for index, (_, row) in enumerate(rows) if len(row) == made.fields)
    before = rows[0][1] if place == 1 and made.fields > 2 and _data(rows[place][1], made) else []
    first, names, fields = rows[0][0], tuple[str, ...](), made.fields
    if len(before) != made.fields - 1:
        first = rows[place][0]
    elif all(not row[-1].strip() for _, row in rows if len(row) == made.fields):
        fields = made.fields - 1  # each row ends with a separator
    else:
        names = ("", *before)
    return Layout(made.separator, fields, first, names, made.share, made.numbers)


def _data(row: list[str], made: Layout) -> bool:
    """Whether it is no head: numbers are in it, if there are any."""
    return not made.numbers or any(_NUMBER.fullmatch(cell) for cell in row)


def ragged(path: Path, made: Layout, longest: int) -> str:
    """The first row of the table with another number of fields, in words; "" if there is none, or it cannot be told.

    Args:
        longest: characters of a line that are read; one that is longer has another fault.
    """
    try:
        with _opened(path) as file:
            for line, row in _rows(_bounded(file, longest), made.separator):
                trailing = len(row) == made.fields + 1 and not row[-1].strip()
                header = made.names and line == made.first
                if line >= made.first and row and len(row) != made.fields and not trailing and not header:
                    count = f"{len(row):,} field{'' if len(row) == 1 else 's'}"
                    return f"line {line:,} has {count}, {made.fields:,} expected"
    except (csv.Error, UnicodeError, OSError, EOFError):
        return ""
    return ""


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    opened = gzip.open if packed else open
    return opened(path, "rt", encoding=encoding(path), errors="replace", newline="")


def _bounded(file: IO[str], longest: int) -> Iterator[str]:
    while line := file.readline(longest + 1):
        if len(line) > longest:
            raise csv.Error("too long")
        yield line


def _rows(lines: Iterator[str], separator: str) -> Iterator[Row]:
    reader, line = csv.reader(lines, delimiter=separator), 1
    for row in reader:
        yield line, row
        line = reader.line_num + 1
