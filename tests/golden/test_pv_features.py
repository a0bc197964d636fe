"""The ten features of the RLS on the whole PV series: with a plain RLS they give the error that was measured before any
of this code existed."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.examples.pv import TIMEZONE, phases
from headrace.examples.pv.publisher import midnight
from headrace.models.transformers import Context
from headrace.models.transformers.pipeline import build
from headrace.records import DAY, HOUR, Rows
from headrace.spec import Plug

MEASURED = 0.0271
"""Day-ahead at midnight, test-then-train, days 40-223, scaled by the maximum of the first 40 days."""
STEPS: list[Any] = [
    "resample",
    {"scale": {"method": "max"}},
    {"lags": {"steps": [24, 23, 25, 48], "means": [{"days": 7}], "yesterday": ["mean", "max"], "ahead": "season"}},
    {"calendar": {"features": ["hour_sin", "hour_cos", "constant"]}},
]


def test_the_rls_features_reproduce_the_measured_error() -> None:
    first = midnight("2018-11-08")
    time, power = phases.slots()
    five = np.nan_to_num(power[time >= first])
    hourly = five[: len(five) // 12 * 12].reshape(-1, 12).mean(axis=1)
    context = Context(target="power", timezone=TIMEZONE, initial=40 * DAY)
    pipeline = build([Plug.model_validate(step) for step in STEPS], context)
    made = pipeline.apply(Rows(first + HOUR * np.arange(len(hourly), dtype=np.int64), {"power": hourly}))
    features = np.concatenate([made.columns["x.lags"], made.columns["x.calendar"]], axis=2)
    errors = _test_then_train(features, made.columns["power"])
    assert len(errors) == 184
    assert abs(float(np.mean(errors)) - MEASURED) < 0.0002


def _test_then_train(features: Any, series: Any) -> list[float]:
    """Mean squared error of each day from day 40; w = 0, P = 100·I, forecasts clipped at 0."""
    weights, inverse, errors = np.zeros(10), 100 * np.eye(10), []
    for day in range(7, 224):
        row = day * 24 - 1
        inputs, truth = features[row], series[row + 1 : row + 25]
        if day >= 40:
            errors.append(float(np.mean((np.maximum(inputs[: len(truth)] @ weights, 0) - truth) ** 2)))
        for x, y in zip(inputs, truth, strict=False):
            gain = inverse @ x / (1 + x @ inverse @ x)
            weights = weights + gain * (y - x @ weights)
            inverse = inverse - np.outer(gain, x @ inverse)
    return errors
