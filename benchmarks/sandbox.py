"""What a sandbox adds to a job: the same small program bare and under each runner. ``python -m benchmarks.sandbox``."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headrace.assets import Environment, Limits
from headrace.errors import HeadraceError
from headrace.runners import RUNNERS, Runner, Task

PROGRAM = "open('output/x', 'w').write('x')"
"""Also what a job's Python costs to start is in both."""


def main() -> None:
    """Interleaved rounds; medians, and the spread, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--image", default="", help="image for the container runner, by digest")
    given = parser.parse_args()
    environments = {
        "local": Environment.model_validate({}),
        "container": Environment.model_validate({"image": given.image}),
    }
    runners = {name: RUNNERS.find(name)() for name in environments if name == "local" or given.image}
    print(json.dumps(asyncio.run(measure(runners, environments, given.rounds))))


async def measure(runners: dict[str, Runner], environments: dict[str, Environment], rounds: int) -> dict[str, object]:
    """Seconds of each, one after the other in every round."""
    for name, runner in runners.items():
        try:
            runner.check(environments[name])  # once a process, not once a job
        except HeadraceError as error:
            sys.exit(str(error))
    taken: dict[str, list[float]] = {"bare": [], **{name: [] for name in runners}}
    for _ in range(rounds):
        taken["bare"].append(bare())
        for name, runner in runners.items():
            taken[name].append(await sandboxed(runner, environments[name]))
    middle = statistics.median(taken["bare"])
    return {
        "rounds": rounds,
        "limits_by": {
            n: r.describe(environments[n], Limits.model_validate({}))["limits_by"] for n, r in runners.items()
        },
        **{name: figures(seconds, middle) for name, seconds in taken.items()},
    }


def bare() -> float:
    """The program without anything around it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "output").mkdir()
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, check=True)
        return time.perf_counter() - began


async def sandboxed(runner: Runner, environment: Environment) -> float:
    """The same as a task, its output copied out."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        output.mkdir()
        task = Task(["python", "-c", PROGRAM], {}, output, Path(folder) / "log", Limits.model_validate({}), environment)
        began = time.perf_counter()
        ended = await runner.run(task, asyncio.Event())
        seconds = time.perf_counter() - began
        assert ended.code == 0 and (output / "x").exists(), ended
        return seconds


def figures(seconds: list[float], bare: float) -> dict[str, float]:
    """Median, range, and what it is more than bare."""
    middle = statistics.median(seconds)
    return {
        "median_s": round(middle, 4),
        "least_s": round(min(seconds), 4),
        "most_s": round(max(seconds), 4),
        "added_s": round(middle - bare, 4),
        "ratio": round(middle / bare, 2),
    }


if __name__ == "__main__":
    main()
