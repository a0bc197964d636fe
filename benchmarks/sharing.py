"""Large content: taken in with both hashes, against copying the same file with fsync; given out, against reading it.

    python -m benchmarks.sharing [--megabytes 1024] [--rounds 3] [--folder FOLDER]

Over HTTP the server and the client are processes of their own. The last line printed is a JSON object. A whole run calls
`measure` once a round.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from benchmarks import processes, report
from benchmarks.figures import Ratio
from benchmarks.report import Run, judge, number

MIB = 2**20
PIECE = 256 * 1024
"""Bytes the store is handed at a time: what uvicorn passes on when it is busy."""
SMALL = 40
"""Contents of 1 MiB a round."""
GOALS = tuple(goal for goal in report.GOALS if goal.section == "sharing")
_BOUNDARY = "headrace-benchmark"


def measure(run: Run, folder: Path | None = None, megabytes: int = 1024) -> None:
    """One round of everything."""
    with tempfile.TemporaryDirectory(prefix="bench-sharing-", dir=folder) as name:
        place = Path(name)
        source = _made(place / "source", megabytes)
        _large(run, place, source)
        _http(run, place, source)
        for kind, milliseconds in uvloop.run(_small(place)).items():
            run.add(f"sharing.small.{kind}_ms", milliseconds)


def _made(path: Path, megabytes: int) -> Path:
    """A file of random bytes, in the page cache and on the disk."""
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    return path


@contextlib.contextmanager
def timed(run: Run, name: str, size: int) -> Iterator[None]:
    """Adds MB/s and processor seconds of the block; the disk is quiet before it."""
    os.sync()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    yield
    seconds = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    run.add(f"sharing.{name}.mb_s", size / seconds / 1e6)
    run.add(f"sharing.{name}.cpu_s", after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)


def _large(run: Run, place: Path, source: Path) -> None:
    """The copy and the store, in turns; then reading back, warm and cold."""
    size = source.stat().st_size
    copy = place / "copy"
    for _ in range(2):  # the first finds memory the machine has not used for long
        copy.unlink(missing_ok=True)
        with contextlib.ExitStack() as last:
            last.enter_context(timed(run if _ else Run({}), "copy", size))
            with source.open("rb") as reader, copy.open("wb", buffering=0) as writer:
                shutil.copyfileobj(reader, writer, MIB)
                os.fsync(writer.fileno())
    copy.unlink()
    uvloop.run(_stored(run, place, source, size))


async def _stored(run: Run, place: Path, source: Path, size: int) -> None:
    from headrace.stores.artifacts.files import FileArtifacts

    store = FileArtifacts(place / "store")
    with timed(run, "store", size):
        incoming = await store.receive("bench", "up_1")
        with source.open("rb", buffering=0) as file:
            while piece := file.read(PIECE):
                await incoming.write(piece)
        found = await incoming.finish()
    path = next((place / "store" / "bench" / "contents").glob(found.sha256[7:]))
    for each in (Run({}), run):  # the first finds memory the machine has not used for long
        _cold(path)
        with timed(each, "read", size), path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass
    _cold(path)
    with timed(run, "checked", size):
        async for _ in store.read("bench", found):
            pass
    await store.delete("bench", found.sha256)


def _cold(path: Path) -> None:
    """Out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def _small(place: Path) -> dict[str, float]:
    """Milliseconds (median) for 1 MiB and one row, both ways in turns."""
    from headrace.disk import write_whole
    from headrace.stores.artifacts.files import FileArtifacts

    db = sqlite3.connect(place / "rows.db", isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE assets (id TEXT, name TEXT)")
    store, found = FileArtifacts(place / "small"), {"file": [0.0], "store": [0.0]}

    async def through_store(data: bytes, n: int) -> None:
        incoming = await store.receive("bench", f"up_{n}")
        await incoming.write(data)
        await incoming.finish()

    async def to_file(data: bytes, n: int) -> None:
        write_whole(place / f"file-{n}", data)

    ways: dict[str, Callable[[bytes, int], Awaitable[None]]] = {"file": to_file, "store": through_store}
    for n in range(SMALL):
        for kind, way in ways.items():
            data = os.urandom(MIB)
            begin = time.perf_counter()
            await way(data, n)
            db.execute("INSERT INTO assets VALUES (?, ?)", (f"{kind}-{n}", "name"))
            found[kind].append((time.perf_counter() - begin) * 1e3)
    db.close()
    return {kind: median(values[3:]) for kind, values in found.items()}


def _http(run: Run, place: Path, source: Path) -> None:
    """A form with the file to a server of its own, and the content back."""
    size, port = source.stat().st_size, processes.free_port()
    command = [sys.executable, "-m", "benchmarks.sharing", "--serve", str(place / "served"), "--port", str(port)]
    with processes.running(command) as server:
        processes.wait(lambda: processes.listening(port), server, "the server")
        os.sync()
        begin = time.perf_counter()
        known = _sent(port, source, size)
        run.add("sharing.http.mb_s", size / (time.perf_counter() - begin) / 1e6)
        run.add("sharing.http.server_cpu_s", processes.cpu_seconds({"server": server.pid})["server"])
        begin = time.perf_counter()
        got = _fetched(port, known)
        run.add("sharing.http_checked.mb_s", size / (time.perf_counter() - begin) / 1e6)
    if got != size:
        raise RuntimeError(f"{got} of {size} bytes came back")


def _sent(port: int, source: Path, size: int) -> dict[str, Any]:
    head = _part("metadata") + b"{}\r\n" + _part("file", '; filename="source"')
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    line.putrequest("POST", "/")
    line.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
    line.putheader("Content-Length", str(len(head) + size + len(tail)))
    line.endheaders()
    line.send(head)
    with source.open("rb") as file:
        line.sock.sendfile(file)
    line.send(tail)
    answer = line.getresponse()
    found: dict[str, Any] = json.loads(answer.read())
    line.close()
    if answer.status != 200:
        raise RuntimeError(f"the upload was refused: {found}")
    return found


def _part(name: str, more: str = "") -> bytes:
    return f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()


def _fetched(port: int, known: dict[str, Any]) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    line.request("GET", "/?" + json.dumps(known).replace(" ", ""))
    answer, buffer, got = line.getresponse(), bytearray(MIB), 0
    while count := answer.readinto(buffer):
        got += count
    line.close()
    return got


def serve(folder: Path, port: int) -> None:
    """The doors under test and nothing else."""
    import uvicorn

    from headrace.assets import Stored
    from headrace.services.http import Receive, Send, answer_json
    from headrace.services.sharing.downloads import Download
    from headrace.services.sharing.multipart import take_in
    from headrace.stores.artifacts.files import FileArtifacts

    store = FileArtifacts(folder)

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            taken = await take_in(scope, receive, store, "bench", lambda raw, part: raw)
            await answer_json(send, taken.stored.model_dump())
        else:
            known = Stored.model_validate_json(scope["query_string"])
            read = Download(known, lambda start, stop: store.read("bench", known, start, stop), "source")
            await read(scope, receive, send)

    uvicorn.run(app, port=port, log_level="warning", loop="uvloop", http="httptools", lifespan="off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="MiB of the large file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where; the disk that is measured")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.port)
        return
    run = Run({})
    for _ in range(options.rounds):
        measure(run, options.folder, options.megabytes)
    for name, values in sorted(run.samples.items()):
        print(f"{name:32} {', '.join(map(number, values))}")
    for name in ("store", "http"):
        found = Ratio.of(run.samples[f"sharing.{name}.mb_s"], run.samples["sharing.copy.mb_s"])
        print(f"{name} / copy: {number(found.median)} ({number(found.low)} to {number(found.high)})")
    for goal in GOALS:
        print(f"{judge(goal, run.samples).word:12} {goal.text}")
    print(json.dumps(run.samples))


if __name__ == "__main__":
    main()
