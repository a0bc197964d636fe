"""What a process writes to its standard error: passed on as it comes, and its end kept, for whoever asks why it stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

KEPT = 4096
LONGEST = 300
"""Characters of a reason."""


class Said:
    """The other end of a standard error. Read in a thread: whoever reads ours may be slow, and the platform does not wait."""

    def __init__(self) -> None:
        self._source, self.into = os.pipe()
        self._tail = b""
        self._thread = threading.Thread(target=self._pass_on, name="worker-stderr", daemon=True)
        self._thread.start()

    def begun(self) -> None:
        """The process has its end: ours is closed."""
        os.close(self.into)

    def last(self) -> str:
        """Its last line with something in it, once it has ended. Blocks, at most a second: a grandchild may hold the pipe."""
        self._thread.join(1.0)
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines()]
        return next((line[:LONGEST] for line in reversed(lines) if line), "")

    def _pass_on(self) -> None:
        with contextlib.closing(_File(self._source)) as source:
            for data in source:
                self._tail = (self._tail + data)[-KEPT:]
                with contextlib.suppress(OSError):
                    os.write(2, data)


class _File:
    def __init__(self, number: int) -> None:
        self._number = number

    def __iter__(self) -> Iterator[bytes]:
        while data := os.read(self._number, KEPT):
            yield data

    def close(self) -> None:
        os.close(self._number)


def ending(code: int, last: str) -> str:
    """How a process ended, in a few words.

    >>> ending(3, "no such plant"), ending(-9, ""), ending(0, "")
    ('exit code 3: no such plant', 'killed by SIGKILL', 'exit code 0')
    """
    how = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"killed by {signal.Signals(-code).name}"
    return f"{how}: {last}" if last else how
