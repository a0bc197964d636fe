"""What a worker says: frames of a length of four bytes and MessagePack (`worker.Event`), read as fast as it may speak."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import msgspec

from headrace.services.learning.pace import FREE, Pace
from headrace.services.learning.worker import Event

READ = 2**18
FRAME = 2**25
"""Bytes of one report. The largest honest one carries `worker.REPORT` of predictions; a longer one ends the worker."""
SMALL = 2**16
"""Bytes of one that carries none."""
_decode = msgspec.msgpack.Decoder(Event).decode


class Frames:
    """What a worker says, from the bytes of its output; ends with `done`, and then `wrong` says what was wrong with it."""

    def __init__(self, source: socket.socket, report: Callable[[Event], None], pace: Pace = FREE) -> None:
        self.done = asyncio.Event()
        self.wrong = ""
        self._source, self._report, self._pace = source, report, pace
        self._rest = bytearray()
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        source.setblocking(False)
        self._loop.add_reader(source, self._readable)

    def _readable(self) -> None:
        try:
            more = self._hear()
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.wrong = f"its worker said what no worker says ({error})"
            self.close()
            return
        if self.done.is_set():
            return
        if (pause := self._pace.pause()) or more:
            self._rest_for(pause)

    def _hear(self) -> bool:
        """Read and hear some of it; whether there is more. Raises ValueError, MsgspecError, RecursionError."""
        if not self._whole(0):
            try:
                data = self._source.recv(READ)
            except BlockingIOError:
                return False
            except ConnectionError:
                data = b""
            if not data:
                self.close()
                return False
            self._rest += data
        return self._take()

    def _rest_for(self, seconds: float) -> None:
        """Read nothing for a while: what it says meanwhile waits with it."""
        self._loop.remove_reader(self._source)
        self._resting = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        self._loop.add_reader(self._source, self._readable)
        if len(self._rest) >= 4:
            self._readable()

    def _whole(self, start: int) -> int:
        """Bytes of the frame that begins there, once it is there whole; else 0. Raises ValueError."""
        rest = self._rest
        if len(rest) - start < 4:
            return 0
        size = int.from_bytes(rest[start : start + 4], "big")
        if size > FRAME:
            raise ValueError(f"a report of {size:,} bytes, and {FRAME:,} may be")
        return 4 + size if len(rest) - start >= 4 + size else 0

    def _take(self) -> bool:
        """Hear what is there, as much as there is time for; whether there is more."""
        start = 0
        try:
            while size := self._whole(start):
                if self._pace.enough():
                    return True
                begin = time.monotonic()
                event = _decode(memoryview(self._rest)[start + 4 : start + size])
                start += size
                if size > SMALL and event.runs is None:
                    raise ValueError(f"a report of {size:,} bytes without predictions")
                self._report(event)
                self._pace.heard(time.monotonic() - begin, idle=not event.model)
            return False
        finally:
            del self._rest[:start]

    def close(self) -> None:
        """Read no more."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._loop.remove_reader(self._source)
        self._source.close()
        self.done.set()
