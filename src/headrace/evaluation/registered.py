"""A model that was trained elsewhere takes part: it is asked inside the sandbox, and never fitted.

What it is given are windows of the target on the grid, in the target's own unit, oldest value first; what it answers are
values of the next `horizon` steps in the same unit. An ONNX file among its files is asked directly; otherwise the
recipe's code runs once more, with ``HEADRACE_MODE=predict`` (see docs/training.md).
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.assets import Dataset, Environment, Limits, Model
from headrace.errors import BadInput, HeadraceError, LearningError
from headrace.evaluation.contenders import Forecasts
from headrace.evaluation.parts import Part
from headrace.models.transformers.blocks import column
from headrace.records import Array
from headrace.runners import RUNNERS, Ended, Task

MODE = "predict"
TAIL = 600
"""Characters of a failed program's last words that are shown."""


class Library(Protocol):
    """Where registered things are fetched from; what comes is checked against its record."""

    def dataset(self, id: str) -> AbstractContextManager[tuple[Dataset, Path]]:
        """The record and its file, for as long as the context lasts. Raises NotFound, Forbidden."""
        ...

    def model(self, id: str) -> AbstractContextManager[tuple[Model, Path, Path | None]]:
        """The record, a folder with its files, and the code archive of its recipe. Raises NotFound, Forbidden."""
        ...


@dataclass(frozen=True)
class Registered:
    """A registered model.

    Args:
        files: folder with its files.
        code: archive of its recipe, if it has one.
        history: grid steps of a window.
    """

    model: Model
    files: Path
    code: Path | None
    history: int
    runner: str = "local"

    @property
    def name(self) -> str:
        """As it was registered."""
        return self.model.name

    def forecasts(self, part: Part) -> Forecasts:
        """Its forecasts at every validation origin; at the training days' origins too, which the interval learns from."""
        origins, rehearsed = part.validation(), np.arange(self.history + 1, part.split - part.horizon + 1)
        both = np.concatenate([rehearsed, origins])
        windows, usable = windows_of(part, both, self.history)
        made = np.full((len(both), part.horizon), np.nan)
        began = time.monotonic()
        try:
            if usable.any():
                times = part.rows.time[both[usable]]
                made[usable] = self.ask(windows[usable], times, part)
        except (HeadraceError, OSError) as error:
            nothing = np.full((1, len(origins), part.horizon), np.nan)
            return Forecasts(nothing, rehearsed[:0], nothing[0, :0], 0.0, str(error))
        asked = len(rehearsed)
        known = np.isfinite(made[:asked]).all(axis=1)
        return Forecasts(made[None, asked:], rehearsed[known], made[:asked][known], time.monotonic() - began)

    def ask(self, windows: Array, times: NDArray[np.int64], part: Part) -> Array:
        """(m, horizon) what it says of (m, history) windows. Raises LearningError, NoIsolation, WrongEnvironment."""
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            place = Path(folder)
            (place / "output").mkdir()
            np.savez(place / "windows.npz", x=windows, first_target_ns=times, every_ns=np.int64(part.every))
            given = self.model.recipe.parameters if self.model.recipe is not None else {}
            request = {"horizon": part.horizon, "entry_point": self._entry(), "parameters": given}
            (place / "request.json").write_text(json.dumps(request))
            ended = asyncio.run(self._run(place))
            return _answer(ended, place, (len(windows), part.horizon))

    def _entry(self) -> str:
        return self.model.recipe.entry_point if self.model.recipe is not None and self.code is not None else ""

    async def _run(self, place: Path) -> Ended:
        inputs = {
            "/work/request.json": place / "request.json",
            "/work/data/0/windows.npz": place / "windows.npz",
            "/work/model": self.files,
        }
        if self.code is not None:
            inputs["/work/code.archive"] = self.code
        recipe = self.model.recipe
        task = Task(
            command=("python", "-m", "headrace.inside.forecast"),
            inputs=inputs,
            output=place / "output",
            log=place / "log",
            limits=recipe.limits if recipe else Limits.model_validate({}),
            environment=recipe.environment if recipe else Environment.model_validate({}),
            variables=self._variables(),
        )
        runner = RUNNERS.find(self.runner)()
        runner.check(task.environment)
        ended: Ended = await runner.run(task, asyncio.Event())
        return ended

    def _variables(self) -> Mapping[str, str]:
        seeds = self.model.recipe.seeds if self.model.recipe else {}
        return {"HEADRACE_MODE": MODE, **{name: str(seed) for name, seed in seeds.items()}}


def windows_of(part: Part, origins: NDArray[np.intp], history: int) -> tuple[Array, NDArray[np.bool_]]:
    """((m, history) values that end right before each origin, (m,) whether all of them are known then).

    Row 0 of a part is blank, so the first origin with a whole window is `history` + 1.
    """
    values = column(part.rows, part.target)
    places = origins[:, None] - np.arange(history, 0, -1)
    windows = np.where(places > 0, values[np.maximum(places, 0)], np.nan)
    return windows, np.isfinite(windows).all(axis=1) & part.fair[origins - 1]


def _answer(ended: Ended, place: Path, shape: tuple[int, int]) -> Array:
    """Raw little-endian doubles: nothing that could be misread."""
    path, wanted = place / "output" / "predictions.f64", shape[0] * shape[1] * 8
    if ended.how != "exit" or ended.code != 0:
        log = (
            (place / "log").read_bytes()[-TAIL:].decode("utf-8", "replace").strip() if (place / "log").exists() else ""
        )
        raise LearningError(detail=ended.detail or f"the model ended with exit code {ended.code}: {log}")
    if path.is_symlink() or not path.is_file() or path.stat().st_size != wanted:
        raise LearningError(detail=f"the model did not answer with {shape[0]} x {shape[1]} numbers")
    return np.frombuffer(path.read_bytes(), "<f8").reshape(shape)


def flattering(model: Model, dataset: Dataset | None) -> list[str]:
    """What has to be said beside the figures of a model that was trained elsewhere."""
    notes = [
        f"{model.name} ({model.id}) was trained before and is only asked here; the other contenders are fitted to each "
        "period's training days"
    ]
    if dataset is not None and dataset.id in model.datasets:
        notes.append(f"{model.name} was trained on this very dataset ({dataset.id}): its figures flatter it")
    if model.files and not model.recipe and not model.translation:
        notes.append(f"nothing is known of what {model.name} was trained on: it was uploaded as it is")
    return notes


def usable(model: Model) -> None:
    """Raises BadInput if there is nothing to ask yet."""
    if model.state not in {"trained", "uploaded", "translated"}:
        raise BadInput(
            detail=f"model {model.id} is {model.state}: only one that is trained, uploaded or translated can be asked"
        )
