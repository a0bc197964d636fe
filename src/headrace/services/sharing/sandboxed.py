"""Looks into files of users by a program in a sandbox, and believes nothing of its answer but its form.

The platform writes a request, runs ``python -m headrace.inside.NAME`` and reads one bounded JSON file; the user's file is
opened inside only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from headrace.assets import Environment, Limits
from headrace.errors import BadInput
from headrace.runners import Ended, Runner, Task
from headrace.settings import MIB, InspectionSettings

PROGRAMS: dict[str, str] = {"dataset": "headrace.inside.statistics", "model": "headrace.inside.metadata"}
INSIDE = "/work/subject"
"""Where the file stands inside: its name is the user's and tells nothing."""
_SPARE = 256 * MIB
"""Memory of the sandbox over what the program allows itself, so that it has room to say why it stops."""
_GRACE = 10.0
"""Seconds likewise."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Failure(_Answer):
    """Nothing was found out."""

    error: str = Field(max_length=2000)


class DatasetAnswer(_Answer):
    """What `headrace.inside.statistics` says."""

    media: Literal["csv", "parquet", "npy", "npz", "images", "other"]
    samples: int | None = Field(ge=0)
    sample_shape: list[int] | None = Field(max_length=64)
    statistics: dict[str, JsonValue]
    error: str = Field("", max_length=2000)
    """Why it could not be measured, though it is known what it is."""


class ModelAnswer(_Answer):
    """What `headrace.inside.metadata` says."""

    framework: str = Field(max_length=100)
    input_shape: list[int] | None = Field(max_length=64)
    output_shape: list[int] | None = Field(max_length=64)
    parameters: int | None = Field(ge=0)
    metadata: dict[str, JsonValue]


class SandboxInspector:
    """One verb: `inspect`."""

    def __init__(self, runner: Runner, folder: Path, settings: InspectionSettings | None = None) -> None:
        """
        Args:
            runner: where the programs run.
            folder: for what they are asked and what they answer; made if it is not there, empty again after each.
        """
        self._runner, self._folder = runner, folder
        self._settings = settings or InspectionSettings()

    async def inspect(self, path: Path, kind: str, media: str = "") -> dict[str, Any]:
        """What a file, or the folder of a model's files, is.

        Args:
            media: of a dataset: csv, parquet, npy, npz, images, other, or "" to find out. Of a model its file name.

        Returns:
            Of a dataset ``media``, ``samples``, ``sample_shape``, ``statistics``, ``error``; of a model ``framework``,
            ``input_shape``, ``output_shape``, ``parameters``, ``metadata``: as `Dataset` and `Model` have them.

        Raises:
            BadInput: it cannot be told; the message says why.
            NoIsolation, WrongEnvironment, StorageUnavailable: as the runner does.
        """
        place = await asyncio.to_thread(self._begin, path, media)
        try:
            log, output = place / "log", place / "output"
            task = Task(
                command=["python", "-m", PROGRAMS[kind]],
                inputs={INSIDE: path, "/work/request.json": place / "request.json"},
                output=output,
                log=log,
                limits=self._limits(),
                environment=Environment(),  # type: ignore[call-arg]
                variables={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
            ended = await self._runner.run(task, asyncio.Event())
            _ended_well(ended)
            raw = await asyncio.to_thread(_bounded, output / "answer.json", self._settings.answer_bytes)
            return _checked(raw, kind)
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def _begin(self, path: Path, media: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=self._folder, prefix="inspect-"))
        (place / "output").mkdir()
        request = {"path": INSIDE, "media": media, "limits": dataclasses.asdict(self._settings)}
        (place / "request.json").write_text(json.dumps(request))
        return place

    def _limits(self) -> Limits:
        return Limits(
            memory_bytes=self._settings.memory_bytes + _SPARE,
            cpus=1,
            processes=32,
            seconds=self._settings.seconds + _GRACE,
            output_bytes=self._settings.answer_bytes + MIB,
            output_files=8,
            log_bytes=64 * 1024,
        )


def _ended_well(ended: Ended) -> None:
    if ended.how != "exit":
        raise BadInput(detail=f"it could not be looked into: {ended.detail or ended.how}")
    if ended.code != 0:
        raise BadInput(detail=f"it could not be looked into: the program that reads it ended with {ended.code}")


def _bounded(path: Path, most: int) -> bytes:
    """The answer, if it is a plain file within its bound; a link is not followed and a pipe not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadInput(detail="it could not be looked into: the program that reads it gave no answer") from error
    try:
        plain = stat.S_ISREG(os.fstat(handle).st_mode)
        raw = _up_to(handle, most + 1) if plain else b""
    finally:
        os.close(handle)
    if not raw or len(raw) > most:
        raise BadInput(detail=f"it could not be looked into: the answer is no file of up to {most:,} bytes")
    return raw


def _up_to(handle: int, most: int) -> bytes:
    parts = bytearray()
    while len(parts) < most and (part := os.read(handle, most - len(parts))):
        parts += part
    return bytes(parts)


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _checked(raw: bytes, kind: str) -> dict[str, Any]:
    """The answer in the form it has to have. Numbers are finite: there is no other JSON, and 1e999 is found out."""
    try:
        plain = json.loads(raw, parse_constant=_constant, parse_float=_finite)
        json.dumps(plain, ensure_ascii=False).encode()  # half a surrogate pair is no text, and in no record
        if isinstance(plain, dict) and set(plain) == {"error"}:
            raise BadInput(detail=Failure(**plain).error or "it could not be looked into")
        answer: BaseModel = DatasetAnswer(**plain) if kind == "dataset" else ModelAnswer(**plain)
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise BadInput(detail="it could not be looked into: the answer does not have the form of one") from error
    return answer.model_dump()


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text} is not finite")
    return value
