"""The check every explanation has to pass: its contributions add up to what they explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.errors import BadInput, Unexplained
from headrace.models.backends import Shape
from headrace.models.explainers import Explainer, Subject
from headrace.records import Array

SHARE = 0.1
"""A target whose own difference is below this share of the largest is measured by that share: where a forecast hardly moves,
a small part of nothing is no error worth refusing the others for."""
ROUNDING = 1e-9
"""Differences below this fraction of the forecasts themselves are rounding."""
TINY = 1e-12
LIMIT = 1_000_000
"""Most contributions of one explanation: 8 MB, and about 20 as JSON."""


@dataclass(frozen=True)
class Explanation:
    """One example, explained. Scaled units."""

    method: str
    contributions: Array
    """As `Explainer.explain` gives them."""
    base: Array
    """Forecast for the baseline, (horizon,)."""
    prediction: Array
    """Forecast for the inputs, (horizon,)."""
    completeness: float
    """The error that was found."""
    tolerance: float
    """The error that would have been allowed."""
    note: str = ""


def error(contributions: Array, prediction: Array, base: Array) -> float:
    """Largest completeness error over the targets.

    |sum of contributions - (prediction - base)|, relative to |prediction - base| of the target, or to `SHARE` of the largest
    such difference, or to `ROUNDING` of the largest forecast, whichever is most. inf if anything is not finite.
    """
    difference = prediction - base
    off = np.abs(contributions.reshape(len(difference), -1).sum(axis=1) - difference)
    least = max(
        SHARE * float(np.abs(difference).max(initial=0)),
        ROUNDING * float(np.abs([prediction, base]).max(initial=0)),
        TINY,
    )
    worst = float((off / np.maximum(np.abs(difference), least)).max(initial=0))
    return worst if np.isfinite(contributions).all() and np.isfinite(worst) else float("inf")


def explain(explainer: Explainer, subject: Subject, x: Array, baseline: Array) -> Explanation:
    """Contributions that passed the check.

    Raises:
        Unexplained: they do not add up, or have another shape.
        Unsupported: not possible for this model.
    """
    check_size(explainer, subject.shape)
    both = np.stack([baseline, x])
    before = subject.predict(both).copy()  # before anybody else's code has had a chance to change what is predicted
    made = np.asarray(explainer.explain(x, baseline), dtype=np.float64)
    contributions = _shaped(made, subject.shape, explainer.method)
    if not np.array_equal(subject.predict(both), before, equal_nan=True):
        raise Unexplained(detail=f"{explainer.method!r} changed the model that it was to explain", instead="mend it")
    base, prediction = before
    found = error(contributions, prediction, base)
    if not found <= explainer.tolerance:
        raise Unexplained(
            detail=f"the contributions of {explainer.method!r} do not add up to the forecast minus that of the baseline: "
            f"the error is {found:.2g} of the difference, allowed are {explainer.tolerance:g}",
            instead="ask for another method or baseline",
        )
    tolerance, note = explainer.tolerance, explainer.note
    return Explanation(explainer.method, contributions, base, prediction, found, tolerance, note)


def check_size(explainer: Explainer, shape: Shape, examples: int = 1) -> None:
    """Raises BadInput for a question with more contributions than anybody can look at."""
    rows, columns = shape.input
    own = shape.per_target and explainer.method in {"linear", "sampling"}
    size = examples * shape.horizon * (columns if own else rows * columns)
    if size > LIMIT:
        each = f"{examples:,} x {shape.horizon:,} targets x {size // (examples * shape.horizon):,} inputs"
        raise BadInput(
            detail=f"this explanation would have {size:,} contributions ({each}), at most {LIMIT:,} are given; ask for fewer "
            "examples at a time, or choose a shorter history or horizon"
        )


def _shaped(made: Array, shape: Shape, method: str) -> Array:
    """Contributions in one of the shapes they may have, also if an explainer flattened them. Raises Unexplained."""
    whole = (shape.horizon, *shape.input)
    if made.shape == whole or (shape.per_target and made.shape == (shape.horizon, shape.input[1])):
        return made
    if made.shape == (shape.horizon, shape.input[0] * shape.input[1]):
        return made.reshape(whole)
    raise Unexplained(
        detail=f"{method!r} gave contributions of shape {made.shape}, expected {whole}", instead="mend it"
    )
