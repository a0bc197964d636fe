"""One model generation in a worker process: its lanes, its place in the log, its store."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headrace import states
from headrace.errors import BadInput, CorruptState, HeadraceError, LearningError, Unsupported
from headrace.records import CONTROL, Array, Reading, Record, Rows
from headrace.services.learning.alerts import unheard
from headrace.services.learning.decoded import Block, Decoded, DecodedLog
from headrace.services.learning.lane import GridLane, Lane, identity
from headrace.services.learning.plan import Plan
from headrace.services.learning.silence import SilenceWatch
from headrace.services.learning.store import Run, Store, body
from headrace.services.learning.stream_lane import StreamLane
from headrace.stores.objects import Objects
from headrace.streams.decoders.columnar import Columns
from headrace.streams.decoders.intake import Deduplicator, columns
from headrace.topics import matches

PLAUSIBLE = 1e30
"""No sensor measures more, in any unit; squares of it are still numbers."""
EVIDENCE = "evidence:"
"""Before a key: under this name the store keeps what explanations of that key need."""
FIRST = "first"
"""Under this name the store keeps the log position its learner began at."""
KEEP_PREDICTIONS = 200_000
"""Newest predictions kept per model."""
KEEP_ALERTS = 10_000
"""Newest cleared alerts kept per model."""


class Learner:
    """Reads the log from where its checkpoint stands, writes what follows from it.

    Args:
        generation: log position of the model's apply entry; control entries before it are another generation's.
        clock: ns; only for the creation time of stored predictions.
    """

    def __init__(
        self, plan: Plan, generation: int, store: Store, objects: Objects, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.plan, self.name, self.generation = plan, plan.spec.name, generation
        self.store, self._objects, self._clock = store, objects, clock
        self.lanes: dict[str, Any] = {}
        self._seen: dict[str, Deduplicator] = {}
        self.position = self._duplicates = self._implausible = 0
        self.failed = ""
        self.taught = False
        """Something came through /learn or /feedback since the last checkpoint: its sender waits."""
        self.refused: list[tuple[str, str]] = []
        """(token, reason) of entries that could not be used since they were last collected."""
        self._topics: dict[str, bool] = {}
        self._saved = self._exported_at = 0
        self._exported: dict[tuple[str, str], str] = {}
        self._shown: dict[str, int] = {}
        """Origin of the newest forecast whose inputs are stored for explanations."""
        self._prefixes: dict[str, str] = {}
        self._unserved = ""
        self.news: list[Run] = []
        """What the last step predicted and stored."""
        self.alerted = False
        """The last step stored an alert that was raised or cleared."""
        self._watch = SilenceWatch.of(plan)
        saved = store.checkpoint()
        if saved is not None:
            self._restore(*saved)

    def _restore(self, position: int, state: bytes) -> None:
        self.position = self._saved = position
        try:
            self._make("")  # if the user's code or a library fails, the state is not to blame
        except (Exception, SystemExit) as error:
            self._fail(error, f"going on from log position {position}")
            return
        try:
            self._load(states.unpack(state))
        except (Exception, SystemExit) as error:
            raise CorruptState(detail=f"the checkpoint at log position {position} cannot be read: {error}") from error

    # -- the log

    def step(self, log: DecodedLog) -> bool:
        """Take in one block; whether there was one. A failing model stops where it failed and says why.

        Raises sqlite3.Error or OSError if the store cannot be written: nothing is lost, and the next call tries again.
        """
        self.news, self.alerted = [], False
        if self.failed:
            return False
        self._write()  # what a full disk kept from being written goes first
        block = log.block(self.position, self.plan.spec.input.decoder)
        if block is None:
            return False
        if self.plan.spec.alerts and self.position < self.generation < block.last:
            block = block.until(self.generation)  # see store.add_alerts
        if not self.position:
            with self.store.writing():
                self.store.set(FIRST, log.log.start())
        try:
            self._process(block)
        except (Exception, SystemExit) as error:  # a user's step, a damaged state: this model stops, the others go on
            self._fail(error, f"log positions {self.position + 1} to {block.last}")
            return False
        self.position = block.last
        self._write()
        return True

    def _fail(self, error: BaseException, when: str) -> None:
        kind = "" if isinstance(error, HeadraceError) else f"{type(error).__name__}: "
        where = user_line(error, self.plan.folder)
        self.failed = f"{where}{kind}{error} ({when}); mend it and `headrace apply` again"
        with contextlib.suppress(sqlite3.OperationalError), self.store.writing():  # a full disk: the report says it too
            self.store.set("failed", self.failed)

    def _process(self, block: Block) -> None:
        if block.columns is None or self._watch is not None:
            self._one_by_one(block.items)
        else:
            self._at_once(block, block.columns)

    def _at_once(self, block: Block, columns: Columns) -> None:
        """A block of messages of one shape: the same as `_one_by_one`, without an object for every reading."""
        topics, by = block.messages.topics, self.plan.spec.input.key
        wanted = {topic for topic in block.messages.distinct if self._wanted(topic)}
        whole = len(wanted) == len(block.messages.distinct)
        names = topics if by == "topic" else columns.devices if by == "device" else ["all"] * len(topics)
        for key, places in _places(names, None if whole else topics, wanted).items():
            if key in self.lanes or self._admit(key):
                ids = None if columns.ids is None else _chosen(columns.ids, places)
                devices = None if by == "device" else _chosen(columns.devices, places)
                self._take(key, columns.take(places), ids, devices)

    def _one_by_one(self, block: Sequence[Decoded]) -> None:
        waiting: dict[str, list[Reading]] = {}
        topics, by = self._topics, self.plan.spec.input.key
        for record, readings, _ in block:
            topic = record.stream
            if not readings:
                if topic == CONTROL and record.position > self.generation:
                    self._control(record, waiting)
            elif topics[topic] if topic in topics else self._wanted(topic):
                for reading in readings:
                    key = "all" if by == "none" else reading.device if by == "device" else topic
                    if key in waiting:
                        waiting[key].append(reading)
                    elif key in self.lanes or self._admit(key):
                        waiting[key] = [reading]
        self._flush(waiting)
        if self._watch is not None:
            self._listen(self._watch, block)

    def _listen(self, watch: SilenceWatch, block: Sequence[Decoded]) -> None:
        """Tell the watch who was heard, in the order of the log, which the lanes do not see."""
        topics, by = self._topics, self.plan.spec.input.key
        for record, readings, _ in block:
            topic = record.stream
            if readings and (topics[topic] if topic in topics else self._wanted(topic)):
                for reading in readings:
                    key = "all" if by == "none" else reading.device if by == "device" else topic
                    if key in self.lanes:
                        watch.note(key, reading.time)
            elif watch.wall and topic == CONTROL and record.position > self.generation:
                entry = msgspec.json.decode(record.payload)
                if entry.get("kind") == "tick":
                    watch.tick(entry["time"])
        for key, alert in watch.take():
            self.lanes[key].effects.alerts.append(alert)

    def _wanted(self, topic: str) -> bool:
        known = self._topics.get(topic)
        if known is None:
            if len(self._topics) > 100_000:
                self._topics.clear()
            known = self._topics[topic] = any(matches(pattern, topic) for pattern in self.plan.spec.input.topics)
        return known

    def _admit(self, key: str) -> bool:
        if len(self.lanes) >= self.plan.spec.input.max_keys:
            return False
        self.lanes[key] = self._make(key)
        self._seen[key] = Deduplicator()
        return True

    def _make(self, key: str) -> Lane:
        return GridLane(self.plan, key) if self.plan.grid else StreamLane(self.plan, key)

    def _flush(self, waiting: dict[str, list[Reading]]) -> None:
        for key, readings in waiting.items():
            ids = [reading.id for reading in readings]
            devices = None if self.plan.spec.input.key == "device" else [reading.device for reading in readings]
            self._take(key, columns(readings, None), ids if any(ids) else None, devices)
        waiting.clear()

    def _take(self, key: str, rows: Rows, ids: list[str] | None, devices: list[str] | None) -> None:
        """Readings of one key, in log order, go to its lane."""
        self._implausible += bound(rows, self.plan.spec.input.valid)
        keep = self._seen[key].keep(rows, ids, devices)
        self._duplicates += len(rows) - int(np.count_nonzero(keep))
        self.lanes[key].process(rows if keep.all() else rows.take(keep))

    # -- control entries

    def _control(self, record: Record, waiting: dict[str, list[Reading]]) -> None:
        entry = msgspec.json.decode(record.payload)
        kind = entry.get("kind")
        if kind == "tick":
            if self.plan.spec.input.clock == "wall":
                self._flush(waiting)
                for lane in self.lanes.values():
                    lane.tick(entry["time"])
        elif kind in {"learn", "feedback"} and entry.get("model") == self.name:
            self._flush(waiting)
            self._taught(kind, entry)

    def _taught(self, kind: str, entry: dict[str, Any]) -> None:
        """/learn and /feedback. A refused entry changes nothing and does not stop the model."""
        self.taught = True
        try:
            self._teach(kind, entry)
        except (BadInput, LearningError, ValueError, KeyError, TypeError, OverflowError) as error:
            self.refused.append((str(entry.get("token", "")), str(error)))

    def _teach(self, kind: str, entry: dict[str, Any]) -> None:
        key = str(entry.get("key", ""))
        lane = self.lanes.get(key)
        if lane is None:
            raise BadInput(detail=f"model {self.name!r} knows no {key!r}")
        if kind == "learn":
            lane.learn(*self._examples(entry))
        elif not lane.feedback(int(entry["origin"]), np.asarray(entry["outcome"], dtype=np.float64)):
            raise BadInput(detail="the outcome of this prediction is known already, or it was never awaited")

    def _examples(self, entry: dict[str, Any]) -> tuple[Array, Array]:
        shape = self.plan.contender().shape
        x = np.asarray(entry.get("x", []), dtype=np.float64).reshape(-1, *shape.input)
        y = np.asarray(entry.get("y", []), dtype=np.float64).reshape(-1, shape.horizon)
        if len(x) != len(y):
            raise BadInput(detail="as many targets as inputs are needed")
        return x, y

    # -- what follows

    def _write(self) -> None:
        effects = [(key, lane.effects) for key, lane in self.lanes.items() if _any(lane.effects)]
        if not effects:
            return
        for _, effect in effects:
            for weights in effect.snapshots.values():
                self._objects.put(weights)
        now = self._clock()
        news: list[Run] = []
        with self.store.writing():
            for key, effect in effects:
                news += self._store(key, effect, now)
        self.news = news
        self.alerted = any(effect.alerts for _, effect in effects)
        for key, _ in effects:
            self.lanes[key].effects = type(effects[0][1])()

    def _store(self, key: str, effect: Any, now: int) -> list[Run]:
        add, made = self.store.add_run, []
        for ordinal, p in effect.predictions:
            made.append(add(key, ordinal, p.id, p.origin, now, [body(p)]))
        for first, times, values in effect.stream:
            prefix = self._prefix(key)
            made.append(self.store.add_stream(self.name, key, first, prefix, now, times, values))
        if effect.scores:
            self.store.add_scores(effect.scores)
        if effect.decisions:
            self.store.add_decisions(effect.decisions)
        if effect.actuals:
            self.store.add_actuals(key, effect.actuals)
        if effect.alerts:
            self.store.add_alerts(effect.alerts, self.position)
        if effect.filled:
            self.store.add_filled(key, effect.filled)
        if effect.covered:
            self.store.add_coverage(effect.covered)
        return [run for run in made if run is not None]

    def _prefix(self, key: str) -> str:
        if key not in self._prefixes:
            self._prefixes[key] = identity(self.plan.digest, key, 0)[:8]
        return self._prefixes[key]

    def checkpoint(self, *, export: bool) -> None:
        """Save where this learner stands, and the models the serving process runs (`export`: the slow ones too)."""
        export = (export or self.taught or not self.plan.heavy) and self.position != self._exported_at
        self.taught = False
        if self.failed or (self.position == self._saved and not export):
            return
        self._write()
        try:
            data = states.pack(self._state())
            exports = self._exports() if export else []
            evidence = self._evidence() if export else {}
        except (Exception, SystemExit) as error:
            self._fail(error, f"saving at log position {self.position}")
            return
        with self.store.writing():
            self.store.save(self.position, data)
            self.store.set("failed", "")
            self.store.set("unserved", self._unserved)
            self.store.set("lanes", len(self.lanes))
            self.store.set("trouble", next((lane.trouble for lane in self.lanes.values() if lane.trouble), ""))
            books = [lane.book for lane in self.lanes.values() if lane.book is not None]
            self.store.set("unheard", unheard(self.plan.spec, books))
            self.store.set("progress", max((lane.progress for lane in self.lanes.values()), default=0.0))
            self.store.set("dropped", msgspec.json.encode(self.dropped()))
            for key, role, _, servable in exports:
                self.store.add_servable(key, role, servable)
            for key, (_, inputs) in evidence.items():
                self.store.set(EVIDENCE + key, inputs)
            self.store.keep_predictions(KEEP_PREDICTIONS)
            if self.plan.spec.alerts:
                self.store.keep_alerts(KEEP_ALERTS)
        self._saved = self.position
        self._exported_at = self.position if export else self._exported_at
        self._shown |= {key: origin for key, (origin, _) in evidence.items()}
        self._exported |= {(key, role): dump for key, role, dump, _ in exports}

    def _exports(self) -> list[tuple[str, str, str, bytes]]:
        made: list[tuple[str, str, str, bytes]] = []
        try:
            for key, lane in self.lanes.items():
                for role, export in lane.servables.items():
                    weights = lane.weights(role)
                    dump = states.digest(weights)
                    if self._exported.get((key, role)) != dump:
                        made.append((key, role, dump, lane_servable(lane, export(), weights)))
        except Unsupported as error:  # it goes on to learn and forecast here; only questions cannot be answered
            self._unserved = str(error)
        return made

    def _evidence(self) -> dict[str, tuple[int, bytes]]:
        """Key -> (origin, what explanations need), where there was a forecast since it was last stored."""
        found = {key: lane.evidence() for key, lane in self.lanes.items()}
        return {
            key: (one["origin"], states.pack(one))
            for key, one in found.items()
            if one["origin"] is not None and one["origin"] != self._shown.get(key)
        }

    def _state(self) -> dict[str, Any]:
        return {
            "lanes": {key: lane.state() for key, lane in self.lanes.items()},
            "seen": {key: seen.state() for key, seen in self._seen.items()},
            "duplicates": self._duplicates,
            "implausible": self._implausible,
            "silence": None if self._watch is None else self._watch.state(),
        }

    def dropped(self) -> dict[str, int]:
        """Readings that taught nothing, by reason: duplicate, and whatever the steps say (late, absurd, ...)."""
        counts = Counter({"duplicate": self._duplicates, "implausible": self._implausible})
        for lane in self.lanes.values():
            counts.update({name.rpartition(".")[2]: count for name, count in lane.counts().items()})
        return {name: count for name, count in counts.items() if count}

    def _load(self, state: dict[str, Any]) -> None:
        self._duplicates = state.get("duplicates", 0)
        self._implausible = state.get("implausible", 0)
        for key, lane in state["lanes"].items():
            self._admit(key)
            self.lanes[key].load(lane)
            self._seen[key].load(state["seen"][key])
        if self._watch is not None and state.get("silence"):
            self._watch.load(state["silence"])


def user_line(error: BaseException, folder: str) -> str:
    """``step.py:12: `` of the last line of a user's file on the way to an error, "" if there is none."""
    home, found = Path(folder).resolve(), ""
    cause: BaseException | None = error
    while cause is not None:
        for frame in traceback.extract_tb(cause.__traceback__):
            path = Path(frame.filename)
            if path.is_absolute() and path.parent == home:
                found = f"{path.name}:{frame.lineno}: "
        cause = cause.__cause__
    return found


def _places(names: Sequence[str], topics: Sequence[str] | None, wanted: set[str]) -> dict[str, NDArray[np.intp]]:
    """Where in a block each key stands, in the order of their first appearance.

    Args:
        topics: of which those that are not `wanted` are left out; None: all are wanted.
    """
    if topics is None and len(set(names)) == 1:
        return {names[0]: np.arange(len(names))}
    found: dict[str, list[int]] = {}
    for place, (name, topic) in enumerate(zip(names, topics or names, strict=True)):
        if topics is None or topic in wanted:
            found.setdefault(name, []).append(place)
    return {name: np.array(places) for name, places in found.items()}


def _chosen(names: list[str], places: NDArray[np.intp]) -> list[str]:
    return names if len(places) == len(names) else [names[place] for place in places.tolist()]


def bound(rows: Rows, valid: Mapping[str, tuple[float, float]]) -> int:
    """Make implausible values missing, in place; returns how many there were."""
    count = 0
    for name, column in rows.columns.items():
        low, high = valid.get(name, (-PLAUSIBLE, PLAUSIBLE))
        if len(column) == 1 and low <= column[0] <= high:
            continue
        outside = (column < low) | (column > high)
        if outside.any():
            count += int(np.count_nonzero(outside))
            column[outside] = np.nan
    return count


def lane_servable(lane: Any, servable: Any, weights: bytes) -> bytes:
    """An exported model with the affine scale of its target: everything the serving process needs beside the spec.

    Args:
        weights: of the same model, for the explainer process.
    """
    low, high = lane.unscaled(np.array([0.0, 1.0]))
    return states.pack(
        {
            "format": servable.format,
            "kernel": servable.kernel,
            "data": servable.data,
            "weights": weights,
            "offset": float(low),
            "factor": float(high - low),
        }
    )


def _any(effects: Any) -> bool:
    found = effects.predictions or effects.stream or effects.scores or effects.decisions or effects.actuals
    return bool(found or effects.alerts)


def open_store(path: Path, journal: str = "WAL") -> Store:
    """A model's store, claimed: older workers of the same model can no longer write."""
    store = Store(path, writer=True, journal=journal)
    try:
        store.claim()
    except BaseException:
        store.close()
        raise
    return store
