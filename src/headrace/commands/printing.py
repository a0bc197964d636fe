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


def table(head: list[str], rows: list[list[Any]], empty: str = "") -> None:
    """Rows below a head; `empty` instead if there are none."""
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, header_style="bold", pad_edge=False)
    for index, (name, cell) in enumerate(zip(head, rows[0], strict=True)):
        number = not isinstance(cell, str) or not cell.strip("+-0123456789,.")
        number = number and (len(str(cell)) < 2 or bool(str(cell).strip("+-")))  # a bar of signs is no number
        longest = max(len(str(row[index])) for row in rows)
        made.add_column(name, overflow="fold", justify="right" if number else "left", no_wrap=longest <= SHORT)
    for row in rows:
        made.add_row(*(Text(seen(str(cell))) for cell in row))
    console = Console()
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        console.width = max(console.width, NARROW)
    else:
        console.width = 10_000  # a pipe gets whole lines
    console.print(made)
