"""What models in service say: forecasts, why they are so, how good they are, what they warn of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, guard, quoted
from headrace.commands.printing import clock, say, table

BAR = 24
"""Characters of the longest bar."""


def predict(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Print the last available forecast of a model."""
    outputs = [{"name": name} for name in ("y", "low", "high")]
    answer = call(url, "POST", f"/v2/models/{quoted(model)}/infer", {"parameters": {"key": key}, "outputs": outputs})
    if as_json:
        say(json.dumps(answer))
        return
    about, found = answer["parameters"], {one["name"]: one["data"] for one in answer["outputs"]}
    times = [clock(about["origin_ms"] + step * about["step_ms"])[:-3] for step in range(len(found["y"]))]
    rows = [
        [time, *(f"{v:,.1f}" for v in row)] for time, row in zip(times, zip(*found.values(), strict=True), strict=True)
    ]
    by = "the learning model" if about["by"] == "live" else f"snapshot {about['by']}"
    say(f"{model} for {about['key']}, made by {by}")
    table(["from (UTC)", *("forecast" if name == "y" else name for name in found)], rows)
    if "interval_n" in about:
        unit = call(url, "GET", f"/api/models/{quoted(model)}?key={quoted(about['key'])}&days=0.1")["unit"]
        say(_measured(about, unit))


def _measured(about: dict[str, Any], unit: str) -> str:
    """What the band was worth, in one line."""
    active = about["interval_active_n"]
    hours = f" (active hours: {about['interval_active_coverage']:.0%} of {active:,})" if active else ""
    return (
        f"{about['interval_nominal']:.0%} band: held {about['interval_coverage']:.0%} of the {about['interval_n']:,} outcomes "
        f"of {about['interval_days']} days{hours}, mean width {about['interval_width']:,.4g} {unit}".rstrip()
    )


def explain(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    target: Annotated[
        int | None, typer.Option(min=1, help="Which step ahead; default: the one that differs most.")
    ] = None,
    method: Annotated[str, typer.Option(help="How; default: as the spec says.")] = "",
    baseline: Annotated[str, typer.Option(help="Compared with what: profile (the usual inputs) or zero.")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Print why the last forecast of a model is as it is: what its inputs contributed."""
    from urllib.parse import urlencode

    asked = {"key": key, "target": target, "method": method, "baseline": baseline}
    query = urlencode({name: value for name, value in asked.items() if value})
    found = call(url, "GET", f"/api/models/{quoted(model)}/explanation?{query}")
    if as_json:
        say(json.dumps(found))
    else:
        _print_explanation(found)


def _print_explanation(one: dict[str, Any]) -> None:
    """The largest contributions to one step ahead, as bars."""
    off = [abs(after - before) for after, before in zip(one["prediction"], one["base"], strict=True)]
    place = off.index(max(off))
    step, unit = one["targets"][place], f" {one['unit']}" if one["unit"] else ""
    when = clock(one["origin_ms"] + (step - 1) * one["step_ms"])
    by = "the learning model" if one["by"] == "live" else f"snapshot {one['by']}"
    say(f"{one['name']} for {one['key']}, {when} (UTC), step {step} ahead, by {by}")
    parts, ends = one["contributions"][place], (one["prediction"][place], one["base"][place])
    decimals = _decimals([*parts, off[place]])
    after, before = (f"{value:,.{decimals}f}{unit}" for value in ends)
    say(f"forecast {after}, against {before} for the baseline ({one['baseline']})")
    say(f"method {one['method']}, adds up within {one['completeness']:.1e} (allowed {one['tolerance']:g})")
    if one["note"]:
        say(one["note"])
    table(["input", "value", "contribution", ""], _bars(one["features"], parts, decimals))


def _decimals(values: Iterable[float], digits: int = 4) -> int:
    """Places after the point at which the largest of some values shows that many digits; at least one.

    >>> _decimals([1234.5, 3]), _decimals([0.00271, 0.001]), _decimals([0.0])
    (1, 6, 1)
    """
    largest = max((abs(value) for value in values), default=0.0)
    return 1 if largest == 0 else min(20, max(1, digits - 1 - math.floor(math.log10(largest))))


def _bars(features: list[dict[str, Any]], contributions: list[float], decimals: int, most: int = 15) -> list[list[str]]:
    """Rows of the largest contributions, and one of the rest."""
    known = [feature["value"] for feature in features if feature["value"] is not None]
    places = _decimals(known)
    parts = sorted(zip(features, contributions, strict=True), key=lambda part: -abs(part[1]))
    largest, rows = abs(parts[0][1]) or 1.0, []
    for feature, part in parts[:most]:
        value = "" if feature["value"] is None else f"{feature['value']:,.{places}f}"
        bar = ("+" if part > 0 else "-") * round(BAR * abs(part) / largest)
        rows.append([feature["label"], value, f"{part:+,.{decimals}f}", bar])
    if rest := parts[most:]:
        rows.append([f"the other {len(rest)}", "", f"{sum(part for _, part in rest):+,.{decimals}f}", ""])
    return rows


def diagnose(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    level: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Significance level of the tests.")] = 0.05,
    days: Annotated[float, typer.Option(min=0.1, max=400, help="Of the forecasts of this many last days.")] = 30,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Test whether a model's errors are normally distributed, and say what the tests can show."""
    asked = call(url, "GET", f"/api/models/{quoted(model)}/residuals?key={quoted(key)}&days={days}")
    from headrace.models.diagnostics import normality

    guard(lambda: _diagnosis(asked, normality([value for _, value in asked["residuals"]], level), as_json))


def _diagnosis(asked: dict[str, Any], found: Any, as_json: bool) -> None:
    if as_json:
        about = {name: asked[name] for name in ("name", "key", "unit", "days")}
        say(json.dumps({**about, **found.plain()}, indent=2))
        return
    say(f"{asked['name']} for {asked['key']}: {found.n:,} errors of the last {asked['days']:g} days")
    table(["test", "statistic", "p", f"at {found.level:g}"], found.rows())
    say(found.sentence)


def alerts(
    model: Annotated[str, typer.Option(help="Only of this model.")] = "",
    key: Annotated[str, typer.Option(help="Only of this device.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those that are not cleared.")] = False,
    limit: Annotated[int, typer.Option(help="At most this many, up to 1000.")] = 50,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """List what the rules of the models have raised, the newest first."""
    from urllib.parse import urlencode

    query = {"model": model, "key": key, "active": "1" if active else "", "limit": limit}
    found = call(url, "GET", "/api/alerts?" + urlencode({name: value for name, value in query.items() if value != ""}))
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [
        [clock(one["raised_ms"]), clock(one["cleared_ms"]) if one["cleared_ms"] is not None else "active"]
        + [one[name] for name in ("severity", "model", "key", "rule", "message")]
        for one in found
    ]
    head = ["raised (UTC)", "cleared", "severity", "model", "key", "rule", "why"]
    table(head, rows, empty="no alerts" + (" are active" if active else ""))
