"""The rolling evaluation as a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.evaluation import measures
from headrace.evaluation.parts import Part
from headrace.evaluation.periods import Periods
from headrace.evaluation.report import Column, Report, finite_mean
from headrace.evaluation.rolling import Result
from headrace.models.intervals import INTERVALS
from headrace.records import DAY, HOUR
from headrace.services.learning.plan import Plan

REFERENCE = "hour-mean"
"""What skill is measured against."""


def rolling(
    results: Sequence[Result], parts: Sequence[Part], plan: Plan, periods: Periods, name: str, notes: list[str]
) -> Report:
    """Everything about every contender."""
    unit = plan.spec.input.unit
    reference = next((one for one in results if one.name == REFERENCE), None)
    rows = [_row(one, reference) for one in results]
    train, validate = periods.train / DAY, periods.validation / DAY
    title = f"{name}: {len(parts)} rolling period{'s' if len(parts) != 1 else ''} of {train:g} + {validate:g} days"
    figures = [
        {
            "name": "mse-by-period",
            "title": "Scaled MSE by period",
            "x": [part.label for part in parts],
            "series": [{"name": one.name, "values": list(one.mse)} for one in results],
        }
    ]
    return Report(
        name=f"rolling-{name}",
        title=title,
        kind="rolling",
        columns=_columns(unit, nominal(plan)),
        rows=rows,
        notes=[*_standing(plan, periods), *notes, *_failures(results, parts), *_said(results)],
        details=[row for one in results for row in _details(one, parts)],
        more={
            "settings": _settings(plan, periods),
            "normality": [{"model": one.name, **one.normality} for one in results if one.normality is not None],
        },
        figures=figures,
        seconds={one.name: one.seconds for one in results},
    )


def _columns(unit: str, nominal: float) -> list[Column]:
    good = f"{measures.GOOD:g}"
    band = f"{nominal:.0%} interval"
    return [
        Column("model", "model"),
        Column("mse", "MSE", "", "mean squared error, scaled by the range of the training days; mean over the periods"),
        Column("mse_min", "min", "", "the best period"),
        Column("mse_max", "max", "", "the worst period"),
        Column("good", f"<= {good}", "", f"share of periods (and seeds) with an MSE of at most {good}", "%"),
        Column(
            "skill", "skill", "", "1 - MSE / MSE of hour-mean: above 0 is better than the mean of that hour", "+.3f"
        ),
        Column("mae", "MAE", unit, "mean absolute error", ""),
        Column("active_mse", "active MSE", "", "scaled MSE of the targets above 2 % of the scale (daylight, for PV)"),
        Column("active_share", "active", "", "share of the targets that are", "%"),
        Column("coverage", "cover", "", f"share of targets inside the {band}", "%"),
        Column("width", "width", unit, "its mean width", ""),
        Column("active_coverage", "active cover", "", "coverage of the active targets", "%"),
        Column("active_width", "active width", unit, "its mean width there", ""),
        Column("periods", "periods", "", "periods with a forecast", "d"),
        Column("n", "n", "", "targets scored", ",d"),
    ]


def _row(one: Result, reference: Result | None) -> dict[str, Any]:
    mse = one.mse[np.isfinite(one.mse)]
    every = np.array([value for part in one.measured for value in part.mse])
    every = every[np.isfinite(every)]
    n, active = sum(part.n for part in one.measured), sum(part.active for part in one.measured)
    scored = [part for part in one.measured if np.isfinite(part.mae)]
    return {
        "model": one.name,
        "mse": float(mse.mean()) if len(mse) else None,
        "mse_min": float(mse.min()) if len(mse) else None,
        "mse_max": float(mse.max()) if len(mse) else None,
        "good": float((every <= measures.GOOD).mean()) if len(every) else None,
        "skill": _skill(one, reference),
        "mae": finite_mean([part.mae for part in scored]),
        "active_mse": finite_mean([part.active_mse for part in scored]),
        "active_share": measures.share(active, n),
        **measures.total(one.bands),
        "periods": len(mse),
        "n": n if len(mse) else 0,
    }


def _skill(one: Result, reference: Result | None) -> float | None:
    if reference is None:
        return None
    both = np.isfinite(one.mse) & np.isfinite(reference.mse)
    against = reference.mse[both].mean() if both.any() else 0.0
    return float(1 - one.mse[both].mean() / against) if against > 0 else None


def _details(one: Result, parts: Sequence[Part]) -> list[dict[str, Any]]:
    found = []
    for part, measured, band in zip(parts, one.measured, one.bands, strict=True):
        found.append(
            {
                "model": one.name,
                "period": part.label,
                "mse": float(np.mean(measured.mse)),
                "mae": measured.mae,
                "active_mse": measured.active_mse,
                "active_share": measures.share(measured.active, measured.n),
                **measures.total([band]),
                "n": measured.n,
            }
        )
    return found


def nominal(plan: Plan) -> float:
    """The share the plan's interval promises."""
    return float(INTERVALS.params(plan.spec.interval.name, plan.spec.interval.params).nominal)


def _settings(plan: Plan, periods: Periods) -> dict[str, Any]:
    return {
        "target": plan.spec.input.target,
        "unit": plan.spec.input.unit,
        "timezone": plan.spec.input.timezone,
        "step_hours": plan.context.every / HOUR,
        "horizon": plan.context.horizon,
        "history": periods.history,
        "train_days": periods.train / DAY,
        "validate_days": periods.validation / DAY,
        "seeds": list(periods.seeds),
        "interval": {plan.spec.interval.name: plan.spec.interval.params},
    }


def _standing(plan: Plan, periods: Periods) -> list[str]:
    hours = plan.context.every / HOUR
    return [
        f"Trained anew on the {periods.train / DAY:g} training days of each period, asked at every step of the validation days "
        f"for {plan.context.horizon} steps of {hours:g} h. The scale is that of the training days, no training target is "
        "after the split, no validation target before it, and nothing is taken from before the period.",
        "The interval is measured on the forecasts of the spec's schedule, as a running model issues them, for the first seed. "
        "It learns first from forecasts of each block of the training days by a model that was fitted to the other blocks, then "
        f"from each validation forecast once its last target is known: {periods.train / DAY:g} days, a running model has 30.",
        "Single periods differ by much with the weather: judge by many periods and by skill, not by one figure.",
    ]


def _failures(results: Sequence[Result], parts: Sequence[Part]) -> list[str]:
    notes = []
    for one in results:
        if one.failures:
            index, why = one.failures[0]
            where = f"{len(one.failures)} of {len(parts)} periods, the first {parts[index].label}"
            notes.append(f"{one.name} has no forecast in {where}: {why}")
    return notes


def _said(results: Sequence[Result]) -> list[str]:
    """The normality tests' own sentence on the last contender: the network, or the user's own."""
    told = [one for one in results if one.normality is not None and one.normality.get("sentence")]
    return [f"Normality of {one.name}'s residuals: {one.normality['sentence']}" for one in told[-1:]]
