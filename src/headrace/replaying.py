"""`headrace replay`: what a candidate would have forecast on the recorded log, against what was served.

The candidate's real learner reads the log of a data directory, read-only, in the caller's own process, and leaves what it
finds in a temporary store: the platform, if one runs there, notices nothing. The user's own Python files of the candidate
run in that process too: they are the user's own.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from headrace.errors import BadInput, BadSpec, NoLog, Problem
from headrace.services.learning import shadows
from headrace.services.learning.compare import Comparison
from headrace.services.learning.decoded import Pieces
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.parents import Parent, lent, misfits
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Entered, as_applied, enter, in_service, write_code
from headrace.services.learning.service import check_all
from headrace.services.learning.store import Store, generation_file
from headrace.spec import Document, parse
from headrace.states import digest
from headrace.stores.objects.files import FileObjects
from headrace.streams.logs import LogReader, open_reader
from headrace.streams.logs.sqlite import FILE

Watch: TypeAlias = Callable[[int, int], None]
"""Called with (records read, records there are)."""
OLD = (
    "the scores of {served!r} were stored by an older version of Headrace, without their error in the target's unit; "
    "apply it with any change and they are computed again from the log"
)
SAME = (
    "the candidate's spec is the one in service: {same:,} of its {count:,} forecasts are the served ones, bit for bit"
)
TRIMMED = (
    "the log is kept from position {start:,} on: the candidate has learnt from what is left, {served!r} also from what "
    "was before"
)


NAME, ROWS = 63, 10_000
"""Longest name and most rows of a report."""
MOVES = 100
"""Steps of the progress bar, at the least."""


@dataclass
class Contest:
    """A candidate on its way through the log, and whom it is compared with."""

    learner: Learner
    served: Entered

    @property
    def name(self) -> str:
        return self.learner.name


def replay(
    text: str, file: str, files: dict[str, str], *, data: Path, last: int, against: str = "", watch: Watch | None = None
) -> list[dict[str, Any]]:
    """Score every document of a spec file on the recorded log.

    Args:
        text: the spec file, `file` its name for messages, `files` the user's own Python files beside it.
        data: a platform's data directory; the platform may be running.
        last: event time that is compared, up to the newest forecast both had scored, ns. What came before is learnt from
            all the same.
        against: the model in service to compare with; "" takes each candidate's `shadow`, else its own name.

    Returns:
        For each candidate and key the comparison (see `Comparison.plain`) with `notes`; for a candidate whose code or
        library failed ``{"candidate", "served", "failed"}``.

    Raises:
        NoLog: there is no recorded log in `data`.
        BadSpec: the file is wrong, or a candidate cannot be compared.
    """
    documents = parse(text, file)
    if not (data / FILE).is_file():
        raise NoLog(path=data)
    models = in_service(data)
    parents = _parents(documents, models)
    served = _matched(documents, files, models, against, parents)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-replay-") as folder,
        contextlib.closing(open_reader(data)) as log,
        contextlib.ExitStack() as stack,
    ):
        contests = [
            stack.enter_context(_contest(document, files, one, Path(folder), parents.get(document.spec.name)))
            for document, one in zip(documents, served, strict=True)
        ]
        with contextlib.redirect_stdout(sys.stderr):  # what a user's step prints is no result
            _run([contest.learner for contest in contests], log, watch or (lambda done, all_: None))
        return _results(contests, data, last, log.start())


def _matched(
    documents: Sequence[Document],
    files: dict[str, str],
    models: dict[str, Entered],
    against: str,
    parents: Mapping[str, Parent],
) -> list[Entered]:
    """The model in service for each document. Raises BadSpec, BadInput."""
    problems: list[Problem] = [problem for document in documents for problem in check_all(document, files)]
    if problems := problems or misfits(documents, parents):
        raise BadSpec(problems)
    served = [_served(document, models, against) for document in documents]
    for document, one in zip(documents, served, strict=True):
        problems += [document.problem(*found) for found in shadows.unlike(Plan(document.spec), one.plan)]
    if problems:
        raise BadSpec(problems)
    return served


def _parents(documents: Sequence[Document], models: dict[str, Entered]) -> dict[str, Parent]:
    """What candidates start from, of the parents that models in service have. Raises BadSpec."""
    found = lent(documents, [(one.applied.parent, one.folder) for one in models.values()])
    message = (
        "no model in service starts from it, and a replay asks no library: apply the candidate as a `shadow` instead"
    )
    problems = [
        document.problem(("parent",), message)
        for document in documents
        if document.spec.parent and document.spec.name not in found
    ]
    if problems:
        raise BadSpec(problems)
    return found


def _served(document: Document, models: dict[str, Entered], against: str) -> Entered:
    name = against or document.spec.shadow or document.spec.name
    found = models.get(name)
    if found is None:
        known = shadows.some(sorted(models))
        raise BadInput(
            detail=f"{name!r} is not in service; --against says which model {document.spec.name!r} is compared with "
            f"(in service: {known})"
        )
    return found


@contextlib.contextmanager
def _contest(
    document: Document, files: dict[str, str], served: Entered, folder: Path, parent: Parent | None
) -> Iterator[Contest]:
    """A fresh learner on a store of its own. It heeds the ticks the served generation heeded."""
    name, generation = document.spec.name, served.generation
    applied = as_applied(document, files, parent)
    entered = enter(applied, generation, write_code(folder / "code", applied))
    with contextlib.closing(open_store(generation_file(folder, name, generation))) as store:
        yield Contest(Learner(entered.plan, generation, store, FileObjects(folder / "objects")), served)


def _run(learners: Sequence[Learner], log: LogReader, watch: Watch) -> None:
    """Every learner through the log as it now is, side by side: each message is decoded once for all."""
    start, end = max(0, log.start() - 1), log.end()
    decoded, going = Pieces(log, (end - start) // MOVES), list(learners)
    watch(0, end - start)
    while going:
        going = [learner for learner in going if learner.position < end and learner.step(decoded)]
        watch(min([end, *(learner.position for learner in going)]) - start, end - start)


def _results(contests: Sequence[Contest], data: Path, last: int, start: int) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    found: list[tuple[Comparison, list[str]]] = []
    for contest in contests:
        if contest.learner.failed:
            head = {"candidate": contest.name, "served": contest.served.name}
            results.append({**head, "failed": contest.learner.failed})
        else:
            found += _compared(contest, data, last, start)
    plain = shadows.plain([comparison for comparison, _ in found])
    return results + [{**one, "notes": notes} for one, (_, notes) in zip(plain, found, strict=True)]


def _compared(contest: Contest, data: Path, last: int, start: int) -> list[tuple[Comparison, list[str]]]:
    mine, served = contest.learner, contest.served
    path = generation_file(data, served.name, served.generation)
    try:
        with contextlib.closing(Store(path)) as theirs:
            newest = shadows.newest(mine.plan, mine.store, served.plan, theirs)
            since = max(0, newest - last + 1)
            made = shadows.compare(mine.plan, mine.store, served.plan, theirs, since)
            return [(one, list(_notes(one, contest, theirs, since, start))) for one in made]
    except sqlite3.Error as error:
        raise BadInput(
            detail=f"what {served.name!r} has stored cannot be read ({error}); is it still learning?"
        ) from error


def _notes(one: Comparison, contest: Contest, theirs: Store, since: int, start: int) -> Iterator[str]:
    """What a reader of the verdict should know."""
    served = contest.served
    if start > 1:
        yield TRIMMED.format(start=start, served=served.name)
    if (
        not one.days
        and theirs.scores(one.key, since)
        and not theirs.own_scores(one.key, shadows.role(served.plan), since)
    ):
        yield OLD.format(served=served.name)
    if contest.learner.plan.digest == served.plan.digest:
        made, given = contest.learner.store.forecasts(one.key, since), set(theirs.forecasts(one.key, since))
        yield SAME.format(same=sum(body in given for body in made), count=len(made))


def report(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The comparisons of one candidate as a report for the page: one row for each key and day."""
    unit = f"{results[0]['unit']}²" if results[0]["unit"] else ""
    candidate, served = results[0]["candidate"], results[0]["served"]
    columns = [
        {"name": "key", "label": "key"},
        {"name": "day", "label": "day"},
        {"name": "candidate", "label": candidate, "unit": unit, "help": "mean squared error of that day's forecasts"},
        {"name": "served", "label": served, "unit": unit, "help": "mean squared error of that day's forecasts"},
    ]
    rows = [{"key": one["key"], **day} for one in results for day in one["daily"]]
    cut = [f"the first {ROWS:,} of {len(rows):,} days are shown"] if len(rows) > ROWS else []
    notes = cut + [f"{one['key']}: {one['verdict']}" for one in results]
    notes += sorted({note for one in results for note in one["notes"]})
    name = f"replay-{candidate}-{served}"
    if len(name) > NAME:
        name = f"replay-{digest(name.encode()).removeprefix('sha256:')[:16]}"
    return {
        "name": name,
        "title": f"{candidate} replayed against {served}",
        "kind": "replay",
        "columns": columns,
        "rows": rows[:ROWS],
        "notes": notes,
    }
