"""The MQTT load, in a process of its own: 80-byte readings at QoS 1, answers counted on the output topic.

    python -m benchmarks.load acks    --port P --count 300000               acknowledged readings a second
    python -m benchmarks.load stream  --port P --output T --count 300000    answered readings a second
    python -m benchmarks.load latency --port P --output T --rate 200        from a reading to its answer
    python -m benchmarks.load puback  --port P --rate 200                   from a reading to its PUBACK

Packets are made before the clock starts and acknowledgements counted by their length, so that the generator takes
little of the cores it shares with what it measures. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import resource
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from benchmarks import wire
from benchmarks.figures import Match, latencies, summary

SIZE = 80
START_MS = 1_700_000_000_000
_IDS = 65_535


def reading(index: int, step_ms: int, noise: random.Random) -> bytes:
    """One reading of 80 bytes, named by its `ts`: a slow wave with noise, always within (0, 1)."""
    value = 0.5 + 0.4 * math.sin(index / 50) + noise.uniform(-0.09, 0.09)
    stamp = START_MS + index * step_ms
    return b'{"ts":%d,"device":"bench-1","value":%.6f,"temp":21.53,"hum":44.2}' % (stamp, value)


def made(topic: str, count: int, step_ms: int, first: int = 0) -> list[bytes]:
    """The packets of `count` readings from the one numbered `first` on."""
    noise = random.Random(7 + first)
    numbers = range(first, first + count)
    return [wire.publish(topic, index % _IDS + 1, reading(index, step_ms, noise)) for index in numbers]


class Link(asyncio.Protocol):
    """One MQTT connection; `received` looks at what came after the CONNACK and says how many bytes it is done with."""

    def __init__(self, received: Callable[[bytearray], int]) -> None:
        self.received, self.buffer = received, bytearray()
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, port: int, client: str, received: Callable[[bytearray], int]) -> Link:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: cls(received), "127.0.0.1", port)
        link.transport.write(wire.connect(f"{client}-{os.getpid()}"))
        await asyncio.wait_for(link.connected, 10)
        return link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.connected.done():
            if len(self.buffer) < 4:
                return
            if self.buffer[0] >> 4 != wire.CONNACK or self.buffer[3]:
                raise ConnectionRefusedError(f"CONNECT was answered {bytes(self.buffer[:4]).hex()}")
            del self.buffer[:4]
            self.connected.set_result(None)
        del self.buffer[: self.received(self.buffer)]

    def connection_lost(self, error: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(error or ConnectionResetError("closed before the CONNACK"))


class Flow:
    """Readings out, acknowledgements and answers in: at most `window` unacknowledged and `backlog` unanswered."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.packets = made(options.topic, options.warm + options.count, options.step_ms, options.first)
        self.sent = self.acked = self.answered = self.limit = 0
        self.until = math.inf
        self.last_ack = self.last_answer = 0.0
        self.answers: list[tuple[float, bytes]] | None = None
        self.acks: list[float] | None = None
        """When each PUBACK came, where that is asked for."""
        self.subscribed = asyncio.Event()

    async def open(self) -> Flow:
        self.publisher = await Link.open(self.options.port, "load-publisher", self._acknowledged)
        if self.options.output:
            self.subscriber = await Link.open(self.options.port, "load-subscriber", self._arrived)
            self.subscriber.transport.write(wire.subscribe(self.options.output))
            await asyncio.wait_for(self.subscribed.wait(), 10)
        return self

    def pump(self) -> None:
        """Send what the windows allow."""
        room = min(self.options.window - (self.sent - self.acked), self.limit - self.sent)
        if self.options.output:
            room = min(room, self.options.backlog - (self.sent - self.answered))
        if room > 0 and time.perf_counter() < self.until:
            self.publisher.transport.write(b"".join(self.packets[self.sent : self.sent + room]))
            self.sent += room

    def _acknowledged(self, buffer: bytearray) -> int:
        whole = len(buffer) // 4 * 4
        if buffer[:whole:4].count(wire.PUBACK << 4) * 4 != whole:
            raise ValueError("something else than PUBACKs came to the publisher")
        self.acked += whole // 4
        self.last_ack = time.perf_counter()
        if self.acks is not None:
            self.acks += [self.last_ack] * (whole // 4)
        self.pump()
        return whole

    def _arrived(self, buffer: bytearray) -> int:
        now, end = time.perf_counter(), 0
        for kind, start, end in wire.packets(buffer):
            if kind == wire.PUBLISH:
                self.answered += 1
                self.last_answer = now
                if self.answers is not None:
                    self.answers.append((now, wire.payload(buffer, start, end)))
            elif kind == wire.SUBACK:
                self.subscribed.set()
        self.pump()
        return end

    async def run(self, count: int, seconds: float, patience: float) -> float:
        """Send up to `count` readings for `seconds`; back when all are answered, or after `patience` in vain."""
        self.last_ack = begin = time.perf_counter()
        self.limit, self.until = self.sent + count, begin + seconds
        self.pump()
        while not self._done(patience):
            await asyncio.sleep(0.02)
        return begin

    def _done(self, patience: float) -> bool:
        sending = self.sent < self.limit and time.perf_counter() < self.until
        idle = time.perf_counter() - max(self.last_ack, self.last_answer) > patience
        complete = self.acked >= self.sent and (not self.options.output or self.answered >= self.sent)
        if idle and self.acked < self.sent:
            raise TimeoutError(f"{self.sent - self.acked} readings were not acknowledged")
        return not sending and (complete or idle)

    async def warm(self) -> None:
        """Fill windows and let the first fit happen, out of the figures."""
        await self.run(self.options.warm, math.inf, self.options.settle)
        if self.options.output and not self.answered:
            raise RuntimeError(f"no answer on {self.options.output} to {self.options.warm} readings")
        self.packets = self.packets[self.sent :]
        self.sent = self.acked = self.answered = self.limit = 0


async def acks(flow: Flow) -> dict[str, Any]:
    options = flow.options
    begin = await flow.run(options.count, options.seconds, options.patience)
    return {"sent": flow.sent, "rate": flow.acked / (flow.last_ack - begin)}


async def stream(flow: Flow) -> dict[str, Any]:
    options = flow.options
    begin = await flow.run(options.count, options.seconds, options.patience)
    return {
        "sent": flow.sent,
        "answered": flow.answered,
        "ack_rate": flow.acked / (flow.last_ack - begin),
        "rate": flow.answered / (flow.last_answer - begin),
    }


async def latency(flow: Flow) -> dict[str, Any]:
    flow.answers = []
    times = await _paced(flow)
    found = latencies(times, flow.answers, Match(flow.options.match, flow.options.offset))
    return {"sent": len(times), "answered": len(flow.answers), "matched": len(found), **summary(found)}


async def puback(flow: Flow) -> dict[str, Any]:
    """A door acknowledges in the order of the readings, so that the n-th PUBACK is the n-th reading's."""
    flow.acks = []
    times = await _paced(flow)
    if len(flow.acks) != len(times):
        raise TimeoutError(f"{len(flow.acks)} of {len(times)} readings were acknowledged")
    found = [acked - sent for sent, acked in zip(times.values(), flow.acks, strict=True)]
    return {"sent": len(times), **summary(found)}


async def _paced(flow: Flow) -> dict[int, float]:
    """Publish `rate` readings a second; when each was sent, by its `ts`."""
    options = flow.options
    count = min(options.count, int(options.rate * options.seconds))
    times: dict[int, float] = {}
    begin = time.perf_counter()
    for index in range(count):
        await asyncio.sleep(max(0.0, begin + index / options.rate - time.perf_counter()))
        times[START_MS + (options.first + options.warm + index) * options.step_ms] = time.perf_counter()
        flow.publisher.transport.write(flow.packets[index])
    await asyncio.sleep(options.settle)
    return times


MODES = {"acks": acks, "stream": stream, "latency": latency, "puback": puback}


async def main(options: argparse.Namespace) -> dict[str, Any]:
    flow = await Flow(options).open()
    await flow.warm()
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = await MODES[options.mode](flow)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result | {"generator_us_per_reading": 1e6 * cpu / max(1, result["sent"])}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topic", default="bench/reading")
    parser.add_argument("--output", default="", help="topic filter of the answers")
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first reading: what was sent before is known"
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm", type=int, default=200, help="readings before the clock starts")
    parser.add_argument("--window", type=int, default=1000, help="unacknowledged readings")
    parser.add_argument("--backlog", type=int, default=20_000, help="unanswered readings")
    parser.add_argument("--rate", type=float, default=200.0, help="readings a second (latency)")
    parser.add_argument("--step-ms", type=int, default=1000, help="event time between readings")
    parser.add_argument("--match", default="", help="field of the answer that holds its reading's ts; none: in order")
    parser.add_argument("--offset", type=int, default=0, help="that field minus ts")
    parser.add_argument("--patience", type=float, default=5.0, help="seconds without any answer before giving up")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds of silence that end the warm-up")
    return parser.parse_args()


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(arguments()))))
