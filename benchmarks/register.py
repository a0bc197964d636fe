"""What a registration of 1 MiB costs, against the least it could: one atomic file write and one SQLite FULL insert.

    python -m benchmarks.register --count 200

Both are done in turn, in the same folder; HTTP is left out on both sides. The registration writes the record, the line of the
audit log and the promise to look into the file in its one transaction; the promise is kept before the next turn, outside of
what is timed. The event loop is the platform's. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.figures import summary
from headrace.access import Principal
from headrace.assets import new_id
from headrace.disk import open_file, write_whole
from headrace.services.sharing.requests import NewDataset
from headrace.services.sharing.service import SharingService
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.database import PRAGMAS, open_database, sqlite_url

SIZE = 2**20
RECORD = "x" * 700
"""About as long as the record of a dataset."""


class Blind:
    """An inspector that finds nothing."""

    async def inspect(self, path: Path, kind: str, media: str) -> dict[str, Any]:
        return {}


def least(db: sqlite3.Connection, folder: Path, data: bytes, index: int) -> None:
    """The file and the row, each on the disk when this returns."""
    write_whole(folder / f"{index}", data)
    db.execute("INSERT INTO records VALUES (?, ?)", (f"ds_{index}", RECORD))


async def registration(hub: SharingService, who: Principal, data: bytes) -> None:
    """An upload that came, and its record."""
    incoming = await hub.artifacts.receive(who.company, new_id("up"))
    await incoming.write(data)
    await hub.register.dataset(who, NewDataset(name="bench"), "bench.csv", incoming.finish)


async def compare(folder: Path, count: int) -> dict[str, object]:
    """Seconds of both, in turn, and how their medians compare."""
    (folder / "least").mkdir()
    db = open_file(folder / "least.db", "CREATE TABLE records (id TEXT PRIMARY KEY, record TEXT)", *PRAGMAS)
    engine = open_database(sqlite_url(folder / "hub.db"), "headrace.services.sharing")
    who = Principal("acme", "ann", "user", frozenset({"developer"}))
    first: list[float] = []
    second: list[float] = []
    artifacts = FileArtifacts(folder / "artifacts")
    async with SharingService(engine, artifacts, Blind(), scratch=folder / "scratch") as hub:
        for index in range(count + 5):
            one, two = os.urandom(SIZE), os.urandom(SIZE)
            start = time.perf_counter()
            least(db, folder / "least", one, index)
            middle = time.perf_counter()
            await registration(hub, who, two)
            end = time.perf_counter()
            await hub.settled()
            if index >= 5:
                first.append(middle - start)
                second.append(end - middle)
    engine.dispose()
    db.close()
    ratio = sorted(second)[count // 2] / sorted(first)[count // 2]
    return {
        "count": count,
        "least": summary(first),
        "registration": summary(second),
        "ratio of medians": round(ratio, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where; on the disk the platform will use")
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(uvloop.run(compare(Path(folder), options.count))))


if __name__ == "__main__":
    main()
