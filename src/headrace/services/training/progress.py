"""Progress lines of a running job: ``::progress 0.35 epoch 7 of 20``, heard while it prints."""

from __future__ import annotations

import re

_LINE = re.compile(rb"^::progress[ \t]+(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[ \t]+([^\r\n]*))?\r?$", re.MULTILINE)
LINE = 1000
"""Bytes of a progress line that are read."""
MESSAGE = 500


def newest(text: bytes) -> tuple[float, str] | None:
    """The last progress line in some whole lines: (0 to 1, message).

    >>> newest(b"hello\\n::progress 0.35 epoch 7 of 20\\n::progress x\\n")
    (0.35, 'epoch 7 of 20')
    >>> newest(b"::progress 7\\n"), newest(b"no ::progress 0.5\\n")
    ((1.0, ''), None)
    """
    lines = list(_LINE.finditer(text))
    if not lines:
        return None
    share, message = lines[-1][1], (lines[-1][2] or b"")[:MESSAGE].decode("utf-8", "replace").strip()
    return min(1.0, float(share)), "".join(letter if letter.isprintable() else " " for letter in message)


class Progress:
    """Listens to one run; `Task.heard` is its `hear`."""

    def __init__(self) -> None:
        self._rest = b""
        self.said: tuple[float, str] | None = None
        """The newest progress, if there was any."""
        self.size = 0
        """Bytes heard."""

    def hear(self, data: bytes) -> None:
        """The next piece of what is printed."""
        self.size += len(data)
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[:LINE]
        if newline and b"::progress" in whole:
            self.said = newest(whole) or self.said
