"""The chapter's MQTT-HTTP binding: one HTTP POST per message into KServe, the answer published.

It stands for the Camel K binding and is leaner than that: gmqtt (21 µs a message), one keep-alive connection with
TCP_NODELAY, no HTTP client library, no JSON parsing, QoS 0 out. A message is acknowledged to the broker when its answer
is published.

    python -m benchmarks.chapter_path.bridge --mqtt PORT --http PORT --input bench/reading --output bench/forecast
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import Any

import gmqtt
import uvloop

Message = tuple[bytes, "asyncio.Future[int]"]


class Posts:
    """One keep-alive connection to one URL."""

    def __init__(self, port: int, path: str) -> None:
        self.port, self.head = port, f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"

    async def connect(self) -> Posts:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def post(self, body: bytes) -> bytes:
        self.writer.write(f"{self.head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        answer = await self.reader.readexactly(int(length))
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"the model answered {head!r} {answer!r}")
        return answer


async def forward(queue: asyncio.Queue[Message], posts: Posts, client: gmqtt.Client, output: str) -> None:
    """Take messages in order; with several forwarders order is lost."""
    while True:
        payload, handled = await queue.get()
        client.publish(output, await posts.post(b'{"instances":[' + payload + b"]}"), qos=0)
        handled.set_result(0)


async def subscribe(options: argparse.Namespace, queue: asyncio.Queue[Message]) -> gmqtt.Client:
    client = gmqtt.Client("bridge", optimistic_acknowledgement=False, clean_session=False)
    subscribed = asyncio.Event()

    async def on_message(_client: Any, _topic: str, payload: bytes, _qos: int, _properties: Any) -> int:
        handled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        queue.put_nowait((payload, handled))
        return await handled

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    await client.connect("127.0.0.1", options.mqtt, version=gmqtt.constants.MQTTv311)
    client.subscribe(options.input, qos=1)
    await subscribed.wait()
    return client


async def main(options: argparse.Namespace) -> None:
    queue: asyncio.Queue[Message] = asyncio.Queue()
    path = f"/v1/models/{options.model}:predict"
    posts = [await Posts(options.http, path).connect() for _ in range(options.inflight)]
    client = await subscribe(options, queue)
    print("ready", flush=True)
    await asyncio.gather(*(forward(queue, each, client, options.output) for each in posts))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mqtt", type=int, required=True)
    parser.add_argument("--http", type=int, required=True)
    parser.add_argument("--model", default="online")
    parser.add_argument("--input", default="bench/reading")
    parser.add_argument("--output", default="bench/forecast")
    parser.add_argument("--inflight", type=int, default=1, help="POSTs at a time; more than 1 loses the order")
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(arguments()))
