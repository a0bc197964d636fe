"""The goals, what a run says about each, and the files a run writes. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.figures import Ratio

Samples = Mapping[str, Sequence[float]]
"""A figure by name, one value a round."""


@dataclass(frozen=True)
class Goal:
    """What one comparison must reach."""

    section: str
    text: str
    ours: str
    """The sample judged..."""
    theirs: str
    """...over this one of the same round; "" judges the figure itself."""
    sense: Literal[">=", "<="]
    good: float
    excellent: float | None = None
    unit: str = "x"


GOALS = (
    Goal(
        "stream",
        "readings/s end to end, against the chapter's path",
        "stream.headrace.per_s",
        "stream.chapter.per_s",
        ">=",
        20,
        60,
    ),
    Goal(
        "stream",
        "readings/s end to end, against the door alone (log, no learner); the learner on its own core",
        "stream.headrace.per_s",
        "stream.door.per_s",
        ">=",
        0.8,
        0.95,
    ),
    Goal(
        "stream",
        "p50 at 200 readings/s, against the chapter's path with TCP_NODELAY",
        "latency.headrace.p50_ms",
        "latency.chapter.p50_ms",
        "<=",
        0.25,
        0.1,
    ),
    Goal("door", "acknowledged readings/s at the door alone", "door.per_s", "", ">=", 100_000, unit="/s"),
    Goal(
        "infer",
        "/infer requests/s, small model, concurrency 8, against the quiet KServe SDK server",
        "infer.headrace.per_s",
        "infer.kserve.per_s",
        ">=",
        4,
        7,
    ),
    Goal(
        "infer",
        "/infer requests/s of a deployed small ONNX model, concurrency 8, against an online model's in the same run",
        "infer.deployed.per_s",
        "infer.headrace.per_s",
        ">=",
        0.2,
    ),
    Goal("start", "from `headrace up` to the first acknowledged message", "start.message_s", "", "<=", 10, unit=" s"),
    Goal("start", "resident memory, gateway and serving processes together", "start.rss_mb", "", "<=", 250, unit=" MB"),
    Goal(
        "sharing",
        "upload with sha256 and Merkle root through the store, against copying the same file with fsync",
        "sharing.store.mb_s",
        "sharing.copy.mb_s",
        ">=",
        0.6,
        0.8,
    ),
    Goal(
        "sharing",
        "1 MiB taken in, and a row in SQLite (FULL), against writing it atomically and the same row",
        "sharing.small.store_ms",
        "sharing.small.file_ms",
        "<=",
        1.5,
        1.2,
    ),
    Goal("sandbox", "seconds a sandbox adds to a job", "sandbox.added_s", "", "<=", 0.3, unit=" s"),
    Goal(
        "register",
        "1 MiB registered through the hub, against an atomic file write and a SQLite FULL insert",
        "register.hub_ms",
        "register.least_ms",
        "<=",
        1.5,
    ),
    Goal(
        "anchor",
        "a version anchored, against its signature and one transaction on the same kind of chain, durable",
        "anchor.version_ms",
        "anchor.least_ms",
        "<=",
        1.5,
    ),
    Goal(
        "anchor",
        "claims/s in batches of 100, against one by one",
        "anchor.batch.per_s",
        "anchor.single.per_s",
        ">=",
        5,
    ),
    Goal(
        "bundle",
        "a small bundle verified offline, the whole command",
        "bundle.small_s",
        "",
        "<=",
        1.0,
        unit=" s",
    ),
    Goal(
        "bundle",
        "a bundle of 1 GiB verified offline, the whole command, against sha256sum of its content",
        "bundle.large_s",
        "bundle.sha256sum_s",
        "<=",
        2.0,
    ),
    Goal(
        "translation",
        "seconds to translate the GRU of the examples to ONNX",
        "translation.gru_s",
        "",
        "<=",
        5,
        unit=" s",
    ),
    Goal(
        "ladder",
        "L1 of 1 GiB in the store, against sha256sum of the same file",
        "ladder.l1_s",
        "ladder.sha256sum_s",
        "<=",
        2.0,
    ),
)


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured."""

    goal: Goal
    measured: Ratio | None

    @property
    def word(self) -> str:
        """not measured, miss, pass or excellent; judged by the median round."""
        if self.measured is None:
            return "not measured"
        if self.goal.excellent is not None and self._reaches(self.goal.excellent):
            return "excellent"
        return "pass" if self._reaches(self.goal.good) else "miss"

    def _reaches(self, level: float) -> bool:
        assert self.measured
        return self.measured.median >= level if self.goal.sense == ">=" else self.measured.median <= level


@dataclass
class Run:
    """Everything one run found out."""

    facts: dict[str, str]
    """The machine, the versions, the date, what it ran beside."""
    samples: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a reader must know to read the figures: errors, unanswered readings."""

    def add(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(float(value))

    def verdicts(self) -> list[Verdict]:
        return [judge(goal, self.samples) for goal in GOALS]


def judge(goal: Goal, samples: Samples) -> Verdict:
    """What the samples say about a goal; only whole rounds count."""
    ours, theirs = samples.get(goal.ours, ()), samples.get(goal.theirs, ())
    if not goal.theirs:
        theirs = [1.0] * len(ours)
    whole = min(len(ours), len(theirs))
    return Verdict(goal, Ratio.of(ours[:whole], theirs[:whole]) if whole else None)


def number(value: float) -> str:
    """Three figures, thousands apart.

    >>> number(123456.7), number(21.234), number(0.0123)
    ('123,457', '21.2', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(each.replace("|", "\\|") for each in row) + " |" for row in cells)


def _goal_row(verdict: Verdict) -> list[str]:
    goal, found = verdict.goal, verdict.measured
    wanted = f"{goal.sense} {number(goal.good)}{goal.unit}"
    if goal.excellent is not None:
        wanted += f" ({number(goal.excellent)}{goal.unit} excellent)"
    measured = (
        f"{number(found.median)}{goal.unit} ({number(found.low)}{goal.unit} to {number(found.high)}{goal.unit})"
        if found
        else "-"
    )
    return [goal.section, goal.text, wanted, measured, verdict.word]


def _floor(samples: Samples) -> list[str]:
    """How much of the time the latency goal grants is taken by the promise alone; nothing while that was not measured."""
    rows = []
    for name, words in FLOOR:
        rounds = list(
            zip(samples.get(f"latency.{name}.p50_ms", ()), samples.get("latency.chapter.p50_ms", ()), strict=False)
        )
        if rounds:
            found = Ratio.of(*map(list, zip(*rounds, strict=True)))
            rows.append([words, number(median(each for each, _ in rounds)), f"{number(found.median)}x"])
    if not rows:
        return []
    quarter = ["what the goal grants", number(0.25 * median(samples["latency.chapter.p50_ms"])), "0.25x"]
    return [
        "## The floor of the latency goal",
        FLOOR_WORDS,
        table(["p50", "ms", "of the chapter's path"], [quarter, *rows]),
    ]


def markdown(run: Run) -> str:
    """RESULTS.md."""
    figures = [
        [f"`{name}`", number(median(values)), ", ".join(map(number, values))]
        for name, values in sorted(run.samples.items())
    ]
    parts = [
        "# What `make bench` measured",
        INTRODUCTION,
        "## Goals",
        table(["part", "goal", "wanted", "measured (rounds)", ""], [_goal_row(verdict) for verdict in run.verdicts()]),
        *_floor(run.samples),
        "## Figures",
        table(["figure", "median", "rounds"], figures),
        "## Notes",
        "\n".join(f"- {note}" for note in [*FAIRNESS, *run.notes]),
        "## Machine",
        table(["", ""], [[name, value] for name, value in run.facts.items()]),
    ]
    return "\n\n".join(parts) + "\n"


FLOOR = (
    ("disk", "one append of 100 bytes and its fsync, 200 a second, on the same disk"),
    ("puback", "the PUBACK alone, 200 readings a second, no learner"),
    ("headrace", "the forecast published, 200 readings a second"),
)

FLOOR_WORDS = (
    "Headrace acknowledges, and lets learners read, what is fsynced. The first two rows are what that promise costs "
    "before any learner has begun; the chapter's path makes no such promise and does not wait for a disk."
)

INTRODUCTION = (
    "Written by `python -m benchmarks.run`; do not edit. A ratio is the median over rounds that ran one after the "
    "other on one machine (lowest to highest in brackets); absolute figures show orders of magnitude. No test asserts "
    "a time."
)

FAIRNESS = (
    "The chapter's path: Mosquitto (persistence on, no queue limits, TCP_NODELAY) → bridge, one HTTP POST a message "
    "over a keep-alive connection with TCP_NODELAY, answered before the next so that readings are learnt in order → "
    "KServe SDK model, `SGDRegressor.partial_fit` + `predict` on ten lags → the answer published. The bridge stands "
    "for a Camel K binding and is leaner.",
    "`stream.chapter_8.per_s` is the same with eight POSTs in flight, which loses the order.",
    "KServe is quiet: no access log, no request log, no gRPC server.",
    "What a PUBACK means differs: Mosquitto's that the broker has the message in memory, Headrace's that it is fsynced "
    "in the log.",
    "The load is one process for both sides: 80-byte readings at QoS 1, at most 1000 unacknowledged.",
    "The door alone and the whole stream are pinned alike: the load and the gateway share one core, the learner has the "
    "other, and every answer counted was received by a subscriber. `limit.*_per_s` is what one second of each core "
    "holds, from the processor time a reading takes there: the stream cannot be faster than the slower of the two, and "
    "with two cores the door alone has one to itself that the learner cannot help.",
    "The latency contains one fsync before the PUBACK, on the way of every reading; the chapter's path has none.",
    "`cpu_us` is server CPU time per reading or request; it depends less on what else ran than the rates do.",
)


def document(run: Run) -> dict[str, Any]:
    """results.json."""
    goals = [
        {
            "section": verdict.goal.section,
            "goal": verdict.goal.text,
            "wanted": f"{verdict.goal.sense} {verdict.goal.good}",
            "excellent": verdict.goal.excellent,
            "median": verdict.measured and verdict.measured.median,
            "low": verdict.measured and verdict.measured.low,
            "high": verdict.measured and verdict.measured.high,
            "verdict": verdict.word,
        }
        for verdict in run.verdicts()
    ]
    return {"facts": run.facts, "goals": goals, "samples": run.samples, "notes": run.notes}


def write(run: Run, out: Path) -> None:
    """RESULTS.md and, beside it, results.json."""
    out.write_text(markdown(run))
    out.with_name("results.json").write_text(json.dumps(document(run), indent=2) + "\n")
