"""Printing what a verification found: each check, the level, what was verified, and what was not checked."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from headrace.commands.printing import clock, say

if TYPE_CHECKING:
    from headrace.claims import Check, Input, Report, Summary

MARKS = {"running": "…", "passed": "✓", "failed": "✗", "skipped": "-"}
MOST = 12
"""Metrics and inputs that are printed; `--json` has all."""
LONG = 60
"""Characters of a value on a line."""
_DIGEST = re.compile(r"(sha256:|0x)([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")


def short(text: str) -> str:
    """With digests as far as people compare them; `--json` has them whole.

    >>> short("sha256:" + "ab" * 32 + " it is")
    'sha256:abababababab… it is'
    """
    return _DIGEST.sub(r"\1\2…", text)


def print_check(check: Check) -> None:
    """One line."""
    say(short(f"{MARKS[check.state]} {check.level} {check.name}: {check.detail}"))


def print_report(report: Report, *, as_json: bool, refused: bool = False) -> None:
    """The level, what was verified, and what was not checked.

    Args:
        refused: nothing of it is believed: it says why, with the fingerprints whole, and not what it is.
    """
    if as_json:
        say(json.dumps(report.model_dump(mode="json"), indent=2))
        return
    say()
    say(_refusal(report) if refused else _sentence(report))
    if report.about:
        _about(report.about)
    if report.chain:
        say(short(report.chain))
    say("not checked:")
    for left in report.not_checked:
        say(f"- {short(left)}")


def _refusal(report: Report) -> str:
    """Of what was revoked: of what. Whose signer is unknown names himself as he likes, and that is not what he is known by."""
    return f"{report.id}: {report.says}" if report.checks[-1].name == "revocation" else report.says


def _sentence(report: Report) -> str:
    if not report.passed:
        return f"{report.id}: a check failed; it reaches level {report.level}, {report.says}"
    if report.level == "none":
        return f"{report.id} is {report.says}"
    return f"{report.id} verified, level {report.level}, {report.says}"


def _about(found: Summary) -> None:
    """What it is, as its company said when it was recorded."""
    say("what it is, by its record on the ledger:")
    times = [f"registered {_time(found.created_ms)}"] if found.created_ms is not None else []
    times += [f"on the ledger since {_time(found.recorded_ms)}"] if found.recorded_ms is not None else []
    say(f"  {found.name!r} of {found.company}: {found.says}")
    if times:
        say(f"  {', '.join(times)}")
    if found.digest:
        count = f", {found.files} file{'' if found.files == 1 else 's'}" if found.files else ""
        size = f", {found.size:,} bytes" if found.size is not None else ""
        say(f"  digest {short(found.digest)}{count}{size}")
    if found.metrics:
        say(f"  metrics {_pairs(found.metrics)}")
    for one in found.inputs[:MOST]:
        say(f"  {_input(one)}")
    if len(found.inputs) > MOST:
        say(f"  … and {len(found.inputs) - MOST:,} more inputs")
    for name, value in found.details.items():
        words = name.replace("_", " ")
        say(f"  {words} {_pairs(value, times=True) if isinstance(value, dict) else _value(value)}")


def _input(one: Input) -> str:
    known = [short(one.digest)] if one.digest else []
    known += [f"contract {one.contract}"] if one.contract else []
    return f"{one.role} {one.id}{': ' + ', '.join(known) if known else ''}"


def _pairs(found: dict[str, Any], *, times: bool = False) -> str:
    """Names and values on one line; with `times`, what is called ``…_ms`` is one."""
    shown = [
        f"{name.removesuffix('_ms')} {_time(value)}"
        if times and name.endswith("_ms") and isinstance(value, int)
        else f"{name} {_value(value)}"
        for name, value in list(found.items())[:MOST]
    ]
    return ", ".join(shown) + (f", … ({len(found)} in all)" if len(found) > MOST else "")


def _time(ms: int) -> str:
    """A time that somebody else says; anything may be said."""
    try:
        return f"{clock(ms)} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms after 1970"


def _value(value: object) -> str:
    """A value on its line."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONG else f"{text[: LONG - 2]} …"
