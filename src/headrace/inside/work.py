"""What every program in here shares: a request read, an answer written, and bounds kept by the program itself.

The sandbox keeps its own bounds around these; those here exist so that whoever waits gets a reason instead of a corpse.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from headrace.errors import BadInput
from headrace.inside.place import WORK, led
from headrace.settings import MIB, InspectionSettings

REQUEST, ANSWER = WORK / "request.json", WORK / "output" / "answer.json"
DIGITS = 12
"""Significant digits of figures that are sums: what is left of a double after a billion additions, on any processor."""
_EXTRAS = {
    "duckdb": "evaluate",
    "pandas": "evaluate",
    "PIL": "evaluate",
    "h5py": "keras",
    "onnx": "torch",
    "google": "torch",
}
"""library -> extra of Headrace it comes with"""
Inspect = Callable[[Path, str, InspectionSettings], dict[str, Any]]


class OutOfTime(Exception):
    """The alarm rang."""


def main(inspect: Inspect) -> None:
    """Run one program: ``{"path", "media", "limits"}`` in the request, what was found or ``{"error"}`` in the answer."""
    parser = argparse.ArgumentParser(description="Reads a request, looks into a file, writes an answer.")
    parser.add_argument("--request", type=Path, default=REQUEST)
    parser.add_argument("--answer", type=Path, default=ANSWER)
    asked = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[variable] = "1"  # before numpy is loaded: one thread adds up in one order
    request = json.loads(asked.request.read_bytes())
    limits = InspectionSettings(**request["limits"])
    answer = encoded(_bounded(inspect, led(request["path"]), request["media"], limits))
    if len(answer) > limits.answer_bytes:
        answer = encoded(
            {"error": f"what is known of it takes {len(answer):,} bytes; {limits.answer_bytes:,} are the most"}
        )
    asked.answer.write_bytes(answer)


def _bounded(inspect: Inspect, path: Path, media: str, limits: InspectionSettings) -> dict[str, Any]:
    """What was found, or why nothing was, in one sentence."""
    alarm = Alarm()
    try:
        with alarm.set(limits.seconds):
            _cap_memory(limits.memory_bytes)
            return inspect(path, media, limits)
    except Exception as error:  # a hostile file finds what libraries forgot to catch
        found = OutOfTime() if alarm.rang else error  # some libraries make another error of an alarm
        return {"error": _why(found, limits).replace(str(path), "the file")}


def _why(error: Exception, limits: InspectionSettings) -> str:
    match error:
        case BadInput():
            return str(error)
        case ModuleNotFoundError():
            wanted = f": pip install 'headrace[{_EXTRAS[error.name]}]'" if error.name in _EXTRAS else ""
            return f"the library that reads such files is not installed ({error.name}){wanted}"
        case OutOfTime():
            return f"looking into it took more than {limits.seconds:g} seconds"
        case MemoryError():
            return f"looking into it takes more than {limits.memory_bytes // MIB:,} MiB of memory"
        case RecursionError():
            return "it is nested too deep"
    return f"it cannot be read: {reason(error)}"


def reason(error: BaseException) -> str:
    """The first line of what a library said, without the path of the file."""
    first = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return first[:200].rstrip(".")


class Alarm:
    """Ends what runs when its time is over."""

    rang = False

    @contextlib.contextmanager
    def set(self, seconds: float) -> Iterator[None]:
        """Raises OutOfTime inside after that time."""
        before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        self.rang = True
        raise OutOfTime


def _cap_memory(size: int) -> None:
    """Make allocations fail above a size, so that they can be answered for. RLIMIT_DATA counts private memory only: a
    mapped file of any size is none."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def encoded(answer: dict[str, Any]) -> bytes:
    """JSON, the same bytes for the same answer; numbers that JSON does not have are null."""
    return json.dumps(_plain(answer), allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(str(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # lone surrogates are no JSON
    return value


def rounded(value: float) -> float:
    """A sum to `DIGITS` significant digits.

    >>> rounded(0.1 + 0.2)
    0.3
    """
    return float(f"{value:.{DIGITS}g}")
