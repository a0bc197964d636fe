"""The HTTP load: one JSON body posted over and over on keep-alive connections, the same client for every server.

    python -m benchmarks.http_load --url http://127.0.0.1:8080/v2/models/m/infer --body '{...}' --connections 8

wrk where it is installed (apt-get install wrk): the Python client takes a good part of a core itself and would be the
limit of a fast server. The last line printed is a JSON object; latencies in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.figures import summary


def with_wrk(wrk: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [wrk, "-t1", f"-c{options.connections}", f"-d{max(1, round(options.seconds))}s", "--timeout", "10s"]
    script = ["-s", str(Path(__file__).with_name("post.lua")), options.url]
    environment = {**os.environ, "BODY": options.body, "TOKEN": token_of(options)}
    done = subprocess.run(command + script, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {"client": "wrk"}


class Caller:
    """One keep-alive connection, one request at a time."""

    def __init__(self, url: str, body: str, token: str) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname or "127.0.0.1", parts.port or 80
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        head += f"Authorization: Bearer {token}\r\n" if token else ""
        self.request = f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        self.taken: list[float] = []
        self.failed = 0

    async def run(self, until: float) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        while (begin := time.perf_counter()) < until:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
            self.taken.append(time.perf_counter() - begin)
            self.failed += not head.split(b" ", 2)[1].startswith(b"2")
        writer.close()


async def with_python(options: argparse.Namespace) -> dict[str, Any]:
    callers = [Caller(options.url, options.body, token_of(options)) for _ in range(options.connections)]
    begin = time.perf_counter()
    await asyncio.gather(*(caller.run(begin + options.seconds) for caller in callers))
    taken = [each for caller in callers for each in caller.taken]
    rate = len(taken) / (time.perf_counter() - begin)
    return {"rate": rate, **summary(taken), "failed": sum(caller.failed for caller in callers), "client": "python"}


def token_of(options: argparse.Namespace) -> str:
    """What the server is to be shown with every request, or ""."""
    return options.token_file.read_text().strip() if options.token_file else ""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--body", required=True)
    parser.add_argument("--token-file", type=Path, help="file with a token to send with every request")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--client", choices=["auto", "wrk", "python"], default="auto")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    wrk = shutil.which("wrk") if options.client != "python" else None
    if options.client == "wrk" and not wrk:
        raise SystemExit("wrk is not installed: apt-get install wrk, or --client python")
    print(json.dumps(with_wrk(wrk, options) if wrk else uvloop.run(with_python(options))))


if __name__ == "__main__":
    main()
