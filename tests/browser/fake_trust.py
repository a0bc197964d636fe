"""The fake platform's answers about trust: explanations, alerts, a candidate in the shadow, evaluation reports."""

from __future__ import annotations

import math
import random
import time
from typing import Any

HOUR = 3_600_000
DAY = 24 * HOUR

RLS_INPUTS = [
    "yesterday, same hour",
    "power 25h before",
    "power 23h before",
    "2 days before, same hour",
    "mean of 7 days, same hour",
    "mean of the last day",
    "maximum of the last day",
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
            {"label": f"power {len(inputs) - i}h before", "time_ms": t, "value": v} for i, (t, v) in enumerate(inputs)
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
        _alert(6, now - 2 * HOUR, None, "warning", ("pv-rls", "roof-3", "silent-device", "silence"), 7_800, 3_600,
               "no reading for 1h; the last is of 2019-06-12 07:50"),
        _alert(5, now - 26 * HOUR, None, "critical", ("pv-gru", "trio", "band-too-tight", "coverage"), 0.74, 0.8,
               "the band held 74% of 168 active outcomes of the last 7d, below 80%"),
        _alert(4, now - 50 * HOUR, now - 44 * HOUR, "warning", ("pv-rls", "trio", "outside-band", "breach"), 0.42, 0.3,
               "42% of 24 outcomes of the last 1d lay outside the band of their forecast"),
        _alert(3, now - 98 * HOUR, now - 97 * HOUR, "critical", ("pv-rls", "trio", "over-limit", "reading"), 34.2, 33.0,
               "i1 is 34.2, above 33 for 10m"),
        _alert(2, now - 8 * DAY, now - 6 * DAY, "warning", ("pv-gru", "trio", "drift", "drift"), 0.31, 0.25,
               "drift up: the signed bias is +0.31, beyond 0.25"),
        _alert(1, now - 12 * DAY, now - 12 * DAY + 3 * HOUR, "info", ("pv-rls", "trio", "strong-sun", "forecast"), 23_410.0, 22_000.0,
               "the forecast is 23,410 W for 2019-05-31 12:00, above 22000"),
    ]  # fmt: skip


def _alert(
    number: int,
    raised: int,
    cleared: int | None,
    severity: str,
    what: tuple[str, str, str, str],
    value: float,
    threshold: float,
    message: str,
) -> dict[str, Any]:
    model, key, rule, on = what
    return {
        "id": f"{number:024x}",
        **{"model": model, "key": key, "rule": rule, "on": on, "severity": severity},
        "state": "active" if cleared is None else "cleared",
        "raised_ms": raised,
        "cleared_ms": cleared,
        "value": value,
        "threshold": threshold,
        "message": message,
    }


def shadow(candidate: str, served: str, daily: list[dict[str, Any]]) -> dict[str, Any]:
    """The comparison of a candidate with what is served, over paired days; too few of them say nothing."""
    ours = sum(day["candidate"] for day in daily) / len(daily)
    theirs = sum(day["served"] for day in daily) / len(daily)
    change, enough = ours / theirs - 1, len(daily) >= 24
    says = f"candidate is {abs(change) * 100:.1f} % {'better' if change < 0 else 'worse'} over {len(daily)} days; "
    says += "a difference this large arises by luck in 1 of 64 comparisons: more than luck"
    return {
        **{"candidate": candidate, "served": served, "key": "trio", "unit": "W", "days": len(daily)},
        **{"mse_candidate": ours, "mse_served": theirs, "change": change},
        **{"p": 1 / 64 if enough else None, "comparisons": 1, "apart": 0.0},
        "verdict": says if enough else f"too few days ({len(daily)}) to tell; at least 24 are needed",
        "more_than_luck": enough,
        "daily": daily,
    }


_COLUMNS = [
    {"name": "model", "label": "model"},
    {
        "name": "mse",
        "label": "MSE",
        "help": "mean squared error, scaled by the range of the training days; mean over the periods",
    },
    {"name": "mse_min", "label": "min", "help": "the best period"},
    {"name": "mse_max", "label": "max", "help": "the worst period"},
    {"name": "good", "label": "<= 0.009", "help": "share of periods (and seeds) with an MSE of at most 0.009"},
    {
        "name": "skill",
        "label": "skill",
        "help": "1 - MSE / MSE of hour-mean: above 0 is better than the mean of that hour",
    },
    {"name": "mae", "label": "MAE", "unit": "W", "help": "mean absolute error"},
    {"name": "coverage", "label": "cover", "help": "share of targets inside the 90% interval"},
    {"name": "width", "label": "width", "unit": "W", "help": "its mean width"},
    {"name": "periods", "label": "periods", "help": "periods with a forecast"},
    {"name": "n", "label": "n", "help": "targets scored"},
]


def _row(model: str, mse: list[float], mae: float, coverage: float | None, width: float | None) -> dict[str, Any]:
    return {
        **{"model": model, "mse": sum(mse) / len(mse), "mse_min": min(mse), "mse_max": max(mse)},
        "good": sum(one <= 0.009 for one in mse) / len(mse),
        "skill": 1 - sum(mse) / 11 / 0.019,
        **{"mae": mae, "coverage": coverage, "width": width, "periods": 11, "n": 17_160},
    }


def _periods(mean: float, seed: int) -> list[float]:
    found = [random.Random(seed * 100 + period).uniform(0.15, 1.0) * (1.4 + math.sin(period)) for period in range(11)]
    return [round(one * mean * 11 / sum(found), 5) for one in found]


def reports(now: int) -> list[dict[str, Any]]:
    """A rolling evaluation and a drift experiment, as `headrace evaluate --push` sends them; the figures are invented."""
    means = {
        "persistence": 0.0247,
        "hour-mean": 0.0190,
        "ridge": 0.0166,
        "rls": 0.0181,
        "hist-gb": 0.0210,
        "gru": 0.0177,
    }
    series = {name: _periods(mean, index) for index, (name, mean) in enumerate(means.items())}
    rows = [
        _row("persistence", series["persistence"], 2011.4, None, None),
        _row("hour-mean", series["hour-mean"], 1934.0, 0.921, 8230.0),
        _row("ridge", series["ridge"], 1801.7, 0.902, 7120.0),
        _row("rls", series["rls"], 1850.2, 0.897, 7411.5),
        _row("hist-gb", series["hist-gb"], 1880.9, 0.882, 6904.0),
        _row("gru", series["gru"], 1762.3, 0.911, 7302.1),
    ]
    periods = _labels(1_541_664_000_000)
    curves = {"gru, ring 14 d": (1.8, 5.0), "rls": (1.4, 3.5), "gru, frozen": (2.2, 60.0)}
    return [
        {
            "name": "rolling-pv", "title": "pv: 11 rolling periods of 16 + 4 days", "kind": "rolling", "received_ms": now - 3 * HOUR,
            "columns": _COLUMNS, "rows": rows,
            "notes": ["16 days of training and 4 of validation in each period; no target crosses the split.",
                      "Single periods differ by a factor of 8 with the weather."],
            "figures": [{"name": "mse-by-period", "title": "Scaled MSE by period", "x": periods,
                         "series": [{"name": name, "values": values} for name, values in series.items()]}],
        },
        {
            "name": "drift-pv", "title": "pv: readings x 0.6 from 9 start days", "kind": "drift", "received_ms": now - 30 * HOUR,
            "columns": [
                {"name": "model", "label": "model"},
                {"name": "mse", "label": "MSE undrifted", "help": "scaled, over all scored days"},
                {"name": "days_2_3", "label": "days 2-3", "help": "ratio two and three days after the drift began"},
                {"name": "days_to_recover", "label": "days to recover", "unit": "d", "help": "until the ratio stays at 1.1 or less; – if it never does"},
            ],
            "rows": [
                {"model": "gru, ring 14 d", "mse": 0.0288, "days_2_3": 1.77, "days_to_recover": 9.0},
                {"model": "rls", "mse": 0.0271, "days_2_3": 1.35, "days_to_recover": 7.0},
                {"model": "gru, frozen", "mse": 0.0388, "days_2_3": 2.26, "days_to_recover": None},
            ],
            "notes": [],
            "figures": [{"name": "ratio-by-day", "title": "Error over that of the undrifted twin", "x": list(range(30)),
                         "series": [{"name": name, "values": [1 + (top - 1) * math.exp(-day / slow) for day in range(30)]}
                                    for name, (top, slow) in curves.items()]}],
        },
    ]  # fmt: skip


def _labels(start: int) -> list[str]:
    return [time.strftime("%Y-%m-%d", time.gmtime(start / 1000 + 20 * index * 86_400)) for index in range(11)]
