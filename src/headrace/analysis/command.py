"""What ``headrace analyse`` does: read, measure, suggest, write."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from headrace.analysis.fields import Analysis, analyse
from headrace.analysis.files import read_file
from headrace.analysis.recorded import open_topic
from headrace.analysis.report import plain, show
from headrace.analysis.suggest import Suggestion, suggest
from headrace.analysis.tables import Progress, Table, only, with_power
from headrace.disk import write_text
from headrace.errors import BadInput, MissingExtra
from headrace.spec import duration

NARROW, WIDE = 60, 100


def run(
    what: str,
    *,
    field: str | None,
    device: str | None,
    as_json: bool,
    html: Path | None,
    data: Path | None,
    url: str,
    last: str,
    timezone: str | None,
    spec: Path | None,
) -> None:
    """Analyse a file if there is one of that name, else a topic. Raises HeadraceError."""
    check(timezone, spec)
    with progress_bar() as progress:
        analysis, suggestion = look(
            what, field=field, device=device, data=data, url=url, last=last, timezone=timezone, progress=progress
        )
        if html is not None:
            from headrace.analysis.page import page

            drawn = page(analysis, suggestion, progress)
    if spec is not None and suggestion.text:
        _write_new(spec, suggestion.text)
    if html is not None:
        write_text(html, drawn)
    if as_json:
        print(json.dumps(plain(analysis, suggestion), indent=2, ensure_ascii=False))
    else:
        _show(analysis, suggestion)
        for path in (html, spec if suggestion.text else None):
            if path is not None:
                print(f"written: {path}")
    if spec is not None and suggestion.refused:
        raise BadInput(detail=f"{spec} was not written: {suggestion.refused}")


def look(
    what: str,
    *,
    field: str | None = None,
    device: str | None = None,
    data: Path | None = None,
    url: str = "",
    last: str = "30d",
    timezone: str | None = None,
    progress: Progress,
) -> tuple[Analysis, Suggestion]:
    """Read, measure and suggest. Raises HeadraceError."""
    table = only(with_power(_read(what, device, data, url, _last(last), timezone, progress)), field)
    try:
        analysis = analyse(table, timezone or "UTC", progress)
    except ModuleNotFoundError as error:
        raise MissingExtra(family="command", name="analyse", module=error.name, extra="evaluate") from error
    return analysis, suggest(analysis, timezone)


def check(timezone: str | None, spec: Path | None) -> None:
    """What can be told before anything is read. Raises BadInput."""
    if timezone is not None:
        try:
            ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise BadInput(
                detail=f"--timezone: expected an IANA name such as Europe/Madrid, got {timezone!r}"
            ) from None
    if spec is not None and spec.exists():
        raise BadInput(detail=f"{spec} is there already and is not overwritten; name another file")


def _last(text: str) -> int:
    try:
        return duration(text)
    except ValueError as error:
        raise BadInput(detail=f"--last: {error}") from error


def _read(
    what: str, device: str | None, data: Path | None, url: str, last: int, timezone: str | None, progress: Progress
) -> Table:
    if Path(what).exists():
        progress(f"reading {what}", 0.0)
        return read_file(Path(what), device, timezone)
    if what.endswith((".csv", ".csv.gz", ".parquet", ".pq", ".tsv", ".txt")):
        raise BadInput(detail=f"there is no file {what}")
    return open_topic(what, data, url, device, last, progress)


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BadInput(detail=f"{path} is there already and is not overwritten; name another file") from error


def _show(analysis: Analysis, suggestion: Suggestion) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        console.width = min(max(console.width, NARROW), WIDE)
    else:
        console.width = 80
    show(analysis, suggestion, console)


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr, silent unless that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, done: bar.update(task, description=what, completed=done)
