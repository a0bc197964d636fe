"""Whether a spec's alert rules can be kept. No I/O, no state."""

from __future__ import annotations

from pydantic import ValidationError

from headrace.errors import HeadraceError, MissingExtra, Problem
from headrace.models.drift import DETECTORS
from headrace.spec import BreachRule, CoverageRule, Document, DriftRule, ForecastRule, explain, written


def check_rules(document: Document, *, every: int | None) -> list[Problem]:
    """What is wrong with a document's rules beyond their form, with lines.

    Args:
        every: the step of the grid, ns; None: there is none.
    """
    problems: list[Problem] = []
    names: set[str] = set()
    for index, rule in enumerate(document.spec.alerts):
        place: tuple[str | int, ...] = ("alerts", index)
        if rule.name in names:
            problems.append(document.problem((*place, "name"), f"{rule.name!r} appears twice among the alerts"))
        names.add(rule.name)
        if every is None and isinstance(rule, ForecastRule | BreachRule | CoverageRule):
            message = "needs forecasts of a `resample` step; without one there are rules on reading, drift and silence"
            problems.append(document.problem((*place, "on"), message))
        if every is not None and isinstance(rule, ForecastRule) and rule.within is not None and rule.within < every:
            message = (
                f"{written(rule.within)} is less than one step of the grid ({written(every)}), the least to look at"
            )
            problems.append(document.problem((*place, "within"), message))
        if isinstance(rule, DriftRule):
            problems += _check_detector(document, rule, (*place, "detector"))
    return problems


def _check_detector(document: Document, rule: DriftRule, place: tuple[str | int, ...]) -> list[Problem]:
    try:
        DETECTORS.params(rule.detector.name, rule.detector.params)
    except ValidationError as error:
        found = [explain(item) for item in error.errors()]
        return [document.problem((*place, rule.detector.name, *inner), message) for inner, message in found]
    except MissingExtra:
        return []
    except HeadraceError as error:
        return [document.problem(place, str(error))]
    return []
