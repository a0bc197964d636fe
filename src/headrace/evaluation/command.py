"""`headrace evaluate`: options in, a report out."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.credentials import headers
from headrace.disk import write_text
from headrace.errors import BadInput, Permanent
from headrace.evaluation import contenders, explained, parts, plans, registered, report, rolling, tables, work
from headrace.evaluation.asked import Fetched, Options, fetched, inputs, report_name
from headrace.evaluation.contenders import Contender, Trained
from headrace.evaluation.parts import Part
from headrace.evaluation.periods import Periods
from headrace.evaluation.plans import Chosen
from headrace.evaluation.registered import Registered
from headrace.evaluation.report import Report
from headrace.evaluation.rolling import Result

if TYPE_CHECKING:
    from headrace.evaluation.figures import Figure


def run(options: Options) -> None:
    """Make the report, print it, write it, send it. Nothing is written before all is done.

    What the user's own steps and modules print goes to stderr: stdout is the report's alone.
    """
    with work.ending(), contextlib.redirect_stdout(sys.stderr), fetched(options) as found:
        made, drawn = _made(found)
    if options.html is not None:
        from headrace.evaluation.page import page

        write_text(options.html, page(made, *drawn))
    if options.csv is not None:
        write_text(options.csv, made.csv())
    if options.as_json:
        print(made.json(), end="")
    else:
        report.show(made)
    if options.push:
        push(options.push, made)


def _made(found: Fetched) -> tuple[Report, Any]:
    """(report, its figures and why others are missing, if a page is wanted)."""
    if found.options.drift:
        from headrace.evaluation import drifting

        made, draw = drifting.made(found.options)
    else:
        made, draw = rolled(found)
    return made, draw() if found.options.html is not None else None


def rolled(found: Fetched) -> tuple[Report, Any]:
    """(report, a function that draws its figures) of the rolling evaluation."""
    options = found.options
    chosen, source, when = inputs(options)
    notes = [*source.notes, *plans.negatives(source, chosen)]
    cut = parts.cut(chosen.plan, source, when, notes)
    others = selected(_people(chosen, when), options.only)
    people: list[Contender] = [*others, *_registered(found, when, notes, frozenset(one.name for one in others))]
    results = rolling.evaluate(people, cut, chosen.plan, options.jobs)
    made = tables.rolling(results, cut, chosen.plan, when, report_name(options, source.name), notes)
    return made, lambda: _figures(made, results, people, cut, chosen)


def _people(chosen: Chosen, when: Periods) -> list[Trained]:
    """The standard contenders and the user's own; a user's name that is taken gets a star."""
    standard = contenders.standard(chosen.plan, when, chosen.floor)
    taken = {one.name for one in standard}
    own = [contenders.own(plan, when) for plan in chosen.own]
    return standard + [Trained(f"{one.name}*" if one.name in taken else one.name, one.plan, one.seeds) for one in own]


def _registered(found: Fetched, when: Periods, notes: list[str], taken: frozenset[str]) -> list[Registered]:
    if found.model is None or found.files is None:
        return []
    registered.usable(found.model)
    notes += registered.flattering(found.model, found.dataset)
    return [Registered(found.model, found.files, found.code, when.history, taken=taken)]


def selected(people: Sequence[Trained], only: str) -> list[Trained]:
    """Those named in `only` (comma-separated; all if empty), and hour-mean, which skill is measured against."""
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    known = [one.name for one in people]
    if unknown := wanted - set(known):
        raise BadInput(detail=f"there is no contender {sorted(unknown)[0]!r}; known: {', '.join(known)}")
    return [one for one in people if not wanted or one.name in wanted or one.name == tables.REFERENCE]


def _figures(
    made: Report, results: Sequence[Result], people: Sequence[Contender], cut: Sequence[Part], chosen: Chosen
) -> tuple[list[Figure], list[str]]:
    """What is drawn, and what could not be."""
    from headrace.evaluation import figures

    spec, nominal = chosen.plan.spec, tables.nominal(chosen.plan)
    drawn: list[Figure | None] = []
    notes: list[str] = []
    main = _main(results, sum(isinstance(one, Trained) for one in people) - len(chosen.own))
    if main is not None:
        index, part_index = main
        part, one = cut[part_index], results[index]
        due = contenders.scheduled(chosen.plan, len(part.rows))
        due = due[(due >= part.split) & (due <= len(part.rows) - part.horizon)]
        if len(due):
            timezone = spec.input.timezone
            drawn.append(
                figures.forecast(one.name, part, one.runs[part_index], due, spec.input.unit, timezone, nominal)
            )
        person = people[index]
        told = (
            explained.explain(person, part, spec.input.unit)
            if isinstance(person, Trained)
            else f"{person.name} is asked in the sandbox, where nothing can be explained"
        )
        if isinstance(told, str):
            notes.append(f"No figure of contributions: {told}")
        else:
            drawn.append(figures.contributions(told))
    drawn += [
        figures.by_period(made.figures[0]),
        figures.skill(made.rows),
        figures.coverage(made.rows, nominal),
    ]
    return [one for one in drawn if one is not None], notes


def _main(results: Sequence[Result], first_own: int) -> tuple[int, int] | None:
    """(contender, part) to look at: the user's own, else the network, else the best; the part in the middle by error."""
    able = [index for index, one in enumerate(results) if np.isfinite(one.mse).any()]
    if not able:
        return None
    own = [index for index in able if index >= first_own]
    network = [index for index in able if results[index].name == "gru"]
    best = min(able, key=lambda index: float(np.nanmean(results[index].mse)))
    index = (own or network or [best])[0]
    mse = results[index].mse
    ranked = [place for place in np.argsort(mse, kind="stable").tolist() if np.isfinite(mse[place])]
    return index, ranked[len(ranked) // 2]


def push(url: str, made: Report) -> None:
    """Send the report to a platform. Raises BadInput with what it answers."""
    import httpx

    where = f"{url.rstrip('/')}/api/reports/{made.name}"
    try:
        body = json.dumps(made.plain()).encode()
        answer = httpx.put(where, content=body, headers=headers(url), timeout=60, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadInput(detail=f"no answer from {url} ({error or type(error).__name__}); is it up?") from error
    if answer.is_error:
        raise Permanent(detail=f"{url} did not take the report: HTTP {answer.status_code} {answer.text[:200]}")
    print(f"sent to {where}", file=sys.stderr)
