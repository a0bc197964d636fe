"""A log in memory: a real member of the family for tests and short-lived embedding; nothing survives the process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from zlib import crc32

from headrace.records import Entry, Record
from headrace.streams.logs import Done, Messages


class MemoryLog:
    """Keeps records in a list; `submit` is done at once."""

    on_commit: Callable[[], None] | None = None

    def __init__(self, path: Path | None = None, partitions: int = 1, clock: Callable[[], int] = time.time_ns) -> None:
        self._records: list[Record] = []
        self._ends: Counter[tuple[str, int]] = Counter()
        self._position = 0
        self._partitions = partitions
        self._clock = clock

    def submit(self, entries: Sequence[Entry], done: Done) -> None:
        now = self._clock()
        for stream, payload, key, headers, event in entries:
            part = crc32(key.encode()) % self._partitions if key else 0
            self._position += 1
            place = (stream, part)
            self._records.append(
                Record(self._position, stream, part, self._ends[place], key, now, event, headers, payload)
            )
            self._ends[place] += 1
            now += 1
        done(None)
        if self.on_commit is not None:
            self.on_commit()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.submit(entries, lambda error: None)

    def read(self, after: int, limit: int, streams: Collection[str] | None = None) -> list[Record]:
        wanted = (r for r in self._records if r.position > after and (streams is None or r.stream in streams))
        return [record for _, record in zip(range(limit), wanted, strict=False)]

    def messages(self, after: int, limit: int) -> Messages | None:
        found = self.read(after, limit)
        if any(record.headers or record.time for record in found):
            return None
        topics, received = [record.stream for record in found], [record.received for record in found]
        last, payloads = found[-1].position if found else after, [record.payload for record in found]
        return Messages(last, topics, received, payloads, list(dict.fromkeys(topics)))

    def last(self, stream: str, count: int, size: int = 2**62) -> list[Record]:
        found: list[Record] = []
        for record in reversed([record for record in self._records if record.stream == stream][-count:]):
            size -= len(record.payload)
            if size < 0 and found:
                break
            found.append(record)
        return found[::-1]

    def at(self, stream: str, partition: int, offset: int, limit: int) -> list[Record]:
        found = [r for r in self._records if r.stream == stream and r.partition == partition and r.offset >= offset]
        return found[:limit]

    def start(self) -> int:
        return self._records[0].position if self._records else 0

    def end(self) -> int:
        return self._position

    async def trim(self, before: int) -> int:
        kept = [r for r in self._records if r.position >= min(before, self._position)]
        removed = len(self._records) - len(kept)
        self._records = kept
        return removed

    def size(self) -> int:
        return sum(len(record.payload) + len(record.headers) for record in self._records)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        """Nothing to let go of."""
