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
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

FENCED = 3
"""Exit code of a worker that found itself replaced."""
HEARTBEAT = 1.0
"""Seconds between signs of life."""
REST = 0.2
"""Seconds after the last message until the observer's counts are stored."""
REPORT = 8 * 2**20
"""Bytes of predictions that are sent along with a report; more are left for the platform to read from the store."""


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
    """Process id of the platform."""
    models: list[ModelConfig] = []
    observer: bool = False
    pinned: list[tuple[str, dict[str, Any]]] = []
    """(topic filter, decoder) of the models that read with a decoder of their own."""
    checkpoint_seconds: float = 5.0


class Event(msgspec.Struct, omit_defaults=True):
    """What a worker says; its frame is a length of four bytes and MessagePack."""

    ready: bool = False
    model: str = ""
    generation: int = 0
    position: int | None = None
    """The log position the model has come to."""
    saved: bool = False
    """The model was checkpointed; what serves it may be newer."""
    failed: str = ""
    runs: list[tuple[int, str, int, bytes]] | None = None
    """What it predicted on the way there (`store.Run`); None: look into its store."""


class Reporter:
    """Writes events to the supervisor, from the work loop and the heartbeat thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._encode = msgspec.msgpack.Encoder().encode

    def say(self, event: Event) -> None:
        """One frame. A supervisor that has gone is no error: the end of the input follows."""
        data = self._encode(event)
        frame = memoryview(len(data).to_bytes(4, "big") + data)
        with self._lock, contextlib.suppress(BrokenPipeError):
            while frame:
                frame = frame[os.write(1, frame) :]

    def beat(self) -> None:
        """A sign of life each second, also while a long training runs."""
        while True:
            time.sleep(HEARTBEAT)
            self.say(Event())


def main() -> None:
    """Run until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    config = msgspec.json.decode(_first_line(), type=Config)
    _die_with(config.parent)
    from headrace.errors import Fenced

    reporter = Reporter()
    threading.Thread(target=reporter.beat, daemon=True).start()
    try:
        Loop(config, reporter).run()
    except Fenced as error:
        print(error, file=sys.stderr)
        raise SystemExit(FENCED) from error


class Loop:
    """The work loop of one process."""

    def __init__(self, config: Config, reporter: Reporter) -> None:
        from headrace.services.learning.decoded import DecodedLog
        from headrace.streams.logs import open_reader

        self._config, self._reporter = config, reporter
        data = Path(config.data)
        self._log = DecodedLog(open_reader(data))
        self._learners = [self._learner(model, data) for model in config.models]
        self._observer = self._observe(data) if config.observer else None
        self._saved = time.monotonic()
        gc.freeze()
        gc.set_threshold(
            20_000, 20, 20
        )  # a block of records makes thousands of objects, and none of them is garbage yet

    def _learner(self, model: ModelConfig, data: Path) -> Any:
        from headrace.services.learning.learner import Learner, open_store
        from headrace.services.learning.plan import Plan
        from headrace.services.learning.store import generation_file
        from headrace.spec import from_plain
        from headrace.stores.objects.files import FileObjects

        spec = from_plain(model.plain).spec
        store = open_store(generation_file(data, spec.name, model.generation))
        return Learner(Plan(spec, model.folder), model.generation, store, FileObjects(data / "objects"))

    def _observe(self, data: Path) -> Any:
        from headrace.services.learning.observer import Observer
        from headrace.spec import Plug

        return Observer(data, [(pattern, Plug.model_validate(plug)) for pattern, plug in self._config.pinned])

    def run(self) -> None:
        """Take turns; when nobody has anything to do, save, and wait for a nudge."""
        self._reporter.say(Event(ready=True))
        for learner in self._learners:
            self._reporter.say(self._event(learner, position=learner.position))
        while True:
            busy = self._turn()
            if self._stopping(0 if busy else self._idle()):
                break
            if busy and time.monotonic() - self._saved > self._config.checkpoint_seconds:
                self._save(export=False)
        self._save(export=True)
        if self._observer is not None:
            self._observer.close()

    def _turn(self) -> bool:
        busy = False
        for learner in self._learners:
            if learner.step(self._log):
                busy = True
                small = sum(len(run.bodies) for run in learner.news) < REPORT
                runs = learner.news if small else None
                self._reporter.say(self._event(learner, position=learner.position, runs=runs))
        if self._observer is not None:
            busy = self._observer.step(self._log) or busy
        return busy

    def _idle(self) -> float:
        """Save if it is time; seconds to wait for a nudge."""
        wait = self._saved + 1.0 - time.monotonic()
        if wait <= 0:
            self._save(export=True)
            wait = 1.0
        if self._observer is not None and self._observer.waiting:
            wait = min(wait, REST)
        return wait

    def _save(self, *, export: bool) -> None:
        for learner in self._learners:
            before = learner.position
            learner.checkpoint(export=export)
            self._reporter.say(self._event(learner, position=before, saved=True, failed=learner.failed))
        self._saved = time.monotonic()

    @staticmethod
    def _event(learner: Any, **about: Any) -> Event:
        return Event(model=learner.name, generation=learner.generation, **about)

    @staticmethod
    def _stopping(wait: float) -> bool:
        """Whether the input has ended; returns early on a nudge."""
        ready, _, _ = select.select([0], [], [], wait)
        return bool(ready) and not os.read(0, 65536)


def _first_line() -> bytes:
    """The configuration; read byte by byte so that no nudge is swallowed by a buffer."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in {b"", b"\n"}:
        line += byte
    if not line:
        raise SystemExit(0)
    return bytes(line)


def _die_with(parent: int) -> None:
    """On Linux, a worker does not outlive a platform that was killed."""
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    main()
