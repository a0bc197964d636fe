"""The plant: sends days of history over HTTP, then goes live over MQTT.

    python -m headrace.examples.pv.publisher --http http://127.0.0.1:8080 --mqtt 127.0.0.1:1883

By default the history is the 20 days from 8 to 27 November 2018 and the live days are the 28th (bright) and 29th
(clouded over); all have generation, the 12th with a real gap of 3 h 05. Days run from midnight to midnight at the site
(UTC-8).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import httpx
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from headrace import credentials
from headrace.examples.pv import UTC_OFFSET, phases
from headrace.records import DAY

TOPIC = "plant/trio/reading"
_PIECE = 3600
"""Messages made at once, so that the connection is not kept waiting."""
_TRIES = 30
"""Times a day of history is sent again while the platform says it is busy."""


@dataclass(frozen=True)
class Plan:
    """Which days are sent how."""

    start: int
    """Local midnight of the first day of history, ns."""
    history_days: int
    live_days: int
    seed: int = 0
    topic: str = TOPIC

    @property
    def live_start(self) -> int:
        """Local midnight of the first live day."""
        return self.start + self.history_days * DAY

    def history(self) -> Iterator[tuple[int, bytes]]:
        """Number of readings and body, a JSON array, of each day of history."""
        for day in range(self.history_days):
            sent = phases.payloads(phases.history(self.start + day * DAY, self.start + (day + 1) * DAY))
            if sent:
                yield len(sent), b"[" + b",".join(sent) + b"]"

    def live(self) -> Iterator[tuple[str, bytes]]:
        """Topic and payload of each second of the live days; nothing inside gaps."""
        for block in phases.live(self.live_start, self.live_start + self.live_days * DAY, self.seed):
            for part in phases.pieces(block, _PIECE):
                for payload in phases.payloads(part):
                    yield self.topic, payload

    def history_count(self) -> int:
        """How many readings `history` gives."""
        return _slots(self.start, self.live_start)

    def live_count(self) -> int:
        """How many messages `live` gives."""
        return _slots(self.live_start, self.live_start + self.live_days * DAY) * phases.PER_SLOT


def _slots(start: int, stop: int) -> int:
    """Known slots in [start, stop)."""
    every = phases.slots()
    return int(np.count_nonzero((every.time >= start) & (every.time < stop) & np.isfinite(every.power)))


def midnight(text: str) -> int:
    """Local midnight of a date such as 2018-11-08, ns."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days * DAY - UTC_OFFSET


def post_history(plan: Plan, url: str, done: Callable[[int], None]) -> int:
    """Send the history, one POST a day; returns the number of readings. `done` is told the readings of each day.

    It is sent with the token this user has for that address (see `headrace.credentials`).
    """
    total = 0
    with httpx.Client(timeout=60, headers=credentials.headers(url)) as client:
        for count, body in plan.history():
            _post(client, f"{url.rstrip('/')}/ingest/{plan.topic}", body)
            total += count
            done(count)
    return total


def _post(client: httpx.Client, url: str, body: bytes) -> None:
    """One POST, again while the answer is that the platform is busy."""
    for _ in range(_TRIES):
        response = client.post(url, content=body, headers={"content-type": "application/json"})
        if response.status_code not in {429, 503}:
            break
        time.sleep(float(response.headers.get("retry-after", "1")))
    response.raise_for_status()


def publish_live(plan: Plan, address: str, options: argparse.Namespace, done: Callable[[int], None]) -> int:
    """Send the live days over MQTT, QoS 1; returns the number acknowledged. `done` is told the sum so far."""
    from headrace.services.gateway.mqtt.publisher import publish_all

    host, _, port = address.rpartition(":")
    sending = publish_all(
        host or "127.0.0.1",
        int(port),
        plan.live(),
        window=options.window,
        start=options.skip,
        on_ack=done,
        client_id=options.client_id,
        rate=options.speed or None,
    )
    return asyncio.run(sending)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _options(arguments)
    plan = Plan(midnight(options.start), options.history_days, options.live_days, options.seed, options.topic)
    began = time.perf_counter()
    sent = []
    with _bar() as bar:
        if options.http:
            history = bar.add_task("history, HTTP", total=plan.history_count())
            posted = post_history(plan, options.http, lambda count: bar.advance(history, count))
            sent.append(f"{posted} readings of {plan.history_days} days over HTTP")
        if options.mqtt:
            live = bar.add_task("live, MQTT", total=plan.live_count())
            published = publish_live(plan, options.mqtt, options, lambda count: bar.update(live, completed=count))
            sent.append(f"{published} of {plan.live_days} days over MQTT")
    print(f"{plan.topic}: {', '.join(sent)}; all acknowledged in {time.perf_counter() - began:.1f} s")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m headrace.examples.pv.publisher", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--http", metavar="URL", help="where to POST the history; without it none is sent")
    add("--mqtt", metavar="HOST:PORT", help="where to publish the live days; without it none are sent")
    add("--topic", default=TOPIC)
    add("--start", default="2018-11-08", metavar="DATE", help="first day of history")
    add("--history-days", type=int, default=20, metavar="N")
    add("--live-days", type=int, default=2, metavar="N")
    add("--speed", type=float, default=0, metavar="X", help="X times real time; 0: as fast as acknowledged")
    add("--window", type=int, default=1000, metavar="N", help="messages on their way without acknowledgement")
    add("--skip", type=int, default=0, metavar="N", help="live messages that were acknowledged in an earlier run")
    add("--client-id", default="trio-meter", metavar="ID")
    add("--seed", type=int, default=0, metavar="N", help="of the noise of the live readings")
    options = parser.parse_args(arguments)
    if not (options.http or options.mqtt):
        parser.error("nothing to do: give --http, --mqtt or both")
    return options


def _bar() -> Progress:
    """A progress bar on stderr, silent unless that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not sys.stderr.isatty())


if __name__ == "__main__":
    main()
