"""Acknowledged messages a second through the MQTT door: its own process, publishers in another, log fsynced.

python benchmarks/door.py --messages 1000000 --connections 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from headrace.services.gateway.mqtt import Core, MqttDoor
from headrace.services.gateway.mqtt.publisher import publish_all
from headrace.settings import MqttSettings

PAYLOAD = b'{"time":1764000000123456789,"power":1234.5,"voltage":229.8,"current":5.4,"n":1}'


def make_log(kind: str, path: Path) -> Any:
    """The log to measure with: the platform's, or a test double while that is missing."""
    if kind == "none":
        return _Nothing()
    if kind == "sqlite" and find_spec("headrace.streams.logs.sqlite"):
        from headrace.streams.logs.sqlite import SqliteLog

        return SqliteLog(path)
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from mqtt_support import SqliteDouble

    return SqliteDouble(path)


class _Nothing:
    """Acknowledges without storing: what the door alone costs."""

    def submit(self, entries: Any, done: Any) -> None:
        done(None)


def serve(pipe: Connection, kind: str, path: str) -> None:
    async def main() -> None:
        log = make_log(kind, Path(path))
        async with MqttDoor(Core(MqttSettings(port=0), log)) as door:
            pipe.send((door.port, type(log).__name__))
            before = resource.getrusage(resource.RUSAGE_SELF)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            pipe.send({"cpu": cpu, "stats": door.core.stats()})

    uvloop.run(main())


async def drive(port: int, options: argparse.Namespace) -> float:
    """Seconds until everything is acknowledged."""
    share = options.messages // options.connections
    message = PAYLOAD[: options.size].ljust(options.size, b" ")
    topics = [f"plant/site{n % 10}/device{n}" for n in range(options.topics)]

    def messages() -> Any:
        for n in range(share):
            yield topics[n % len(topics)], message

    started = time.perf_counter()
    done = await asyncio.gather(
        *(publish_all("127.0.0.1", port, messages(), window=options.window) for _ in range(options.connections))
    )
    assert sum(done) == share * options.connections
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=500_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--size", type=int, default=80)
    parser.add_argument("--topics", type=int, default=100)
    parser.add_argument("--log", choices=("sqlite", "double", "none"), default="sqlite")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as path:
        server = context.Process(target=serve, args=(theirs, options.log, path))
        server.start()
        port, name = ours.recv()
        seconds = uvloop.run(drive(port, options))
        ours.send(None)
        result = ours.recv()
        server.join()
    print(
        json.dumps(
            {
                "acknowledged_per_second": round(options.messages / seconds),
                "door_cpu_us_per_message": round(result["cpu"] / options.messages * 1e6, 2),
                "messages": result["stats"]["acknowledged"],
                "connections": options.connections,
                "window": options.window,
                "log": name,
            }
        )
    )


if __name__ == "__main__":
    main()
