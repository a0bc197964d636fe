"""How commands print: nothing a terminal would obey, tables that break no words, times in UTC."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from headrace.controls import seen

NARROW = 60
"""Columns below which a table is left to the terminal to break: it breaks lines, rich would leave cells out."""
SHORT = 12
"""Characters up to which a cell is never broken, however narrow the terminal."""


def clock(ms: int) -> str:
    """Milliseconds since the epoch as a time, UTC."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def say(message: object = "", *, err: bool = False) -> None:
    """Print a message; names, reasons and figures in it are other people's, and no terminal obeys them."""
    typer.echo(seen(str(message)), err=err)


def _number(cell: Any) -> bool:
    """Whether a cell is a number; a bar of signs is none, nor is a text with a digit in it.

    >>> [_number(cell) for cell in (1, "-1,234.5", "1e-05", "+++", "ds_1", "12 s", "")]
    [True, True, True, False, False, False, False]
    """
    if not isinstance(cell, str):
        return True
    try:
        float(cell.replace(",", ""))
    except ValueError:
        return False
    return cell[-1:].isdigit()


def table(head: list[str], rows: list[list[Any]], empty: str = "") -> None:
    """Rows below a head; `empty` instead if there are none."""
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(head):
        cells = [row[index] for row in rows if row[index] != ""]
        right = bool(cells) and all(map(_number, cells))
        longest = max(len(str(row[index])) for row in rows)
        made.add_column(name, overflow="fold", justify="right" if right else "left", no_wrap=longest <= SHORT)
    for row in rows:
        made.add_row(*(Text(seen(str(cell))) for cell in row))
    console = Console()
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        console.width = max(console.width, NARROW)
    else:
        console.width = 10_000  # a pipe gets whole lines
    console.print(made)
