"""Progress lines of a running job: ``::progress 0.35 epoch 7 of 20``, read from the end of its growing log."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(rb"^::progress[ \t]+(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[ \t]+([^\r\n]*))?\r?$", re.MULTILINE)
PIECE = 2**20
"""Bytes read at one look: of a log that grows faster only the newest part counts."""
LINE = 500
"""Bytes of a progress message."""


def newest(text: bytes) -> tuple[float, str] | None:
    """The last progress line in a piece of log: (0 to 1, message).

    >>> newest(b"hello\\n::progress 0.35 epoch 7 of 20\\n::progress x\\n")
    (0.35, 'epoch 7 of 20')
    >>> newest(b"::progress 7\\n"), newest(b"no ::progress 0.5\\n")
    ((1.0, ''), None)
    """
    found = None
    for found in _LINE.finditer(text):
        pass
    if found is None:
        return None
    message = (found[2] or b"")[:LINE].decode("utf-8", "replace").strip()
    return min(1.0, float(found[1])), "".join(letter if letter.isprintable() else " " for letter in message)


class Progress:
    """Follows one log file."""

    def __init__(self, log: Path) -> None:
        self._log, self._offset, self._rest = log, 0, b""
        self.size = 0

    def look(self) -> tuple[float, str] | None:
        """What has been said since the last look, if anything."""
        try:
            with self._log.open("rb") as file:
                self.size = file.seek(0, 2)
                skipped = self.size - self._offset > PIECE
                file.seek(self.size - PIECE if skipped else self._offset)
                text = (b"" if skipped else self._rest) + file.read(PIECE)
        except FileNotFoundError:
            return None
        self._offset = self.size
        whole, _, self._rest = text.rpartition(b"\n")
        self._rest = self._rest[: 2 * LINE]
        return newest(whole)
