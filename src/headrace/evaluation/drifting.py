"""The drift experiment as a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import BadInput
from headrace.evaluation import drift
from headrace.evaluation.asked import Options, inputs, report_name
from headrace.evaluation.drift import Field, Outcome, Runner
from headrace.evaluation.parts import scale_at
from headrace.evaluation.periods import Periods
from headrace.evaluation.plans import Chosen
from headrace.evaluation.report import Column, Report
from headrace.records import DAY
from headrace.services.learning.plan import Plan, default_features
from headrace.spec import Plug

if TYPE_CHECKING:
    from headrace.evaluation.figures import Figure


def made(options: Options) -> tuple[Report, Any]:
    """(report, a function that draws its figures)."""
    chosen, source, when = inputs(options)
    key, readings = next(iter(source.series.items()))
    notes = list(source.notes)
    if len(source.series) > 1:
        notes.append(f"only the first of {len(source.series)} devices was used: {key}")
    ground, warm = drift.field_of(readings, chosen.plan, when)
    runners = selected(_runners(chosen, when), options.only)
    outcomes = drift.run(runners, ground, warm, options.jobs)
    name = report_name(options, source.name)
    found = _report(outcomes, ground, warm, name, notes)
    return found, lambda: (_figures(outcomes, ground), [])


def _runners(chosen: Chosen, when: Periods) -> list[Runner]:
    """RLS, and the network as it is replayed, not replayed, and frozen; then the user's own."""
    standard = [
        Runner("rls", _standard(chosen, when, Plug(name="rls", params={"floor": chosen.floor}), "forecasts", "none")),
        Runner("gru, ring replay", _network(chosen, when, "ring")),
        Runner("gru, no replay", _network(chosen, when, "none")),
        Runner("gru, frozen", _network(chosen, when, "ring", steps=0), frozen=True, like="gru, ring replay"),
    ]
    taken = {one.name for one in standard}
    return standard + [
        Runner(f"{plan.spec.name}*" if plan.spec.name in taken else plan.spec.name, plan) for plan in chosen.own
    ]


def _network(chosen: Chosen, when: Periods, replay: str, steps: int = 5) -> Plan:
    backend = Plug(name="torch", params={"floor": chosen.floor, "steps": steps})
    window = [Plug(name="window", params={"history": when.history})]
    return _standard(chosen, when, backend, "steps", replay, window)


def _standard(
    chosen: Chosen, when: Periods, backend: Plug, examples: str, replay: str, features: Sequence[Plug] = ()
) -> Plan:
    plan, spec = chosen.plan, chosen.plan.spec
    season = max(1, DAY // plan.context.every)
    steps = [*plan.base[: scale_at(plan)], Plug(name="scale"), *(features or default_features(backend.name, season))]
    initial = max(when.drift.warm_up, spec.learning.initial)
    learning = spec.learning.model_copy(
        update={"initial": initial, "every": DAY, "examples": examples, "replay": replay, "ring": 14 * DAY}
    )
    changed = {"transform": steps, "backend": backend, "learning": learning, "seed": when.seeds[0]}
    return Plan(spec.model_copy(update=changed), plan.folder)


def selected(runners: Sequence[Runner], only: str) -> list[Runner]:
    """Those named in `only`, and what they are frozen copies of. Raises BadInput."""
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if not wanted:
        return list(runners)
    kind = {one.name: one.name.partition(", ")[0] for one in runners}
    known = sorted(set(kind.values()))
    if unknown := [name for name in wanted if name not in known]:
        raise BadInput(detail=f"there is no contender {unknown[0]!r}; known: {', '.join(known)}")
    return [one for one in runners if kind[one.name] in wanted]


def _report(outcomes: Sequence[Outcome], ground: Field, warm: int, name: str, notes: list[str]) -> Report:
    starts = ", ".join(map(str, ground.starts))
    reach = sum(start + ground.lasting + drift.LATE[1] < ground.days for start in ground.starts)
    standing = [
        f"Readings times {ground.factor:g} from day {starts} on, for {ground.lasting} days; each run beside its own undrifted "
        f"twin, forecasts made each day before it was known and learnt afterwards; days {warm} to {ground.days - 1} are scored.",
        f"A ratio is the drifted error over the twin's on the same days, summed over all starts; while the drift lasts the "
        f"twin's is multiplied by {ground.factor:g}², for {ground.factor:g} times the power makes {ground.factor:g} times the "
        "errors once all of it is learnt. 1 is recovered.",
        f"A drift begins on day 0. Days to recover: the first day from which on the ratio over {drift.SMOOTH} days stays at or "
        f"below {drift.RECOVERED:g} until the drift ends.",
        "After the end, what was learnt during the drift has to be forgotten: the ratio of days 2-3 and 7-13 after it, over "
        f"the {reach} starts for which the record is long enough.",
        "The frozen network is the replayed one as it was when the drift began, and so is its twin.",
    ]
    troubles = [f"{one.name}: {one.trouble}" for one in outcomes if one.trouble]
    if any(not one.mse > 0 for one in outcomes):
        troubles.append("where there is no error without drift (a constant record, or nothing known) there is no ratio")
    return Report(
        name=f"drift-{name}",
        title=f"{name}: readings x {ground.factor:g} from {len(ground.starts)} start days",
        kind="drift",
        columns=_columns(),
        rows=[_row(one) for one in outcomes],
        notes=standing + notes + troubles,
        details=[row for one in outcomes for row in _details(one)],
        figures=[
            {
                "name": "ratio-by-day",
                "title": "Error over that of the undrifted twin",
                "x": list(range(max((len(one.curve()) for one in outcomes), default=0))),
                "series": [{"name": one.name, "values": list(one.curve())} for one in outcomes],
            }
        ],
        seconds={one.name: one.seconds for one in outcomes if one.seconds},
    )


def _columns() -> list[Column]:
    return [
        Column("model", "model"),
        Column("mse", "MSE undrifted", "", "scaled, over all scored days"),
        Column("days_2_3", "days 2-3", "", "ratio two and three days after the drift began", ".2f"),
        Column("days_7_13", "days 7-13", "", "ratio in its second week", ".2f"),
        Column(
            "days_to_recover", "days to recover", "d", "until the ratio stays at 1.1 or less; – if it never does", ".0f"
        ),
        Column("after_2_3", "after 2-3", "", "ratio two and three days after it has ended", ".2f"),
        Column("after_7_13", "after 7-13", "", "ratio in the second week after it: what forgetting costs", ".2f"),
    ]


def _row(one: Outcome) -> dict[str, Any]:
    return {
        "model": one.name,
        "mse": one.mse,
        "days_2_3": one.early,
        "days_7_13": one.late,
        "days_to_recover": one.recovered,
        "after_2_3": one.after_early,
        "after_7_13": one.after_late,
    }


def _details(one: Outcome) -> list[dict[str, Any]]:
    return [
        {"model": one.name, "start": course.start, "day": day, "drifted": float(drifted), "undrifted": float(twin)}
        for course in one.courses
        for day, (drifted, twin) in enumerate(zip(course.drifted, course.twin, strict=True))
    ]


def _figures(outcomes: Sequence[Outcome], ground: Field) -> list[Figure]:
    from headrace.evaluation import figures

    caption = (
        f"Error of each contender over that of its undrifted twin, the last {drift.SMOOTH} days and all starts together. The "
        f"drift begins on day 0 and ends before day {ground.lasting} (dotted)."
    )
    lines = [(one.name, one.curve()) for one in outcomes]
    return [figures.curves("Ratio of errors", caption, "day of the drift", lines, [ground.lasting - 0.5])]
