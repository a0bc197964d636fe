"""How far the weights of a second run in another environment are from the recorded ones: their files are read in the sandbox."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path

from headrace.assets import Environment, Limits
from headrace.errors import BadInput
from headrace.runners import Runner, Task
from headrace.services.training.outputs import read_small
from headrace.settings import MIB

LIMITS = Limits(
    memory_bytes=2048 * MIB, cpus=1, processes=16, seconds=120, output_bytes=MIB, output_files=4, log_bytes=64 * 1024
)


async def apart(runner: Runner, recorded: Mapping[str, Path], made: Path, folder: Path) -> float | None:
    """Largest difference of a value, as a part of the largest recorded one in its array; None: they cannot be compared so.

    Args:
        recorded: path among the model's files -> where it is; those that differ.
        made: the second run's folder.
        folder: one of ours, to be made.

    Raises NoIsolation, StorageUnavailable.
    """
    if not recorded or any(not (made / name).is_file() for name in recorded):
        return None
    output, request = folder / "output", folder / "request.json"
    output.mkdir(parents=True)
    request.write_text(json.dumps({"files": sorted(recorded)}))
    inputs = {"/work/request.json": request}
    for name, path in recorded.items():
        inputs |= {f"/work/recorded/{name}": path, f"/work/made/{name}": made / name}
    task = Task(
        command=["python", "-m", "headrace.inside.closeness"],
        inputs=inputs,
        output=output,
        log=folder / "log",
        limits=LIMITS,
        environment=Environment(),  # type: ignore[call-arg]
    )
    ended = await runner.run(task, asyncio.Event())
    if ended.how != "exit" or ended.code != 0:
        return None
    return await asyncio.to_thread(_read, output / "answer.json")


def _read(path: Path) -> float | None:
    """What came from inside."""
    try:
        found = json.loads(read_small(path, 4096))
        worst = found.get("worst") if isinstance(found, dict) else None
    except (BadInput, ValueError, OSError):
        return None
    return float(worst) if isinstance(worst, int | float) and math.isfinite(worst) and worst >= 0 else None
