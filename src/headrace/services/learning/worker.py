"""A worker process: learners (and the observer) that tail the log, one compute thread.

Started by the supervisor as ``python -m headrace.services.learning.worker``; the first line of its input is its
configuration, every further line a nudge ("the log has grown"); the end of its input means stop. It answers with one JSON
line per event. Everything it knows is in the log and in its stores: it may be killed at any moment.
"""

from __future__ import annotations

import ctypes
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


class Reporter:
    """Writes events to the supervisor, from the work loop and the heartbeat thread."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._lock = threading.Lock()
        self.task: tuple[str, int, float] | None = None
        """(model, its generation, start) of the block being worked on, by the monotonic clock."""

    def say(self, **event: object) -> None:
        """One line. A supervisor that has gone is no error: the end of the input follows."""
        line = msgspec.json.encode(event) + b"\n"
        try:
            with self._lock:
                os.write(self._output, line)
        except BrokenPipeError:
            pass

    def beat(self) -> None:
        """A sign of life each second, also while a long training runs, and for how long one block has taken so far.

        A user's endless loop beats on: only a person can tell it from a long training, so the platform shows the time.
        """
        while True:
            time.sleep(HEARTBEAT)
            if task := self.task:
                name, generation, start = task
                self.say(beat=True, model=name, generation=generation, busy=round(time.monotonic() - start, 1))
            else:
                self.say(beat=True)


def main() -> None:
    """Run until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    input_, output = _own_pipes()
    config = msgspec.json.decode(_first_line(input_), type=Config)
    _die_with(config.parent)
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
        self._log = DecodedLog(open_reader(data))
        self._learners = [self._learner(model, data) for model in config.models]
        self._observer = self._observe(data) if config.observer else None
        self._saved = time.monotonic()

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
        self._reporter.say(ready=True)
        for learner in self._learners:
            self._reporter.say(model=learner.name, generation=learner.generation, position=learner.position)
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
            self._reporter.task = (learner.name, learner.generation, time.monotonic())
            if learner.step(self._log):
                busy = True
                self._moved(learner)
        self._reporter.task = None
        if self._observer is not None:
            busy = self._observer.step(self._log) or busy
        return busy

    def _moved(self, learner: Any) -> None:
        about = {"model": learner.name, "generation": learner.generation}
        self._reporter.say(**about, position=learner.position)
        for token, reason in learner.refused:
            self._reporter.say(**about, refused=token, reason=reason)
        learner.refused.clear()
        if learner.taught:
            self._save_one(learner, export=True)

    def _idle(self) -> float:
        """Save if it is time; seconds to wait for a nudge."""
        since = time.monotonic() - self._saved
        if since < 1.0:
            return 1.0 - since
        self._save(export=True)
        return 1.0

    def _save(self, *, export: bool) -> None:
        for learner in self._learners:
            self._reporter.task = (learner.name, learner.generation, time.monotonic())
            self._save_one(learner, export=export)
        self._reporter.task = None
        self._saved = time.monotonic()

    def _save_one(self, learner: Any, *, export: bool) -> None:
        before = learner.position
        learner.checkpoint(export=export)
        self._reporter.say(model=learner.name, generation=learner.generation, saved=before, failed=learner.failed)

    def _stopping(self, wait: float) -> bool:
        """Whether the input has ended; returns early on a nudge."""
        ready, _, _ = select.select([self._input], [], [], wait)
        return bool(ready) and not os.read(self._input, 65536)


def _own_pipes() -> tuple[int, int]:
    """The pipes to the supervisor as (input, output), taken away from a user's code: what it prints goes to stderr, and
    it reads an empty standard input."""
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return pipes


def _first_line(input_: int) -> bytes:
    """The configuration; read byte by byte so that no nudge is swallowed by a buffer."""
    line = bytearray()
    while (byte := os.read(input_, 1)) not in {b"", b"\n"}:
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
