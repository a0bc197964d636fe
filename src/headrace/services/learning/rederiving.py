"""The platform's side of making a snapshot again: starts the process, and judges what it made.

It runs where the company's workers run: the company's own code sees the log and nothing else, neither what was published nor
what the models have stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headrace.assets import Model, Snapshot
from headrace.claims import Rederived
from headrace.errors import BadInput, NoIsolation, Temporary
from headrace.models.backends import parent
from headrace.services.learning.cell import Cell, Over
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.rederiver import Task, Word
from headrace.services.learning.registrar import environment_of
from headrace.states import digest

TOLERANCE = 1e-3
"""Largest difference of a weight, as a part of the largest value in its array, between two environments. Chosen, not derived: a
sum in another order changes the last of 24 bits (6e-8), and thousands of steps of learning let that grow."""
MOST = 2**26 + 2**12
"""Bytes of one word of the process: of weights as large as the hub takes."""

FEW = 4
"""Words that are listened to, besides how far it is."""

Tell = Callable[[float], None]


class Rederiving:
    """Makes snapshots of one company again, one at a time.

    Args:
        folder: the company's data directory.
        isolation: where its workers run.
    """

    def __init__(self, folder: Path, isolation: Isolation) -> None:
        self._folder, self._isolation = folder.resolve(), isolation
        self._turn = asyncio.Lock()

    async def replay(self, model: Model, weights: bytes | None, tell: Tell) -> Rederived:
        """See `headrace.services.verification.Rederiver`."""
        said = model.snapshot
        if said is None:
            raise BadInput(detail=f"{model.id} was not published by an online model: there is no log to replay")
        if not self._isolation.may_run:
            raise NoIsolation(reason=self._isolation.reason, fix="see `headrace up`")
        began = time.monotonic()
        async with self._turn:
            environment = (await environment_of(self._isolation))["digest"]
            words = await self._run(self.task(said), tell)
        found = judge(model, words, environment, weights)
        return found.model_copy(update={"seconds": round(time.monotonic() - began, 3)})

    def task(self, said: Snapshot) -> Task:
        """What its process is asked."""
        return Task(
            data=str(self._folder),
            parent=self._isolation.parent(os.getpid()),
            model=said.model,
            key=said.key,
            generation=int(said.generation),
            published_ms=said.published_ms,
            first=said.first_position,
            last=said.last_position,
        )

    async def _run(self, task: Task, tell: Tell) -> list[Word]:
        """All it said but how far it is. Raises Temporary."""
        guard = self._isolation.alone or self._isolation.guard
        cell = Cell(self._isolation._replace(guard=guard), f"replay of {task.model}")
        try:
            line = [sys.executable, "-m", "headrace.services.learning.rederiver"]
            process = await cell.start(line, stdin=PIPE, stdout=PIPE)
        except (Over, OSError) as error:
            await cell.close()
            raise Temporary(detail=f"a replay cannot be started: {error}") from error
        words: list[Word] = []
        try:
            await self._hear(process, task, words, tell)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            why = await cell.close()
        if not any(word.weights is not None or word.gone or word.failed for word in words):
            last = await asyncio.to_thread(cell.last)
            words.append(Word(failed=f"its process ended: {why or last or f'exit code {process.returncode}'}"))
        return words

    @staticmethod
    async def _hear(process: Process, task: Task, words: list[Word], tell: Tell) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, msgspec.MsgspecError):
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            await process.stdin.drain()
            while len(words) < FEW:
                size = int.from_bytes(await process.stdout.readexactly(4), "big")
                if size > MOST:
                    words.append(Word(failed=f"it said {size:,} bytes, and {MOST:,} may be"))
                    return
                word = msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Word)
                if word.done is None:
                    words.append(word)
                else:
                    tell(min(1.0, max(0.0, word.done)))


def judge(model: Model, words: list[Word], environment: str, weights: bytes | None) -> Rederived:
    """What a replay has shown.

    Args:
        words: what its process said.
        environment: digest of where it ran.
        weights: the recorded ones, if they are there.
    """
    assert model.snapshot is not None
    root = next((word for word in words if word.root), Word())  # the first: made before any code of a user ran
    made = next((word.weights for word in words if word.weights is not None), None)
    about: dict[str, Any] = {"root": root.root, "records": root.records, "environment": environment}
    if wrong := _before(model.snapshot, root, words):
        return Rederived.model_validate({**about, "verdict": wrong[0], "says": wrong[1]})
    assert made is not None
    worst = None if weights is None else apart(weights, made)
    recorded, found = model.files[0].stored.sha256, digest(made)
    name, says = _weighed(found == recorded, environment == model.snapshot.environment, weights is None, worst)
    return Rederived.model_validate({**about, "verdict": name, "says": says, "digest": found, "worst": worst})


def _before(said: Snapshot, root: Word, words: list[Word]) -> tuple[str, str] | None:
    """(verdict, why) if it did not come to weights that could be compared."""
    if gone := next((word.gone for word in words if word.gone), ""):
        return "impossible", f"it cannot be re-derived: {_plain(gone)}"
    if root.root and (root.root, root.records) != (said.root, said.records):
        return "failed", "the records in the log are not those it was learned from: their Merkle root differs"
    if root.root and root.spec != said.spec:
        return "failed", "the spec in the log is not the one it was learned with: its digest differs"
    if not root.root or not any(word.weights is not None for word in words):
        why = next((word.failed for word in words if word.failed), "it said nothing")
        return "failed", f"the replay made no weights: {_plain(why)}"
    return None


def _weighed(equal: bool, same: bool, gone: bool, worst: float | None) -> tuple[str, str]:
    """(verdict, why) of weights.

    Args:
        equal: byte by byte; `same`: made in the recorded environment; `gone`: the recorded weights are not there.
        worst: see `apart`.
    """
    where = "in the same environment" if same else "although in another environment"
    if equal:
        return "re-derived", f"the log gives exactly these weights again, {where}"
    if same:
        return "failed", f"the log gives other weights, {where}"
    if gone:
        return "failed", "another environment gives other weights; those recorded are gone and cannot be compared"
    far = "of another shape" if worst is None else f"that differ by {worst:.1e} of the largest of their array"
    found = "failed" if worst is None or worst > TOLERANCE else "within tolerance"
    return found, f"another environment gives weights {far}; {TOLERANCE:.0e} may be"


def apart(recorded: bytes, made: bytes) -> float | None:
    """Largest difference of a weight as a part of the largest recorded value in its array; None: they have other arrays.

    >>> from headrace.models.backends.saved import safetensors
    >>> apart(*(safetensors({"w": np.array([2.0, last])}) for last in (1.0, 1.5)))
    0.25
    """
    try:
        one, other = parent.read(recorded), parent.read(made)
    except BadInput:
        return None
    if one.keys() != other.keys() or any(one[name].shape != other[name].shape for name in one):
        return None
    worst = 0.0
    for name, array in one.items():
        wanted, found = array.astype(np.float64), other[name].astype(np.float64)
        if not np.array_equal(np.isfinite(wanted), np.isfinite(found)):
            return None
        scale = float(np.abs(wanted, where=np.isfinite(wanted), out=np.zeros_like(wanted)).max(initial=0.0)) or 1.0
        off = np.abs(np.where(np.isfinite(wanted), wanted - found, 0.0))
        worst = max(worst, float(off.max(initial=0.0)) / scale)
    return worst


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:300])
