"""Shadows: candidates that run on live messages beside the model in service, unserved, and are compared with it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace.errors import BadInput, Conflict, HasShadows, NotServed, Problem
from headrace.services.learning.compare import Comparison, apart, pairs
from headrace.services.learning.lane import CHAMPION, LIVE, LocalTime
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Entered
from headrace.services.learning.store import Store, generation_file
from headrace.spec import Document, OnlineModel, written
from headrace.spec import Path as Place

KEYS = 50
"""Keys compared at one time."""
KEPT = ("output", "alerts", "alert")
"""What a promoted candidate takes over from the model it replaces where its own spec says nothing."""


# -- whether two models can be compared


def unlike(candidate: Plan, served: Plan) -> list[tuple[Place, str]]:
    """Where two plans' forecasts are not of the same thing at the same times: (place in the candidate's spec, message)."""
    if not candidate.grid or not served.grid:
        who = "the candidate" if not candidate.grid else f"{served.spec.name!r}"
        message = f"only forecasts on a regular grid can be compared, and {who} has no `resample` step"
        return [(("transform",), message)]
    mine, theirs, name = candidate.spec, served.spec, served.spec.name
    rows: list[tuple[Place, Any, Any]] = [
        (("input", "topics"), sorted(mine.input.topics), sorted(theirs.input.topics)),
        (("input", "key"), mine.input.key, theirs.input.key),
        (("input", "target"), mine.input.target, theirs.input.target),
        (("input", "timezone"), mine.input.timezone, theirs.input.timezone),
        (("transform",), written(candidate.context.every), written(served.context.every)),
        (("forecast", "horizon"), mine.forecast.horizon, theirs.forecast.horizon),
        (("forecast", "every"), written(mine.forecast.every), written(theirs.forecast.every)),
        (("forecast", "at"), written(mine.forecast.at), written(theirs.forecast.at)),
    ]
    return [
        (place, f"expected {'a grid of ' if place == ('transform',) else ''}{b} as {name!r} has it, got {a}")
        for place, a, b in rows
        if a != b
    ]


def check(documents: Sequence[Document], models: Mapping[str, Entered]) -> list[Problem]:
    """What is wrong with the shadows there would be if these documents were applied.

    A shadow's model must exist (or stand in the same file), be served, and be comparable with it.
    """
    applied = {document.spec.name: document for document in documents}
    plans = {name: entered.plan for name, entered in models.items()}
    plans |= {name: Plan(document.spec) for name, document in applied.items()}
    problems: list[Problem] = []
    for name, plan in sorted(plans.items()):
        served = plan.spec.shadow
        if served and (name in applied or served in applied):
            problems += _check_one(applied.get(name), applied.get(served), plan, plans)
    return problems


def _check_one(mine: Document | None, other: Document | None, plan: Plan, plans: Mapping[str, Plan]) -> list[Problem]:
    """One shadow; the problem stands in the document that is being applied."""
    name, served = plan.spec.name, plan.spec.shadow
    found = _wrong(plan, plans)
    if mine is not None:
        return [mine.problem(place, message) for place, message in found]
    assert other is not None
    first = "; ".join(message for _, message in found)
    message = f"its shadow {name!r} could no longer be compared with it ({first}); apply both, or delete {name!r} first"
    return [other.problem(("shadow",) if plans[served].spec.shadow else found[0][0], message)] if found else []


def _wrong(plan: Plan, plans: Mapping[str, Plan]) -> list[tuple[Place, str]]:
    name, served = plan.spec.name, plan.spec.shadow
    if served == name:
        return [(("shadow",), "a model cannot be its own shadow: give the candidate a name of its own")]
    if served not in plans:
        known = some(sorted(one for one, other in plans.items() if not other.spec.shadow))
        return [(("shadow",), f"there is no model {served!r} in service or in this file; those that are: {known}")]
    if plans[served].spec.shadow:
        message = f"{served!r} is itself a shadow, of {plans[served].spec.shadow!r}; compare both with that one"
        return [(("shadow",), message)]
    return unlike(plan, plans[served])


# -- what the registry says of them


def of(name: str, models: Iterable[Entered]) -> list[Entered]:
    """The shadows of a model."""
    return sorted((one for one in models if one.plan.spec.shadow == name), key=lambda one: one.name)


def keep_served(name: str, models: Iterable[Entered]) -> None:
    """Raises HasShadows if there are candidates of this model."""
    if found := of(name, models):
        raise HasShadows(name=name, shadows=", ".join(repr(one.name) for one in found))


def refuse(entered: Entered | None) -> None:
    """Raises NotServed for a shadow."""
    if entered is not None and entered.plan.spec.shadow:
        raise NotServed(name=entered.name, served=entered.plan.spec.shadow)


def promoted(candidate: Entered, served: Entered) -> Document:
    """The candidate's spec under the served model's name."""
    mine: dict[str, Any] = candidate.applied.plain
    plain = {name: value for name, value in mine.items() if name != "shadow"}
    plain["metadata"] = {**plain["metadata"], "name": served.name}
    for section in KEPT:
        if section in served.applied.plain and section not in plain:
            plain[section] = served.applied.plain[section]
    return Document("(promotion)", OnlineModel.model_validate(plain), plain, {})


def candidate_of(entered: Entered, models: Mapping[str, Entered]) -> Entered:
    """The model a candidate is a shadow of. Raises BadInput if it is none."""
    served = models.get(entered.plan.spec.shadow)
    if served is None:
        raise BadInput(detail=f"{entered.name!r} is no shadow: only a model with `shadow:` in its spec can be promoted")
    return served


def fit_to_serve(name: str, state: tuple[str, str]) -> None:
    """Raises Conflict for a candidate that failed or has made no forecast yet: its model would be out of service."""
    if state[0] in {"failed", "waiting", "collecting"}:
        raise Conflict(detail=f"{name!r} is {state[0]} ({state[1]}) and cannot take over; what is in service stays")


# -- the comparison


def role(plan: Plan) -> str:
    """The contender whose forecasts a model gives out."""
    return CHAMPION if plan.spec.publish.serve == "published" else LIVE


def compared(
    served: Entered, candidates: Sequence[Entered], data: Path, failed: Mapping[str, str], *, trusted: bool = True
) -> list[dict[str, Any]]:
    """Each candidate, key by key, against the model in service, from what their workers have stored.

    Args:
        failed: why a candidate stopped, by its name.
        trusted: their workers run no stranger's code.
    """
    found: list[Comparison] = []
    with contextlib.closing(_Opened(served, data, trusted=trusted)) as theirs:
        for candidate in candidates:
            with contextlib.closing(_Opened(candidate, data, trusted=trusted)) as mine:
                made = compare(candidate.plan, mine.store, served.plan, theirs.store)
                found += [replace(one, failed=failed.get(one.candidate, "")) for one in made]
    return plain(found)


def plain(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Comparisons that were made together, as the doors answer them."""
    made = sum(one.p is not None for one in found)
    return [one.plain(made) for one in found]


def compare(
    mine: Plan, candidate: Store | None, theirs: Plan, served: Store | None, since: int = 0
) -> list[Comparison]:
    """Candidate against served by key, over the forecasts with origin >= `since` that both made and had scored."""
    day = LocalTime(theirs.spec.input.timezone).day
    if candidate is None or served is None:
        return [Comparison(mine.spec.name, theirs.spec.name, "", theirs.spec.input.unit, [])]
    keys = sorted(set(candidate.lanes()) & set(served.lanes()))[:KEYS]
    return [
        Comparison(
            mine.spec.name,
            theirs.spec.name,
            key,
            theirs.spec.input.unit,
            pairs(candidate.own_scores(key, role(mine), since), served.own_scores(key, role(theirs), since), day),
            apart(candidate.actuals(key, since), served.actuals(key, since)),
        )
        for key in keys or [""]
    ]


def newest(mine: Plan, candidate: Store, theirs: Plan, served: Store) -> int:
    """Origin of the newest forecast that both made and had scored, 0 if there is none."""
    first, second = role(mine), role(theirs)
    common = (
        candidate.own_scores(key, first).keys() & served.own_scores(key, second).keys() for key in candidate.lanes()
    )
    return max((max(origins, default=0) for origins in common), default=0)


class _Opened:
    """A generation's file while it is read; None where its worker has not made one yet."""

    def __init__(self, entered: Entered, data: Path, *, trusted: bool = True) -> None:
        path = generation_file(data, entered.name, entered.generation)
        self.store = Store(path, blame=None if trusted else _ignored, aside=True) if path.exists() else None
        with contextlib.suppress(sqlite3.Error):
            if self.store is not None:
                self.store.lanes()
                return
        self.close()
        self.store = None

    def close(self) -> None:
        """Let go of it."""
        if self.store is not None:
            self.store.close()


def _ignored(_: str) -> None:
    """What is wrong with a file is said where its model is shown."""


def some(names: Sequence[str], most: int = 5) -> str:
    """A few of many names.

    >>> some(["a", "b", "c"], 2), some([])
    ('a, b and 1 more', 'none')
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"
