"""A code archive, opened inside the sandbox: whether it is safe, has its entry point, and what parameters it declares."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.assets import Environment, Limits
from headrace.errors import BadArchive, BadInput
from headrace.runners import Runner, Task
from headrace.services.training.outputs import read_small
from headrace.services.training.parameters import Parameter
from headrace.settings import MIB, TrainingSettings

ANSWER_BYTES = MIB


class Examined(BaseModel):
    """What was found. Strings come from inside: for people, cut to size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: list[str] = Field(max_length=1000)
    parameters: dict[str, Parameter] | None = Field(max_length=1000)


async def examine(
    runner: Runner,
    archive: Path,
    entry_point: str,
    folder: Path,
    settings: TrainingSettings,
    keep: bool = False,
    cancel: asyncio.Event | None = None,
) -> Examined:
    """Have an archive unpacked and looked at.

    Args:
        folder: an empty one of ours; with `keep` the code is in ``code`` of its ``output``.

    Raises:
        BadArchive: the looking itself failed: too large, too many files, too slow.
        NoIsolation, StorageUnavailable.
    """
    output, request = folder / "output", folder / "request.json"
    output.mkdir()
    asked = {"archive": "/work/archive", "entry_point": entry_point, "keep": keep}
    bounds = {"bytes": settings.code_bytes, "files": settings.code_files}
    request.write_text(json.dumps(asked | bounds))
    task = Task(
        command=["python", "-m", "headrace.inside.recipe"],
        inputs={"/work/archive": archive, "/work/request.json": request},
        output=output,
        log=folder / "log",
        limits=_limits(settings),
        environment=Environment(),  # type: ignore[call-arg]
    )
    ended = await runner.run(task, cancel or asyncio.Event())
    if ended.how != "exit" or ended.code != 0:
        raise BadArchive(detail=ended.detail or f"unpacking it ended with code {ended.code}")
    return _read(output)


def _limits(settings: TrainingSettings) -> Limits:
    return Limits(
        memory_bytes=1024 * MIB,
        cpus=1,
        processes=16,
        seconds=120,
        output_bytes=settings.code_bytes + ANSWER_BYTES,
        output_files=2 * settings.code_files + 1,
        log_bytes=64 * 1024,
    )


def _read(output: Path) -> Examined:
    try:
        return Examined.model_validate_json(read_small(output / "answer.json", ANSWER_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(str(part) for part in first["loc"][1:3])
        raise BadInput(detail=f"headrace-recipe.yaml: {where}: {first['msg']}"[:500]) from error
    except FileNotFoundError as error:
        raise BadArchive(detail="nothing was found out about it") from error
