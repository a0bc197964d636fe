"""The answer as plain data and as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headrace.analysis.fields import Analysis, Field
from headrace.analysis.suggest import Suggestion
from headrace.analysis.tables import listed
from headrace.analysis.words import Finding, clock, count, span

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_PAIRS = 5


def plain(analysis: Analysis, suggestion: Suggestion) -> dict[str, Any]:
    """For JSON: the same for the same readings, to the last digit shown. Durations and times in ns."""
    table = analysis.table
    found: dict[str, Any] = _clean(
        {
            "source": table.source,
            "device": table.device,
            "devices": table.devices,
            "timezone": analysis.zone,
            "notes": list(table.notes),
            "fields": [_field(one) for one in analysis.fields],
            "pairs": [{**asdict(one), "related": one.related} for one in analysis.pairs],
            "suggestion": {key: value for key, value in asdict(suggestion).items() if key != "text"},
            "spec": suggestion.text,
        }
    )
    return found


def _field(one: Field) -> dict[str, Any]:
    return {
        "name": one.name,
        "unit": one.unit,
        "findings": [asdict(finding) for finding in one.findings],
        "sampling": asdict(one.sampling),
        "quality": asdict(one.quality),
        "silence_is_zero": one.zero,
        "grid_step": one.grid.every,
        "grid_windows": len(one.grid.values),
        "seasons": [asdict(season) for season in one.seasons.found],
        "trend": asdict(one.trend),
        "trend_strength": one.parts.trend_strength if one.parts else None,
        "autocorrelation": [{**asdict(lag), "bound": lag.bound} for lag in one.lags],
        "stationarity": asdict(one.stationarity) if one.stationarity else None,
        "outliers": asdict(one.outliers),
    }


def _clean(value: Any) -> Any:
    """Nine digits, and null for what is not a number."""
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if value - value == 0 else None
    return value


def headline(analysis: Analysis) -> str:
    """What was looked at, in a sentence."""
    table = analysis.table
    first, last = int(table.time.min()), int(table.time.max())
    who = f" of {table.device}" if table.device else ""
    when = f"{clock(first, analysis.zone)} to {clock(last, analysis.zone)} ({analysis.zone}, {span(last - first)})"
    return f"{table.source}: {count(len(table.time), 'reading')}{who}, {when}"


def show(analysis: Analysis, suggestion: Suggestion, console: Console) -> None:
    """Print it, the most important first."""
    from rich.text import Text

    table = analysis.table
    console.print(Text(headline(analysis)))
    for note in table.notes:
        console.print(Text(note, "dim"))
    if len(table.devices) > 1:
        console.print(Text(f"devices: {listed(table.devices)}", "dim"))
    shared = _shared(analysis)
    if shared:
        console.print(Text(f"\nall {len(analysis.fields)} fields", "bold"))
        _findings(shared, console)
    for field in analysis.fields:
        console.print(Text(f"\n{field.name}{f' ({field.unit})' if field.unit else ''}", "bold"))
        _findings([one for one in field.findings if one not in shared and _worth(one, field, analysis)], console)
    if analysis.pairs:
        console.print(Text("\nfields together", "bold"))
        _findings([one.finding() for one in analysis.pairs[:SHOWN_PAIRS]], console)
        if len(analysis.pairs) > SHOWN_PAIRS:
            console.print(
                Text(f"and {count(len(analysis.pairs) - SHOWN_PAIRS, 'pair')} less related; --json has all", "dim")
            )
    if suggestion.refused:
        console.print(Text(f"\nno spec is suggested: {suggestion.refused}", "yellow"))
        return
    console.print(Text("\nsuggested spec", "bold"))
    console.print(Text(suggestion.text.rstrip()), soft_wrap=True)


def _worth(one: Finding, field: Field, analysis: Analysis) -> bool:
    """Of several fields, all is told of the target alone; --field asks for another's."""
    return field is analysis.target or one.weight > 1 or one.about == "values"


def _shared(analysis: Analysis) -> list[Finding]:
    """What is the same of every field: said once."""
    if len(analysis.fields) < 2:
        return []
    first, *others = analysis.fields
    return [one for one in first.findings if all(one in other.findings for other in others)]


def _findings(findings: list[Finding], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    before = ""
    for one in findings:
        grid.add_row(
            Text("" if one.about == before else one.about, "dim"), Text(one.sentence, "yellow" if one.flag else "")
        )
        before = one.about
    console.print(grid)
