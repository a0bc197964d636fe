"""A worker process: learners (and the observer) that tail the log, one compute thread.

Started by the supervisor as ``python -m headrace.services.learning.worker``; the first line of its input is its
configuration, every further line a nudge ("the log has grown"); the end of its input means stop. It answers with one
frame per event (`Event`): what it has predicted, once that is stored, among them. Everything it knows is in the log and in
its stores: it may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.disk import set_aside, unavailable

FENCED = 3
"""Exit code of a worker that found itself replaced."""
PAUSE = 1.0
"""Seconds between attempts while the disk is full."""
SAYING = 60.0
"""Seconds between sentences about a full disk."""
SHARE = 20.0
"""Checkpoints may take one in this many seconds: those of very many devices are large and are written less often."""
HEARTBEAT = 1.0
"""Seconds between signs of life."""
REST = 0.2
"""Seconds after the last message until the observer's counts are stored."""
REPORT = 8 * 2**20
"""Bytes of predictions that are sent along with a report; more are left for the platform to read from the store."""
RUNS = 10_000
"""Runs sent along with a report; more are left in the store..."""
KEY = 1000
"""...as are those of a key of more characters."""
TEXT = 4000
"""Characters of what a worker tells people; more are cut off."""

Name = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=TEXT)]
Place = Annotated[int, Meta(ge=0, le=2**53)]
"""A position in the log, or a number of predictions."""
Runs = Annotated[list[tuple[Place, Annotated[str, Meta(max_length=KEY)], Place, bytes]], Meta(max_length=RUNS)]


class ModelConfig(msgspec.Struct):
    """One model to run."""

    plain: dict[str, Any]
    """Its spec as applied."""
    generation: int
    folder: str


class Config(msgspec.Struct):
    """What a worker is to do."""

    data: str
    parent: int
    """Process id of the platform; 0: it is not seen from here."""
    models: list[ModelConfig] = []
    observer: bool = False
    pinned: list[tuple[str, dict[str, Any]]] = []
    """(topic filter, decoder) of the models that read with a decoder of their own."""
    checkpoint_seconds: float = 5.0
    journal: str = "WAL"
    """How files are kept whole."""


class Event(msgspec.Struct, omit_defaults=True):
    """What a worker says; its frame is a length of four bytes and MessagePack."""

    ready: bool = False
    model: Name = ""
    generation: Place = 0
    position: Place | None = None
    """The log position the model has come to."""
    saved: bool = False
    """The model was checkpointed; what serves it may be newer."""
    failed: Text = ""
    busy: float = 0.0
    """Seconds it has been at one and the same block."""
    refused: Name = ""
    """Token of a /learn or /feedback it could not use..."""
    reason: Text = ""
    """...and why."""
    rebuilt: bool = False
    """A damaged file was set aside and is made anew: the model's, or without a model the observer's."""
    runs: Runs | None = None
    """What it predicted on the way there (`store.Run`); None: look into its store."""
    alerts: bool = False
    """It raised or cleared an alert on the way there."""


class Reporter:
    """Writes events to the supervisor, from the work loop and the heartbeat thread."""

    def __init__(self, output: int) -> None:
        self._lock, self._output = threading.Lock(), output
        self._encode = msgspec.msgpack.Encoder().encode
        self.task: tuple[str, int, float] | None = None
        """(model, its generation, start) of the block being worked on, by the monotonic clock."""

    def say(self, event: msgspec.Struct) -> None:
        """One frame. A supervisor that has gone is no error: the end of the input follows."""
        data = self._encode(event)
        frame = memoryview(len(data).to_bytes(4, "big") + data)
        with self._lock, contextlib.suppress(ConnectionError):
            while frame:
                frame = frame[os.write(self._output, frame) :]

    def beat(self) -> None:
        """A sign of life each second, also while a long training runs, and for how long one block has taken so far.

        A user's endless loop beats on: only a person can tell it from a long training, so the platform shows the time.
        """
        while True:
            time.sleep(HEARTBEAT)
            if task := self.task:
                name, generation, start = task
                self.say(Event(model=name, generation=generation, busy=round(time.monotonic() - start, 1)))
            else:
                self.say(Event())


def main() -> None:
    """Run until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    input_, output = own_pipes()
    config = msgspec.json.decode(first_line(input_), type=Config)
    die_with(config.parent)
    from headrace.errors import Fenced

    reporter = Reporter(output)
    threading.Thread(target=reporter.beat, daemon=True).start()
    try:
        Loop(config, reporter, input_).run()
    except Fenced as error:
        print(error, file=sys.stderr)
        raise SystemExit(FENCED) from error


class Loop:
    """The work loop of one process."""

    def __init__(self, config: Config, reporter: Reporter, input_: int) -> None:
        from headrace.services.learning.decoded import DecodedLog
        from headrace.streams.logs import open_reader

        self._config, self._reporter, self._input = config, reporter, input_
        data = Path(config.data)
        self._data = data
        self._log = DecodedLog(open_reader(data))
        self._learners: list[Any] = []
        self._observer: Any = None
        self._saved = self._said = time.monotonic()
        self._cost = 0.0
        self._said -= SAYING
        gc.freeze()
        gc.set_threshold(
            20_000, 20, 20
        )  # a block of records makes thousands of objects, and none of them is garbage yet

    def _open(self) -> bool:
        """Open what is not open yet; whether all is."""
        return self._guarded(self._open_all)

    def _open_all(self) -> bool:
        for model in self._config.models[len(self._learners) :]:
            self._learners.append(self._learner(model))
        if self._config.observer and self._observer is None:
            self._observe()
        return True

    def _learner(self, model: ModelConfig) -> Any:
        from headrace.errors import CorruptState
        from headrace.services.learning.learner import Learner, open_store
        from headrace.services.learning.plan import Plan
        from headrace.services.learning.store import generation_file
        from headrace.spec import from_plain
        from headrace.stores.objects.files import FileObjects

        spec = from_plain(model.plain).spec
        path, plan = generation_file(self._data, spec.name, model.generation), Plan(spec, model.folder)
        objects = FileObjects(self._data / "objects")
        store = None
        try:
            store = open_store(path, self._config.journal)
            return Learner(plan, model.generation, store, objects)
        except (sqlite3.DatabaseError, CorruptState) as error:
            if store is not None:
                store.close()
            if unavailable(error):
                raise
            self._set_aside(path, error)
            self._reporter.say(Event(model=spec.name, generation=model.generation, rebuilt=True))
        return Learner(plan, model.generation, open_store(path, self._config.journal), objects)

    def _observe(self) -> None:
        from headrace.services.learning.observer import FILE, Observer
        from headrace.spec import Plug

        pinned = [(pattern, Plug.model_validate(plug)) for pattern, plug in self._config.pinned]
        path = self._data / "state" / FILE
        try:
            self._observer = Observer(self._data, pinned, self._config.journal)
        except sqlite3.DatabaseError as error:
            if unavailable(error):
                raise
            self._set_aside(path, error)
            self._reporter.say(Event(rebuilt=True))
            self._observer = Observer(self._data, pinned, self._config.journal)

    def _set_aside(self, path: Path, error: Exception) -> None:
        kept = set_aside(path)
        print(
            f"headrace: {path.name} is damaged ({error}); kept as {kept.name}, rebuilding from the log", file=sys.stderr
        )

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """What `work` returns; False while the disk does not take it, which is said once a minute."""
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if not unavailable(error):
                raise
            if time.monotonic() - self._said >= SAYING:
                self._said = time.monotonic()
                print(f"headrace: a worker waits for the disk ({error}); it goes on by itself", file=sys.stderr)
            return False

    def run(self) -> None:
        """Take turns; when nobody has anything to do, save, and wait for a nudge."""
        while not self._open():
            if self._stopping(PAUSE):
                return
        self._reporter.say(Event(ready=True))
        for learner in self._learners:
            self._reporter.say(self._event(learner, position=learner.position))
        while True:
            busy = self._turn()
            if self._stopping(0 if busy else self._idle()):
                break
            if busy and time.monotonic() - self._saved > max(self._config.checkpoint_seconds, SHARE * self._cost):
                self._save(export=False)
        self._save(export=True)
        if self._observer is not None:
            self._guarded(lambda: self._observer.close() or True)

    def _turn(self) -> bool:
        busy = False
        for place, learner in enumerate(self._learners):
            self._reporter.task = (learner.name, learner.generation, time.monotonic())
            if self._guarded(lambda place=place: self._step(place)):  # type: ignore[misc]
                busy = True
                self._moved(self._learners[place])
        self._reporter.task = None
        if self._observer is not None:
            busy = self._guarded(lambda: bool(self._observer.step(self._log))) or busy
        return busy

    def _step(self, place: int) -> bool:
        """One step of a learner; one whose file turns out to be damaged is opened anew."""
        try:
            return bool(self._learners[place].step(self._log))
        except sqlite3.DatabaseError as error:
            if unavailable(error):
                raise
            model, learner = self._config.models[place], self._learners[place]
            learner.store.close()
            self._set_aside(learner.store.path, error)
            self._reporter.say(self._event(learner, rebuilt=True))
            self._learners[place] = self._learner(model)
            return True

    def _moved(self, learner: Any) -> None:
        runs = learner.news if sent_along(learner.news) else None
        self._reporter.say(self._event(learner, position=learner.position, runs=runs, alerts=learner.alerted))
        for token, reason in learner.refused:
            self._reporter.say(self._event(learner, refused=token[:200], reason=reason[:TEXT]))
        learner.refused.clear()
        if learner.taught:
            self._save_one(learner, export=True)

    def _idle(self) -> float:
        """Save if it is time; seconds to wait for a nudge."""
        wait = self._saved + max(1.0, SHARE * self._cost) - time.monotonic()
        if wait <= 0:
            self._save(export=True)
            wait = 1.0
        if self._observer is not None and self._observer.waiting:
            wait = min(wait, REST)
        return wait

    def _save(self, *, export: bool) -> None:
        begin = time.monotonic()
        for learner in self._learners:
            self._reporter.task = (learner.name, learner.generation, time.monotonic())
            self._save_one(learner, export=export)
        self._reporter.task = None
        self._saved = time.monotonic()
        self._cost = self._saved - begin

    def _save_one(self, learner: Any, *, export: bool) -> None:
        before = learner.position
        if self._guarded(lambda: learner.checkpoint(export=export) or True):
            self._reporter.say(self._event(learner, position=before, saved=True, failed=learner.failed[:TEXT]))

    @staticmethod
    def _event(learner: Any, **about: Any) -> Event:
        return Event(model=learner.name, generation=learner.generation, **about)

    def _stopping(self, wait: float) -> bool:
        """Whether the input has ended; returns early on a nudge."""
        ready, _, _ = select.select([self._input], [], [], wait)
        try:
            return bool(ready) and not os.read(self._input, 65536)
        except ConnectionError:  # the supervisor went without a goodbye
            return True


def sent_along(news: list[Any]) -> bool:
    """Whether runs are few and short enough to be told; else they are left in the store."""
    if len(news) > RUNS or any(len(run.key) > KEY for run in news):
        return False
    return sum(len(run.bodies) for run in news) < REPORT


def own_pipes() -> tuple[int, int]:
    """The way from and to the supervisor as (input, output), taken away from a user's code: what it prints goes to stderr, and
    it reads an empty standard input."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return pipes


def first_line(input_: int) -> bytes:
    """The configuration; read byte by byte so that no nudge is swallowed by a buffer."""
    line, byte = bytearray(), b""
    with contextlib.suppress(ConnectionError):
        while (byte := os.read(input_, 1)) not in {b"", b"\n"}:
            line += byte
    if byte != b"\n":
        raise SystemExit(0)
    return bytes(line)


def die_with(parent: int) -> None:
    """On Linux, a worker does not outlive a platform that was killed; in a sandbox (0) that is the sandbox's to see to."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    if parent and os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    main()
