"""The process that makes a snapshot again: it replays a log into nothing, up to the decision that published the snapshot.

Started by `headrace.services.learning.rederiving` as ``python -m headrace.services.learning.rederiver``, where the company's
workers run. The first line of its input is a `Task`; it answers with frames (a length of four bytes, MessagePack of `Word`).

The root of the log is made before any code of a user is loaded. It is told neither the recorded root nor the digest of the
weights: what it answers it has made.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from headrace.events import Decision
from headrace.records import CONTROL
from headrace.services.learning.decoded import Pieces
from headrace.services.learning.learner import Learner
from headrace.services.learning.registry import Applied, enter, spec_digest, write_code
from headrace.services.learning.snapshots import Gap, Prefix
from headrace.services.learning.store import Store
from headrace.services.learning.worker import Reporter, die_with, first_line, own_pipes
from headrace.streams.logs import LogReader, open_reader

BLOCK = 1000
"""Records hashed between two words."""
MOVES = 100
"""Words about how far it is, at the least."""
HASHING = 0.2
"""The part of the work that hashing is, for people."""

Tell = Callable[[float], None]


class Task(msgspec.Struct):
    """What to make again."""

    data: str
    parent: int
    """Process id of the platform; 0: it is not seen from here."""
    model: str
    key: str
    generation: int
    published_ms: int
    first: int
    last: int


class Word(msgspec.Struct, omit_defaults=True):
    """What it says."""

    done: float | None = None
    root: str = ""
    """Of the records in the range..."""
    records: int = 0
    """...and how many they are."""
    spec: str = ""
    """Digest of the spec that was applied."""
    weights: bytes | None = None
    """What was published at the decision."""
    gone: str = ""
    """What is not there any more."""
    failed: str = ""
    """Why nothing was published."""


class Gone(Exception):
    """What it would be made of is not there any more."""


class Nothing(Store):
    """A store that keeps nothing but what is published at one decision."""

    def __init__(self, key: str, time_ms: int) -> None:
        self._key, self._time = key, time_ms
        self._last: dict[str, bytes] = {}
        self.found: bytes | None = None

    def put(self, data: bytes) -> str:
        """As a store of objects: the weights of the block at hand."""
        from headrace.states import digest

        name = digest(data)
        self._last[name] = data
        return name

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield
        self._last.clear()

    def add_decisions(self, decisions: Any) -> None:
        made: Sequence[Decision] = list(decisions)
        for one in made:
            if one.snapshot and one.key == self._key and one.time // 1_000_000 == self._time:
                self.found = self._last[one.snapshot]

    def checkpoint(self) -> None:
        return None

    def set(self, name: str, value: object) -> None: ...

    def add_run(self, *_: Any) -> None: ...

    def add_stream(self, *_: Any) -> None: ...

    def add_scores(self, *_: Any) -> None: ...

    def add_actuals(self, *_: Any) -> None: ...

    def add_alerts(self, *_: Any) -> None: ...

    def add_filled(self, *_: Any) -> None: ...

    def add_coverage(self, *_: Any) -> None: ...

    def close(self) -> None: ...

    # -- as a store of objects

    def get(self, digest: str) -> Any:
        return self._last[digest]

    def list(self) -> Any:
        return sorted(self._last)

    def delete(self, digest: str) -> None: ...


def main() -> None:
    """Do the one task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    input_, output = own_pipes()
    task = msgspec.json.decode(first_line(input_), type=Task)
    die_with(task.parent)
    reporter = Reporter(output)
    log = open_reader(Path(task.data))
    try:
        with tempfile.TemporaryDirectory(prefix="headrace-replay-") as folder:
            rederive(log, task, Path(folder), reporter.say)
    except Gone as error:
        reporter.say(Word(gone=str(error)))


def rederive(log: LogReader, task: Task, folder: Path, say: Callable[[Word], None]) -> None:
    """Say the root, the spec and the weights. Raises Gone.

    Args:
        folder: for the user's files; empty.
    """
    prefix = hashed(log, task.first, task.last, lambda done: say(Word(done=HASHING * done)))
    applied = applied_at(log, task.generation, task.model)
    from headrace.merkle import named

    say(Word(root=named(prefix.root.value()), records=prefix.root.count, spec=spec_digest(applied)))
    found = learned(log, task, applied, folder, lambda done: say(Word(done=HASHING + (1 - HASHING) * done)))
    say(Word(weights=found) if isinstance(found, bytes) else Word(failed=found))


def hashed(log: LogReader, first: int, last: int, tell: Tell) -> Prefix:
    """The root over a range of the log. Raises Gone if it does not have all of it any more."""
    prefix, start = Prefix(first, first - 1), log.start()
    if start > first:
        raise Gone(f"the log is kept from position {start:,} on, and it was learned from position {first:,} on")
    while prefix.position < last:
        tell((prefix.position - first) / (last - first + 1))
        records = log.read(prefix.position, min(BLOCK, last - prefix.position))
        if not records:
            raise Gone(f"the log ends at position {log.end():,}, before position {last:,}")
        try:
            prefix.take(records)
        except Gap as gap:
            raise Gone(str(gap)) from gap
    return prefix


def applied_at(log: LogReader, generation: int, name: str) -> Applied:
    """A spec as its apply entry has it. Raises Gone."""
    for record in log.read(generation - 1, 1, [CONTROL]):
        if record.position == generation:
            entry = msgspec.json.decode(record.payload)
            for one in msgspec.convert(entry.get("documents", []), list[Applied]):
                if one.plain["metadata"]["name"] == name:
                    return one
    raise Gone(f"the log has no spec of {name!r} at position {generation:,} any more")


def learned(log: LogReader, task: Task, applied: Applied, folder: Path, tell: Tell) -> bytes | str:
    """The weights published at the task's decision, or why there are none."""
    store = Nothing(task.key, task.published_ms)
    try:
        entered = enter(applied, task.generation, write_code(folder, applied))
        learner = Learner(entered.plan, task.generation, store, store)
    except Exception as error:
        return f"its spec cannot be run here: {type(error).__name__}: {error}"
    pieces = Pieces(log, (task.last - task.first) // MOVES, task.last)
    while store.found is None and learner.step(pieces):
        tell(max(0, learner.position - task.first) / (task.last - task.first + 1))
    if store.found is None:
        return learner.failed or "the replay published nothing at that decision"
    return store.found


if __name__ == "__main__":
    main()
    sys.exit(0)
