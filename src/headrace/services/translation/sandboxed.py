"""One translation: two programs in two sandboxes, one after the other, and nothing believed of their answers but its form.

The first runs the model's own code and leaves an ONNX file and what the original answered. The second sees only these files, runs
none of that code, and compares: so the certificate is not the word of the code it is about.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.assets import Environment, Limits, Parity, Recipe
from headrace.errors import BadInput, Temporary, TooLarge
from headrace.models.onnx_files import CLASSIC, check_apart
from headrace.runners import Ended, Runner, Task
from headrace.runners.collect import collect
from headrace.services.translation import Wish
from headrace.settings import MIB, TranslationSettings

ONNX, CASES, ANSWER = "model.onnx", "cases.npz", "answer.json"
ANSWER_BYTES = MIB
CASES_BYTES = 512 * MIB
MOST = {"real": 65, "edge": 5, "made": 33}
"""Inputs of each group of `headrace.inside.cases` that are compared."""
NO_FILE = "it cannot be translated: its code ended without an ONNX file"
PROGRAM, COMPARER = "headrace.inside.translate", "headrace.inside.parity"


_FORM = {
    "sklearn": "skl2onnx has no plain graph for this kind of estimator: another kind (trees, linear models, networks) has one",
    "keras": "loops and branches of its layers have to be of fixed form",
    "torch": "loops and branches of the original's code have to be of fixed form",
}
CPUS = 2
"""Cores a program may be moved between; it computes on one thread, so that answers are the same every time."""
_VARIABLES = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "PYTHONDONTWRITEBYTECODE": "1",
    "KERAS_BACKEND": "torch",
}


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(_Form):
    """It could not be done, and why."""

    error: str = Field(max_length=5000)


class Exported(_Form):
    """What `headrace.inside.translate` says."""

    framework: Literal["torch", "sklearn", "keras"]
    exporter: str = Field(pattern=r"^[a-z0-9 ._-]{1,40}$")


class Tensor(_Form):
    """One input or output of an ONNX model; the first axis is the batch, axes of any length are -1."""

    name: str = Field(max_length=500)
    datatype: str = Field(max_length=20)
    shape: list[int] = Field(max_length=64)


class Compared(_Form):
    """What `headrace.inside.parity` says."""

    parity: Parity
    inputs: list[Tensor] = Field(max_length=100)
    outputs: list[Tensor] = Field(max_length=100)
    input_shape: list[int] | None = Field(max_length=64)
    output_shape: list[int] | None = Field(max_length=64)
    parameters: int | None = Field(ge=0)
    opset: int
    dtypes: str = Field(max_length=500)
    versions: dict[str, str] = Field(max_length=20)


F = TypeVar("F", bound=_Form)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is translated: checked files outside, for as long as it takes."""

    files: Path
    """A folder, or the one file there is."""
    name: str
    """Of that file."""
    online: bool
    """It is a snapshot."""
    shape: list[int] | None
    recipe: Recipe | None
    code: Path | None
    training: Mapping[str, Path] = field(default_factory=dict)
    """Path inside -> file, of the datasets it was trained on."""
    held_out: Mapping[str, Path] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    """Of a snapshot: "framework", and what its record says of its network."""
    left_out: int = 0
    """Datasets besides, which may not be used or are gone."""


@dataclass(frozen=True, slots=True)
class Made:
    """A translation."""

    onnx: Path
    """The checked file."""
    exported: Exported
    compared: Compared
    environment: dict[str, Any]
    """In which it was made, as `Runner.describe` says."""


class Translations:
    """Runs them.

    Args:
        runner: where the programs run.
    """

    def __init__(self, runner: Runner, settings: TranslationSettings) -> None:
        self._runner, self._settings = runner, settings

    async def run(self, subject: Subject, wish: Wish, place: Path, cancel: asyncio.Event) -> Made:
        """Translate, and compare. Raises BadInput, TooLarge, Temporary (cancelled), NoIsolation, WrongEnvironment,
        StorageUnavailable."""
        (folder, made), environment = await self.export(subject, wish, place / "first", cancel)
        onnx = folder / ONNX
        await asyncio.to_thread(_plain_graph, onnx, self._settings.onnx_bytes, made.framework)
        compared = await self.compare(subject, wish, onnx, folder, made, place / "second", cancel)
        return Made(onnx, made, compared, environment)

    async def export(
        self, subject: Subject, wish: Wish, place: Path, cancel: asyncio.Event
    ) -> tuple[tuple[Path, Exported], dict[str, Any]]:
        """((folder with what the model's own code left, who made it), environment it ran in, as `Runner.describe` says)."""
        environment = asyncio.create_task(
            asyncio.to_thread(self._runner.describe, _environment(subject.recipe), self._limits())
        )  # meanwhile: the first time in a process it takes seconds
        try:
            folder = await self._program(PROGRAM, self._first(subject, wish), place, subject.recipe, cancel)
            made = await asyncio.to_thread(_answer, folder, Exported)
            if not (folder / ONNX).is_file():
                raise BadInput(detail=NO_FILE)
            return (folder, made), await environment
        finally:
            environment.cancel()
            await asyncio.gather(environment, return_exceptions=True)

    async def compare(
        self, subject: Subject, wish: Wish, onnx: Path, asked: Path, made: Exported, place: Path, cancel: asyncio.Event
    ) -> Compared:
        """How near an ONNX file is to what the original answered.

        Args:
            asked: folder with these answers, of `export`.
        """
        second = await self._program(COMPARER, _second(onnx, asked, made, wish), place, None, cancel)
        compared = await asyncio.to_thread(_answer, second, Compared)
        _bounded(compared.parity)
        if not subject.training and not subject.held_out:
            compared = compared.model_copy(update={"parity": _unrecorded(compared.parity)})
        return compared

    def _first(self, subject: Subject, wish: Wish) -> tuple[dict[str, Any], dict[str, Path], dict[str, str]]:
        """(request, inputs, variables) of the program that runs the model's own code."""
        recipe, inputs = subject.recipe, {**subject.training, **subject.held_out}
        inputs["/work/model" if subject.files.is_dir() else f"/work/model/{subject.name}"] = subject.files
        if subject.code is not None:
            inputs["/work/code.archive"] = subject.code
        request = {
            "entry_point": recipe.entry_point if recipe else "",
            "parameters": recipe.parameters if recipe else {},
            "online": subject.online,
            "network": dict(subject.network),
            "wish": wish.model_dump(),
            "shape": subject.shape,
            "training": list(subject.training),
            "held_out": list(subject.held_out),
        }
        return request, inputs, {name: str(seed) for name, seed in recipe.seeds.items()} if recipe else {}

    async def _program(
        self,
        name: str,
        asked: tuple[dict[str, Any], dict[str, Path], dict[str, str]],
        place: Path,
        recipe: Recipe | None,
        cancel: asyncio.Event,
    ) -> Path:
        """The folder with the plain files a program left."""
        request, inputs, variables = asked
        await asyncio.to_thread(_begin, place, request)
        task = Task(
            command=["python", "-m", name],
            inputs={**inputs, "/work/request.json": place / "request.json"},
            output=place / "output",
            log=place / "log",
            limits=self._limits(),
            environment=_environment(recipe),
            variables={**_VARIABLES, **variables},
        )
        _ended_well(await self._runner.run(task, cancel))
        collected = place / "collected"
        await asyncio.to_thread(_collect, place / "output", self._limits(), collected)
        return collected

    def _limits(self) -> Limits:
        return Limits(
            memory_bytes=self._settings.memory_bytes,
            cpus=CPUS,
            processes=64,
            seconds=self._settings.seconds,
            output_bytes=self._settings.onnx_bytes + CASES_BYTES + ANSWER_BYTES,
            output_files=16,
            log_bytes=256 * 1024,
        )


def _environment(recipe: Recipe | None) -> Environment:
    """The platform's own, where the exporters are, with the versions a recipe asks for. An image has none of that."""
    requires = recipe.environment.requires if recipe and not recipe.environment.image else {}
    return Environment(requires=requires)  # type: ignore[call-arg]


def _second(
    onnx: Path, asked: Path, made: Exported, wish: Wish
) -> tuple[dict[str, Any], dict[str, Path], dict[str, str]]:
    request = {"opset": wish.opset, "tolerance": wish.tolerance, "framework": made.framework}
    inputs = {f"/work/made/{ONNX}": onnx, f"/work/made/{CASES}": asked / CASES}
    if not (asked / CASES).is_file():
        raise BadInput(detail="it cannot be translated: its code ended without saying what the original answers")
    return request, inputs, {}


def _begin(place: Path, request: dict[str, Any]) -> None:
    (place / "output").mkdir(parents=True)
    (place / "collected").mkdir()
    (place / "request.json").write_text(json.dumps(request))


def _ended_well(ended: Ended) -> None:
    if ended.how == "cancelled":
        raise stopped()
    if ended.how != "exit":
        raise BadInput(detail=f"it cannot be translated: {_bound(ended)}")
    if ended.code != 0:
        raise BadInput(detail=f"it cannot be translated: the program that does it was ended with code {ended.code}")


def stopped() -> Temporary:
    """What whoever waits is told."""
    return Temporary(detail="the translation was stopped with the platform")


def _bound(ended: Ended) -> str:
    """Which bound it passed: ours, not a recipe's."""
    return {
        "memory": "it takes more memory than a translation may use",
        "time": "it takes longer than a translation may",
        "output": "what it gives is too large",
    }.get(ended.how, "it writes too much")


def _collect(output: Path, limits: Limits, into: Path) -> None:
    try:
        collect(output, limits, into)
    except ValueError as error:
        raise BadInput(detail=f"it cannot be translated: {error}") from error


def _answer(place: Path, form: type[F]) -> F:
    """A program's answer in the form it has to have. Raises BadInput."""
    path = place / ANSWER
    try:
        if path.stat().st_size > ANSWER_BYTES:
            raise BadInput(detail="it cannot be translated: what its program says is too long")
        told = json.loads(path.read_bytes())
        if isinstance(told, dict) and "error" in told:
            raise BadInput(detail=f"it cannot be translated: {Failure(**told).error.removesuffix('.')}")
        return form.model_validate(told)
    except FileNotFoundError as error:
        raise BadInput(detail="it cannot be translated: its code ended the program that does it") from error
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise BadInput(detail="it cannot be translated: what its program says has no form we know") from error


def _bounded(parity: Parity) -> None:
    """Raises BadInput: the arrays were not those that are asked (`headrace.inside.cases`), or the figures say nothing."""
    counts = {name: getattr(parity, name) for name in MOST}
    figures = (parity.worst, parity.mean, parity.scale, parity.tolerance)
    over = [f"{count:,} {name}" for name, count in counts.items() if not 0 <= count <= MOST[name]]
    if over or parity.inputs != sum(counts.values()) or not parity.inputs:
        raise BadInput(
            detail=f"it cannot be translated: {', '.join(over) or parity.inputs} inputs are not what is asked"
        )
    if not all(math.isfinite(one) and one >= 0 for one in figures) or parity.worst > parity.tolerance:
        raise BadInput(
            detail="it cannot be translated: how far its answers are apart is no number within the tolerance"
        )


def _unrecorded(parity: Parity) -> Parity:
    """No dataset was there, so no input was recorded: whatever the model's own code gave, it made."""
    return parity.model_copy(update={"real": 0, "made": parity.real + parity.made})


def _plain_graph(path: Path, most: int, framework: str) -> None:
    """Raises BadInput, TooLarge: not an ONNX file that could be run beside others."""
    try:
        size = path.stat().st_size
        if size > most:
            raise TooLarge(what="the ONNX file", size=size, limit=most, setting="TranslationSettings.onnx_bytes")
        if not size:
            raise ValueError("no ONNX model")
        check_apart(path, CLASSIC)
    except FileNotFoundError as error:
        raise BadInput(detail=NO_FILE) from error
    except ValueError as error:
        raise BadInput(
            detail=f"it cannot be translated: it became {error}, which the inference doors do not run; {_FORM[framework]}"
        ) from error


def samples_of(base: str, files: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """Path inside -> file: numbered folders, so that equal names do no harm."""
    return {f"{base}/{number}/{name}": path for number, (name, path) in enumerate(files)}
