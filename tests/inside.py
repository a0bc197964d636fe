"""Looking into files as the platform does, without a sandbox around it: for tests of what is said of them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from headrace.assets import Environment, Limits
from headrace.runners import Ended, Task
from headrace.settings import InspectionSettings
from tests.running import scrubbed


def program(name: str, path: Path, folder: Path, media: str = "", **limits: Any) -> dict[str, Any]:
    """The answer of ``python -m headrace.inside.NAME``, in a process of its own; its bytes are in `folder`."""
    settings = dataclasses.replace(InspectionSettings(), **limits)
    request = {"path": str(path), "media": media, "limits": dataclasses.asdict(settings)}
    (folder / "request.json").write_text(json.dumps(request))
    places = ["--request", str(folder / "request.json"), "--answer", str(folder / "answer.json")]
    line = [sys.executable, "-m", f"headrace.inside.{name}", *places]
    done = subprocess.run(line, capture_output=True, text=True, env=scrubbed(), timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return found


class Unprotected:
    """A runner without isolation: it runs a task's program on the files where they are."""

    def check(self, environment: Environment) -> None:
        """Anything goes."""

    def describe(self, environment: Environment, limits: Limits) -> dict[str, Any]:
        """Nothing."""
        return {}

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        """The program with the paths of its request as they are outside."""
        request = json.loads(task.inputs["/work/request.json"].read_text())
        request["path"] = str(task.inputs[request["path"]])
        moved = task.output.parent / "moved.json"
        moved.write_text(json.dumps(request))
        line = [
            sys.executable,
            *task.command[1:],
            "--request",
            str(moved),
            "--answer",
            str(task.output / "answer.json"),
        ]
        done = await asyncio.to_thread(
            subprocess.run, line, capture_output=True, env=scrubbed() | dict(task.variables), timeout=60, check=False
        )
        return Ended("exit", done.returncode, 0.0, None)
