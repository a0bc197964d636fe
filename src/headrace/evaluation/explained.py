"""The inputs of one forecast and what each contributed, if the family `explainers` is there (Figure 4.10 of the chapter)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import HeadraceError
from headrace.evaluation.contenders import Fitted, Trained, scheduled
from headrace.evaluation.parts import Part
from headrace.records import HOUR, Array


@dataclass(frozen=True)
class Explained:
    """Contributions to the forecast of one target."""

    model: str
    contributions: Array
    """(inputs,) in the target's unit."""
    labels: list[str]
    places: NDArray[np.int64] | None
    """Hours before the origin, for a window; None if inputs are features with names."""
    axis: str
    unit: str
    caption: str


def explain(one: Trained, part: Part, unit: str) -> Explained | str:
    """The forecast of the first validation day's highest hour, explained; or why there is no explanation."""
    try:
        family: Any = import_module("headrace.models.explainers")
        checked: Any = import_module("headrace.models.explainers.completeness")
    except ImportError:
        return "this version has no explainers"
    try:
        fitted = one.fit(part, one.seeds[0])
        due = scheduled(one.plan, len(part.rows))
        due = due[(due >= part.split) & fitted.usable[due - 1]]
        if not len(due):
            return "at no origin of its validation days all inputs are known"
        origin = int(due[0])
        x = fitted.inputs[origin - 1]
        shape = fitted.contender.shape
        subject = family.Subject.of(fitted.contender.backend, shape)
        explainer = family.EXPLAINERS.find("auto")(family.EXPLAINERS.params("auto", {}), subject)
        found = checked.explain(explainer, subject, x, np.zeros_like(x))
    except (Exception, SystemExit) as error:  # whatever a user's module raises: the report goes on
        return str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
    return _told(one, part, fitted, found, unit)


def _told(one: Trained, part: Part, fitted: Fitted, found: Any, unit: str) -> Explained:
    target = int(np.argmax(np.abs(found.prediction - found.base)))
    shape = fitted.contender.shape
    low, high = fitted.inverse(np.array([0.0, 1.0])).tolist()
    values = np.asarray(found.contributions)[target] * (high - low)
    window = not shape.per_target
    flat = values.reshape(shape.input[0], -1).sum(axis=1) if window else values.reshape(-1)
    hours = part.every / HOUR
    ahead = (target + 1) * hours
    caption = (
        f"The chapter's Figure 4.10 for {one.name}: contributions ({found.method}, compared with all inputs at zero, "
        f"completeness error {found.completeness:.0e}) to the value {ahead:g} h ahead, the forecast of the first validation day "
        f"of {part.label} that moved most."
    )
    if window:
        places = (np.arange(len(flat)) - len(flat)).astype(np.int64)
        axis = (
            "hours before the forecast was made" if hours == 1 else f"steps of {hours:g} h before the forecast was made"
        )
        return Explained(one.name, flat, [str(place) for place in places], places, axis, unit, caption)
    return Explained(one.name, flat, [f"input {index + 1}" for index in range(len(flat))], None, "", unit, caption)
