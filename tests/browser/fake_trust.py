"""The fake platform's answers about trust: explanations, alerts, a candidate in the shadow, evaluation reports."""

from __future__ import annotations

import math
import random
from typing import Any

HOUR = 3_600_000
DAY = 24 * HOUR

RLS_INPUTS = [
    "same hour yesterday",
    "one hour earlier, yesterday",
    "one hour later, yesterday",
    "same hour two days ago",
    "7-day mean of that hour",
    "yesterday's mean",
    "yesterday's maximum",
    "sine of the hour",
    "cosine of the hour",
    "constant",
]


def window_explanation(
    inputs: list[tuple[int, float]], profile: list[float], prediction: list[float], baseline: str
) -> dict[str, Any]:
    """Contributions of a window of past values, as a network explains itself: the sum is exact, the shares invented."""
    against = profile if baseline == "profile" else [0.0] * len(inputs)
    base = [
        profile[(step + 12) % 24] * 0.8 if baseline == "profile" else 0.04 * max(profile)
        for step in range(len(prediction))
    ]
    rows = []
    for step, (foreseen, start) in enumerate(zip(prediction, base, strict=True)):
        raw = []
        for index, ((_, value), usual) in enumerate(zip(inputs, against, strict=True)):
            apart = min((index - len(inputs) - step) % 24, (step + len(inputs) - index) % 24)
            near = math.exp(-((apart / 3.5) ** 2)) + 0.35 * math.exp((index - len(inputs)) / 12)
            raw.append(near * (value - usual * random.Random(index).uniform(0.7, 1.6)))
        rows.append(_summing(raw, foreseen - start))
    return {
        "features": [
            {"label": f"power {len(inputs) - i} h before", "time_ms": t, "value": v} for i, (t, v) in enumerate(inputs)
        ],
        "base": base,
        "contributions": rows,
    }


def labelled_explanation(values: list[list[float]], prediction: list[float], baseline: str) -> dict[str, Any]:
    """Exact contributions of a linear model over ten named inputs."""
    weights = [0.42, 0.12, 0.1, 0.18, 0.3, -0.22, -0.06, 0.05, -0.09, 0.0]
    base = [0.35 * value if baseline == "profile" else 0.0 for value in prediction]
    rows = [
        _summing([weight * value for weight, value in zip(weights, values[step], strict=True)], foreseen - base[step])
        for step, foreseen in enumerate(prediction)
    ]
    return {
        "features": [{"label": label, "time_ms": None, "value": None} for label in RLS_INPUTS],
        "base": base,
        "contributions": rows,
    }


def _summing(raw: list[float], total: float) -> list[float]:
    """The raw shares, moved in proportion to their size so that they sum to `total`."""
    size = sum(abs(one) for one in raw)
    if not size:
        return [total / len(raw)] * len(raw)
    raw = [1.8 * abs(total) / size * one for one in raw]
    rest = total - sum(raw)
    return [one + rest * abs(one) / (1.8 * abs(total) or 1.0) for one in raw]


def alerts(now: int) -> list[dict[str, Any]]:
    """Two that are active, four that were cleared; newest first."""
    return [
        _alert(6, now - 2 * HOUR, None, "pv-rls", "roof-3", "silent-device", "silence", 7_800, 3_600,
               "roof-3 has sent nothing for 2 h 10 min"),
        _alert(5, now - 26 * HOUR, None, "pv-gru", "trio", "band-too-tight", "coverage", 0.74, 0.8,
               "the 90 % band of pv-gru held 74 % of the last 7 days, below 80 %"),
        _alert(4, now - 50 * HOUR, now - 44 * HOUR, "pv-rls", "trio", "below-band", "breach", 6, 4,
               "power of trio was below its band for 6 h, allowed 4 h"),
        _alert(3, now - 98 * HOUR, now - 97 * HOUR, "pv-rls", "trio", "over-limit", "readings", 26_410.0, 26_000.0,
               "power of trio was above 26,000 W for 10 min"),
        _alert(2, now - 8 * DAY, now - 6 * DAY, "pv-gru", "trio", "drift", "drift", 0.31, 0.25,
               "forecasts of pv-gru are 31 % too high on average since 7 days"),
        _alert(1, now - 12 * DAY, now - 12 * DAY + 3 * HOUR, "pv-rls", "trio", "low-day-ahead", "forecasts", 41_000.0, 50_000.0,
               "tomorrow's energy is forecast below 50 kWh"),
    ]  # fmt: skip


def _alert(
    number: int,
    raised: int,
    cleared: int | None,
    model: str,
    key: str,
    rule: str,
    on: str,
    value: float,
    threshold: float,
    message: str,
) -> dict[str, Any]:
    return {
        "id": f"{model}/{key}/{rule}/{number}",
        "model": model,
        "key": key,
        "rule": rule,
        "on": on,
        "state": "active" if cleared is None else "cleared",
        "raised_ms": raised,
        "cleared_ms": cleared,
        "value": value,
        "threshold": threshold,
        "message": message,
    }


def shadow(candidate: str, served: str, daily: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparison of a candidate with what is served, over paired days."""
    ours = sum(day["candidate"] for day in daily) / len(daily)
    theirs = sum(day["served"] for day in daily) / len(daily)
    change = ours / theirs - 1
    word = "lower" if change < 0 else "higher"
    return {
        "candidate": candidate,
        "served": served,
        "key": "trio",
        "days": len(daily),
        "mse_candidate": ours,
        "mse_served": theirs,
        "change": change,
        "p": 0.034,
        "verdict": f"{candidate} has {abs(change):.1%} {word} squared error than {served} over {len(daily)} days; "
        "a difference this size would come by luck in 3 of 100 such comparisons".replace("%", " %"),
        "more_than_luck": True,
        "daily": daily,
    }


_COLUMNS = [
    {"name": "model", "label": "Model"},
    {
        "name": "mse",
        "label": "MSE",
        "help": "mean squared error of values scaled to the training days' range; lower is better",
    },
    {"name": "mae", "label": "MAE", "unit": "W", "help": "mean absolute error"},
    {
        "name": "skill",
        "label": "Skill",
        "help": "1 - MSE / MSE of hour-mean: above 0 is better than the mean of that hour",
    },
    {"name": "coverage", "label": "Coverage", "help": "share of targets inside the 90 % band"},
    {"name": "width", "label": "Mean width", "unit": "W", "help": "mean width of the band"},
    {"name": "periods", "label": "Periods", "help": "twenty-day periods scored"},
]


def _row(
    model: str, mse: float, mae: float, skill: float, coverage: float | None, width: float | None
) -> dict[str, Any]:
    baseline = model in {"persistence", "hour-mean"}
    found = {
        "model": model,
        "mse": mse,
        "mae": mae,
        "skill": skill,
        "coverage": coverage,
        "width": width,
        "periods": 11,
    }
    return {**found, "baseline": True} if baseline else found


def reports(now: int) -> list[dict[str, Any]]:
    """A rolling evaluation and a drift protocol."""
    rows = [
        _row("persistence", 0.0247, 2011.4, -0.3, None, None),
        _row("hour-mean", 0.0190, 1934.0, 0.0, None, None),
        _row("ridge", 0.0166, 1801.7, 0.126, 0.902, 7120.0),
        _row("rls", 0.0181, 1850.2, 0.047, 0.897, 7411.5),
        _row("hist-gb", 0.0210, 1880.9, -0.105, 0.882, 6904.0),
        _row("gru", 0.0177, 1762.3, 0.068, 0.911, 7302.1),
    ]
    drift = [
        {"model": "gru, ring 14 d", "days_to_recover": 9, "mse": 0.0288, "cost_after": 0.012},
        {"model": "rls", "days_to_recover": 7, "mse": 0.0271, "cost_after": 0.009},
        {"model": "gru, frozen", "days_to_recover": None, "mse": 0.0388, "cost_after": 0.0},
    ]
    columns = [
        {"name": "model", "label": "Model"},
        {
            "name": "days_to_recover",
            "label": "Days to recover",
            "unit": "d",
            "help": "until within 5 % of the undrifted twin",
        },
        {"name": "mse", "label": "MSE undrifted"},
        {"name": "cost_after", "label": "Cost of forgetting", "help": "extra MSE in the 14 days after the drift ends"},
    ]
    return [
        {
            "name": "pv-rolling", "title": "PV, eleven twenty-day periods", "kind": "rolling", "received_ms": now - 3 * HOUR,
            "columns": _COLUMNS, "rows": rows,
            "notes": ["16 days of training and 4 of validation in each period; no target crosses the split.",
                      "Single periods differ by a factor of 8 with the weather."],
        },
        {
            "name": "pv-drift", "title": "PV, power x 0.6 from nine start days", "kind": "drift", "received_ms": now - 30 * HOUR,
            "columns": columns, "rows": drift, "notes": [],
        },
    ]  # fmt: skip
