"""The queue: one table that is the truth. Everything here is one short transaction; call it in a thread.

A job is claimed, and whatever is written about a running one, by a conditional UPDATE: of two processes on one database one
has the job, and one that lost it (its lease ran out, somebody else took over) writes nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, String, cast, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from headrace.assets import Job, JobState, Recipe
from headrace.errors import Conflict, StorageUnavailable
from headrace.services.training.tables import ATTEMPTS, EVENTS, JOBS, VERDICTS

OPEN = ("queued", "running")
SIGNS = 5
"""Signs of life in one lease."""
_PUBLIC = [JOBS.c[name] for name in Job.model_fields]
_FRESH = {"told": "", "faults": 0, "failures": 0, "not_before_ms": 0, "worker": "", "lease_ms": 0, "cancelled_by": ""}
_BEGUN: dict[str, object] = {
    "ended_ms": None,
    "progress": None,
    "message": "",
    "exit_code": None,
    "peak_memory_bytes": None,
    "metrics": {},
}
"""What an attempt begins with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row."""

    job: Job
    recipe: Recipe
    faults: int
    failures: int
    worker: str
    lease_ms: int
    cancelled_by: str


class Queue:
    """The jobs of all companies, as one worker sees them.

    Args:
        worker: this process's name, never used twice.
        lease: seconds for which a running job is its worker's without a sign of life.
        clock: seconds since the epoch.
    """

    def __init__(self, engine: Engine, worker: str, lease: float, clock: Callable[[], float]) -> None:
        self._engine, self._worker, self._lease, self._clock = engine, worker, lease, clock

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._clock() * 1000)

    # -- people

    def add(self, job: Job, recipe: Recipe) -> Job:
        """Queue a job; of two trainings of one model the earlier stays and is returned."""
        values = job.model_dump(mode="json") | _FRESH | {"recipe": recipe.model_dump(mode="json")}
        try:
            with self._begin() as db:
                db.execute(insert(JOBS).values(values))
                self._event(db, job.id, "queued", f"by {job.created_by}")
        except IntegrityError:
            earlier = self.training_of(job.model)
            if earlier is None:
                raise
            return earlier
        return job

    def find(self, id: str) -> Entry | None:
        """One row."""
        with self._begin() as db:
            row = db.execute(select(JOBS).where(JOBS.c.id == id)).mappings().first()
        return _entry(row) if row else None

    def training_of(self, model: str) -> Job | None:
        """The training job of a model."""
        wanted = select(*_PUBLIC).where(JOBS.c.model == model, JOBS.c.kind == "train")
        with self._begin() as db:
            row = db.execute(wanted).mappings().first()
        return Job(**row) if row else None

    def recent(self, company: str, state: JobState | None, model: str, limit: int) -> list[Job]:
        """The newest jobs of a company, and those that were ever held for it, first."""
        held = cast(JOBS.c.held_for, String).contains(f'"{company}"', autoescape=True)
        whose = or_(JOBS.c.company == company, held)
        wanted = select(*_PUBLIC).where(whose).order_by(JOBS.c.number.desc()).limit(limit)
        if state:
            wanted = wanted.where(JOBS.c.state == state)
        if model:
            wanted = wanted.where(JOBS.c.model == model)
        with self._begin() as db:
            return [Job(**row) for row in db.execute(wanted).mappings()]

    def waiting(self, company: str) -> int:
        """How many jobs of a company are queued."""
        wanted = select(func.count()).where(JOBS.c.company == company, JOBS.c.state == "queued")
        with self._begin() as db:
            return db.execute(wanted).scalar_one()

    def open(self, company: str) -> list[str]:
        """Ids of a company's jobs that have not ended."""
        wanted = select(JOBS.c.id).where(JOBS.c.company == company, JOBS.c.state.in_(OPEN))
        with self._begin() as db:
            return list(db.execute(wanted).scalars())

    def companies(self) -> set[str]:
        """Companies that have jobs which have not ended."""
        with self._begin() as db:
            return set(db.execute(select(JOBS.c.company).where(JOBS.c.state.in_(OPEN)).distinct()).scalars())

    def all(self, company: str) -> list[str]:
        """Ids of every job of a company."""
        with self._begin() as db:
            return list(db.execute(select(JOBS.c.id).where(JOBS.c.company == company)).scalars())

    def known(self, company: str) -> bool:
        """Whether a job, or a verdict about a recipe, is written down under this name."""
        with self._begin() as db:
            return any(
                db.execute(select(table.c.company).where(table.c.company == company).limit(1)).first() is not None
                for table in (JOBS, VERDICTS)
            )

    def cancel(self, id: str, by: str) -> None:
        """A queued job ends; a running one is asked to. Raises Conflict."""
        ended = {"state": "cancelled", "ended_ms": self.now(), "reason": f"cancelled by {by}"}
        with self._begin() as db:
            if not _changed(db, id, "queued", ended) and not _changed(db, id, "running", {"cancelled_by": by}):
                raise Conflict(detail=f"job {id!r} has ended, there is nothing to cancel")
            self._event(db, id, "cancel", f"by {by}")

    def retry(self, id: str, by: str) -> None:
        """Queue an ended job once more, with all its attempts. Raises Conflict."""
        again = _FRESH | {"state": "queued", "reason": "", "ended_ms": None}
        with self._begin() as db:
            if not _changed(db, id, "failed", again) and not _changed(db, id, "cancelled", again):
                raise Conflict(detail=f"job {id!r} has not failed and was not cancelled, there is nothing to try again")
            self._event(db, id, "retry", f"by {by}")

    def events(self, id: str) -> list[dict[str, Any]]:
        """What happened to a job, oldest first."""
        wanted = (
            select(EVENTS.c.time_ms, EVENTS.c.what, EVENTS.c.detail).where(EVENTS.c.job == id).order_by(EVENTS.c.id)
        )
        with self._begin() as db:
            return [dict(row) for row in db.execute(wanted).mappings()]

    # -- the worker

    def next(self) -> Entry | None:
        """The job that may start first: the highest priority, then the oldest."""
        with self._begin() as db:
            row = self._first(db)
        return _entry(row) if row else None

    def _first(self, db: Connection, id: str = "") -> RowMapping | None:
        """This job, or the one whose turn it is; None: none may start."""
        due = (JOBS.c.state == "queued") & (JOBS.c.not_before_ms <= self.now())
        if id:
            due &= JOBS.c.id == id
        ordered = select(JOBS).where(due).order_by(JOBS.c.priority.desc(), JOBS.c.number).limit(1)
        return db.execute(ordered).mappings().first()

    def wait(self, id: str, message: str, pause: float) -> None:
        """A queued job cannot start yet, and says why; it is looked at again after a pause, in seconds. No attempt."""
        values = {"message": message, "not_before_ms": self.now() + int(pause * 1000)}
        with self._begin() as db:
            said = db.execute(select(JOBS.c.message).where(JOBS.c.id == id)).scalar()
            if _changed(db, id, "queued", values) and said != message:
                self._event(db, id, "waits", message)

    def refuse(self, id: str, reason: str) -> None:
        """A queued job will never be able to start."""
        with self._begin() as db:
            if _changed(db, id, "queued", {"state": "failed", "ended_ms": self.now(), "reason": reason, "message": ""}):
                self._event(db, id, "failed", reason)

    def claim(self, id: str = "") -> Entry | None:
        """A job, now this worker's: this one if it may start now, or the next."""
        now = self.now()
        while True:
            with self._begin() as db:
                row = self._first(db, id)
                if row is None:
                    return None
                taken = _BEGUN | {
                    "state": "running",
                    "worker": self._worker,
                    "lease_ms": now + int(self._lease * 1000),
                    "attempt": row["attempt"] + 1,
                    "started_ms": now,
                }
                if not _changed(db, row["id"], "queued", taken):
                    continue  # another worker was quicker
                attempt = {"job": row["id"], "number": row["attempt"] + 1, "worker": self._worker, "started_ms": now}
                db.execute(insert(ATTEMPTS).values(**attempt, how="", reason=""))
                self._event(db, row["id"], "started", f"attempt {row['attempt'] + 1}")
                return _entry({**row, **taken})

    def beat(self) -> dict[str, str]:
        """A sign of life, when one is due: the jobs that are (still) this worker's, and who cancelled them ("": nobody)."""
        mine = (JOBS.c.worker == self._worker) & (JOBS.c.state == "running")
        wanted = select(JOBS.c.id, JOBS.c.cancelled_by, JOBS.c.lease_ms).where(mine)
        lease = int(self._lease * 1000)
        with self._begin() as db:
            rows = db.execute(wanted).all()
            if any(row.lease_ms < self.now() + lease - lease // SIGNS for row in rows):
                db.execute(update(JOBS).where(mine).values(lease_ms=self.now() + lease))
        return {row.id: row.cancelled_by for row in rows}

    def note(self, id: str, **values: object) -> bool:
        """Write what a running job of this worker has come to; false: it is not his any more."""
        with self._begin() as db:
            return self._mine(db, id, values)

    def end(self, entry: Entry, state: JobState, how: str, reason: str, **values: object) -> bool:
        """An attempt, and its job, have ended; false: it is not this worker's any more."""
        with self._begin() as db:
            ended = {"state": state, "ended_ms": self.now(), "reason": reason, "cancelled_by": "", **values}
            return self._mine(db, entry.job.id, ended) and self._closed(db, entry, how, reason, state)

    def again(
        self, entry: Entry, how: str, reason: str, pause: float, faults: int = 0, failures: int = 0, **values: object
    ) -> bool:
        """An attempt has ended and the job is queued again after a pause, in seconds."""
        queued = {
            "state": "queued",
            "reason": reason,
            "not_before_ms": self.now() + int(pause * 1000),
            "faults": entry.faults + faults,
            "failures": entry.failures + failures,
            **values,
        }
        with self._begin() as db:
            return self._mine(db, entry.job.id, queued) and self._closed(db, entry, how, reason, "queued")

    def postpone(self, entry: Entry, message: str, pause: float) -> bool:
        """Nothing of an attempt has run: as if it had not been begun, but that the job says what it waits for."""
        job = entry.job
        values = {"state": "queued", "attempt": job.attempt - 1, "message": message, "started_ms": None}
        values["not_before_ms"] = self.now() + int(pause * 1000)
        this = EVENTS.c.job == job.id, EVENTS.c.what.in_(("started", "waits"))
        with self._begin() as db:
            if not self._mine(db, job.id, values):
                return False
            db.execute(delete(ATTEMPTS).where(ATTEMPTS.c.job == job.id, ATTEMPTS.c.number == job.attempt))
            last = db.execute(select(EVENTS).where(*this).order_by(EVENTS.c.id.desc()).limit(2)).mappings().all()
            db.execute(delete(EVENTS).where(EVENTS.c.id == last[0]["id"]))
            if [one["detail"] for one in last[1:]] != [message]:
                self._event(db, job.id, "waits", message)
            return True

    # -- other workers' jobs

    def foreign(self) -> list[Entry]:
        """Jobs that run under other workers."""
        wanted = select(JOBS).where(JOBS.c.state == "running", JOBS.c.worker != self._worker)
        with self._begin() as db:
            return [_entry(row) for row in db.execute(wanted).mappings()]

    def take_over(self, entry: Entry, reason: str, most: int) -> bool:
        """The worker of a running job is dead: the job is queued again, unless it was to be cancelled, or if workers died over it
        `most` times. False: somebody else did it first."""
        state: JobState = "queued" if entry.failures + 1 < most else "failed"
        if entry.cancelled_by:
            state, reason = "cancelled", f"cancelled by {entry.cancelled_by}"
        values = {"state": state, "reason": reason, "failures": entry.failures + 1, "cancelled_by": ""}
        if state != "queued":
            values["ended_ms"] = self.now()
        his = (JOBS.c.id == entry.job.id) & (JOBS.c.state == "running") & (JOBS.c.worker == entry.worker)
        his &= JOBS.c.lease_ms == entry.lease_ms  # a sign of life in the meantime
        with self._begin() as db:
            taken = db.execute(update(JOBS).where(his).values(values)).rowcount == 1
            return taken and self._closed(db, entry, "lost", reason, state)

    # -- the hub

    def untold(self) -> list[Job]:
        """Training jobs whose state the hub has not been told of."""
        wanted = select(*_PUBLIC).where(JOBS.c.kind == "train", JOBS.c.told != JOBS.c.state).order_by(JOBS.c.number)
        with self._begin() as db:
            return [Job(**row) for row in db.execute(wanted).mappings()]

    def told(self, job: Job) -> None:
        """The hub knows that state."""
        with self._begin() as db:
            db.execute(update(JOBS).where(JOBS.c.id == job.id, JOBS.c.state == job.state).values(told=job.state))

    # -- inside

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except OperationalError as error:
            raise StorageUnavailable(detail=f"the table of jobs: {error.orig}") from error

    def _mine(self, db: Connection, id: str, values: dict[str, Any]) -> bool:
        mine = (JOBS.c.id == id) & (JOBS.c.state == "running") & (JOBS.c.worker == self._worker)
        return db.execute(update(JOBS).where(mine).values(values)).rowcount == 1

    def _closed(self, db: Connection, entry: Entry, how: str, reason: str, what: str) -> bool:
        this = (ATTEMPTS.c.job == entry.job.id) & (ATTEMPTS.c.number == entry.job.attempt)
        db.execute(update(ATTEMPTS).where(this).values(ended_ms=self.now(), how=how, reason=reason))
        self._event(db, entry.job.id, what, reason)
        return True

    def _event(self, db: Connection, job: str, what: str, detail: str) -> None:
        db.execute(insert(EVENTS).values(job=job, time_ms=self.now(), what=what, detail=detail))


def _changed(db: Connection, id: str, state: str, values: dict[str, Any]) -> bool:
    """Whether the job was in that state, and now has these values."""
    return db.execute(update(JOBS).where(JOBS.c.id == id, JOBS.c.state == state).values(values)).rowcount == 1


def _entry(row: RowMapping | dict[Any, Any]) -> Entry:
    return Entry(
        job=Job(**{name: row[name] for name in Job.model_fields}),
        recipe=Recipe(**row["recipe"]),
        **{name: row[name] for name in ("faults", "failures", "worker", "lease_ms", "cancelled_by")},
    )
