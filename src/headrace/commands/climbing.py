"""`headrace verify ID`: asks the platform to check an asset, and shows each check as it ends."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import typer

from headrace.commands.calling import call, fail, guard, quoted, read, waiting

if TYPE_CHECKING:
    from headrace.claims import Check, Level, Report

ID = re.compile(r"(ds|md)_[0-9a-f]{20}")
"""What ids of datasets and models look like."""


SHORT, FAILED = 1, 3
"""Exit codes: the level was not reached though nothing is wrong with what was looked at; a check failed."""
SOON = 10.0
"""Seconds: what breaks off before breaks off again."""
Levels = Literal["L0", "L1", "L2"]


def check_asset(url: str, id: str, level: Levels, *, as_json: bool) -> None:
    """Have an asset checked and print what was found. Ends the command with `FAILED`, or `SHORT` of the level."""
    from headrace.commands.reporting import print_report

    report = _climbed(url, id, level, quiet=as_json)
    print_report(report, as_json=as_json)
    code = FAILED if not report.passed else SHORT if _below(report.level, level) else 0
    if code:
        raise typer.Exit(code)


def _below(reached: Level, wanted: Levels) -> bool:
    order: list[Any] = ["none", "L0", "L1", "L2"]
    return bool(order.index(reached) < order.index(wanted))


def _climbed(url: str, id: str, level: Levels, *, quiet: bool) -> Report:
    """The report. A token that ends in the middle is renewed; the platform goes on meanwhile, and tells all once more."""
    show = _Shown(quiet=quiet)
    while True:
        began = time.monotonic()
        try:
            if report := _attempt(url, id, level, show):
                return report
            broken = f"{url} broke off before the report"
        except Lost as error:
            broken = str(error)
        if time.monotonic() - began < SOON:
            show.end()
            fail(f"{broken}: nothing is verified; try again")


def _attempt(url: str, id: str, level: Levels, show: _Shown) -> Report | None:
    """The report; None: it ended before. Raises Lost."""
    from pydantic import ValidationError

    from headrace.claims import Check, Report

    known = show.shown
    try:
        for line in _spoken(url, _lines(url, id, level)):
            found: dict[str, Any] = json.loads(line)
            if "checks" in found:
                show.end()
                return Report.model_validate(found)
            check = Check.model_validate(found)
            if known and check.state != "running":
                known -= 1
            elif not known:
                show.check(check)
    except (ValueError, ValidationError) as error:
        fail(
            f"{url} answered with something that is no verification ({type(error).__name__}); does --url name the right port?"
        )
    return None


def _spoken(url: str, lines: Iterator[str]) -> Iterator[str]:
    """The lines; where none comes and nothing is said to run, what is waited for is said, once."""
    said = waiting(f"waiting for {url}: it reads the content, or waits for its ledger")
    with said as heard:
        for line in lines:
            heard()
            yield line


def _lines(url: str, id: str, level: Levels) -> Iterator[str]:
    """What the platform says, line by line. Ends the command if it refuses. Raises Lost."""
    import httpx

    from headrace import credentials
    from headrace.commands.sending import lost

    call(
        url, "GET", f"/{'datasets' if id.startswith('ds_') else 'models'}/{quoted(id)}"
    )  # renews a token that has ended
    place = f"{credentials.normal(url)}/verify/{quoted(id)}?level={level}"
    headers = {**guard(lambda: credentials.headers(url)), "Accept": "application/x-ndjson"}
    slow = httpx.Timeout(60, read=None)
    try:
        with httpx.stream("POST", place, headers=headers, timeout=slow, trust_env=False) as answer:
            if answer.is_error:
                answer.read()
                read(answer)
            yield from answer.iter_lines()
    except httpx.HTTPError as error:
        raise Lost(lost(url, error)) from error


class Lost(Exception):
    """There is no answer any more; the text says how."""


class _Shown:
    """Checks on a terminal: what runs stands in one line that is written over."""

    shown = 0
    """Checks that have ended."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._live, self._open = quiet, sys.stderr.isatty() and not quiet, False

    def check(self, check: Check) -> None:
        """Show one."""
        from headrace.commands.reporting import print_check
        from headrace.controls import seen

        self.shown += check.state != "running"
        if self._quiet:
            return
        if check.state != "running":
            self.end()
            print_check(check.model_copy(update={"detail": seen(check.detail), "name": seen(check.name)}))
        elif self._live:
            sys.stderr.write(f"\r\x1b[K… {check.level} {seen(check.name)}: {seen(check.detail)[:100]}")
            sys.stderr.flush()
            self._open = True

    def end(self) -> None:
        """Take the line of what ran away."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False
