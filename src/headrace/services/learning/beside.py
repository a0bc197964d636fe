"""A user's own explainer, run beside the explainer process: what it is checked with is out of its reach.

In its process it may patch classes, change the model it is shown, interrupt, exit or crash. What comes back are its
contributions alone; the process that asked holds another copy of the model and checks them with that one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, ClassVar

from headrace import states
from headrace.errors import Unexplained
from headrace.models import own_code
from headrace.models.explainers.python import PythonExplainer
from headrace.records import Array
from headrace.services.learning.explaining import raised

LEAVING = 0.5
"""Seconds the process has for leaving once its pipes are closed."""
INSTEAD = "mend the explainer and apply it again"


class Beside:
    """The process, one at a time: a question about another model or another explainer gets a new one."""

    def __init__(self) -> None:
        self._place = b""
        self._process: subprocess.Popen[bytes] | None = None
        self.started = 0
        """Processes started so far."""

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Its answer (`explainer.Kept.answer`). Raises EOFError, with how it ended, if the process does not answer."""
        place = states.pack({**question, "x": None, "baseline": None})
        if place != self._place or self._process is None or self._process.poll() is not None:
            self.close()
            self._place, self._process = place, self._start()
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            data = states.pack(question)
            self._process.stdin.write(len(data).to_bytes(4, "big") + data)
            self._process.stdin.flush()
            answer: dict[str, Any] = states.unpack(_answer(self._process.stdout))
        except BaseException as error:  # nothing may be left in the pipe for the next question
            how = self.close()
            raise EOFError(how) from error
        return answer

    def close(self) -> str:
        """End it; returns how it had ended."""
        process, self._process = self._process, None
        if process is None:
            return ""
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what could not be written any more
                if pipe is not None:
                    pipe.close()
        try:
            code = process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _start(self) -> subprocess.Popen[bytes]:
        self.started += 1
        line = [sys.executable, "-m", "headrace.services.learning.explainer", str(os.getpid())]
        return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def _answer(pipe: IO[bytes]) -> bytes:
    head = pipe.read(4)
    body = pipe.read(int.from_bytes(head, "big")) if len(head) == 4 else b""
    if not body:
        raise EOFError
    return body


class Apart:
    """The user's explainer as the process that checks it sees it."""

    needs: ClassVar[str] = ""
    note: ClassVar[str] = ""

    def __init__(self, question: dict[str, Any], beside: Beside) -> None:
        params = PythonExplainer.Params.model_validate(question["params"])
        self._params, self._question, self._beside = params, question, beside
        self.tolerance, self.method = params.tolerance, f"python {params.file}"
        self._path: Path = PythonExplainer.verify(params, question["folder"])

    def explain(self, x: Array, baseline: Array) -> Array:
        question = {**self._question, "bare": True, "x": x[None], "baseline": baseline[None]}
        try:
            answer = self._beside.ask(question)
        except EOFError as error:
            place = f"{self._params.file}:{own_code.line_of(self._path, self._params.class_, 'explain')}"
            raise Unexplained(detail=f"{place}: it ended its process ({error})", instead=INSTEAD) from error
        if "error" in answer:
            raise raised(answer["error"], answer["fields"])
        contributions: Array = answer["explanations"][0]["contributions"]
        return contributions
