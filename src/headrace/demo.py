"""`headrace demo`: the PV example from a sensor's message to a forecast, with a publisher process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from headrace import credentials
from headrace.compose import Platform
from headrace.console.api import summary as score_summary
from headrace.errors import HeadraceError, Permanent
from headrace.running import page, remember, say, start, stop_signals
from headrace.running import summary as one_line
from headrace.settings import MqttSettings, PlatformSettings
from headrace.spec import parse

HISTORY_DAYS = 20
LIVE_DAYS_ONCE = 2
LIVE_DAYS = 60
LABELS = {"live": "learning", "champion": "published"}
CATCH_UP = 300.0
"""Seconds the learners may take to finish after the last message."""


def run(*, once: bool, data: Path | None, http_port: int, mqtt_port: int, speed: float) -> None:
    """Run the example; `once`: headless, and ends by itself."""
    with _directory(data) as folder:
        mqtt = MqttSettings(port=0 if once else mqtt_port)
        settings = PlatformSettings(data=folder, http_port=0 if once else http_port, mqtt=mqtt)
        start(_once(Platform(settings)) if once else _watch(Platform(settings), speed))


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="headrace-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


async def _once(platform: Platform) -> None:
    async with stop_signals() as stop, platform, _known(platform):
        await _begin(platform)
        publisher = await _publish(platform, LIVE_DAYS_ONCE, 0)
        try:
            if await _first(publisher.wait(), stop.wait()):
                raise Permanent(detail="stopped before the example had finished")
            if publisher.returncode:
                raise Permanent(detail=f"the publisher ended with code {publisher.returncode}")
            await _caught_up(platform)
        finally:
            await _end(publisher)
        print_scores(platform)


async def _watch(platform: Platform, speed: float) -> None:
    async with stop_signals() as stop, platform, _known(platform):
        await _begin(platform)
        # on a terminal, ours is the one line that changes: the publisher's progress bar would fight it for the row
        publisher = await _publish(platform, LIVE_DAYS, speed, quiet=sys.stdout.isatty())
        try:
            say("Ctrl-C stops it; the data directory of the example is temporary unless you give --data\n")
            await _show(platform, publisher, stop)
        finally:
            await _end(publisher)
        print_scores(platform)


@contextlib.asynccontextmanager
async def _known(platform: Platform) -> AsyncIterator[None]:
    """The token of the example's own install is kept for as long as it runs."""
    remember(platform)
    try:
        yield
    finally:
        with contextlib.suppress(HeadraceError):
            credentials.forget(platform.addresses["http"])


async def _begin(platform: Platform) -> None:
    text = files("headrace.examples.pv").joinpath("headrace.yaml").read_text()
    await platform.local.learning.apply(parse(text, "examples/pv/headrace.yaml"), {})
    say(f"page   {page(platform)}\nMQTT   {platform.addresses['mqtt']}\n")


async def _publish(
    platform: Platform, live_days: int, speed: float, *, quiet: bool = False
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "headrace.examples.pv.publisher",
        *("--http", platform.addresses["http"]),
        *("--mqtt", platform.addresses["mqtt"]),
        *("--history-days", str(HISTORY_DAYS)),
        *("--live-days", str(live_days)),
        *("--speed", str(speed)),
        env=os.environ | {credentials.VARIABLE: platform.identities.install_token},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL if quiet else None,
    )


async def _first(work: Any, stopped: Any) -> bool:
    """Whether `stopped` came before `work` was done."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stopped)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return tasks[1].done() and not tasks[1].cancelled() and not tasks[0].done()


async def _end(publisher: asyncio.subprocess.Process) -> None:
    if publisher.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            publisher.terminate()
        await publisher.wait()


async def _caught_up(platform: Platform) -> None:
    """Wait until every model has seen the whole log."""
    end = platform.local.log.end()
    for name in platform.local.learning.names():
        view = platform.local.learning.view(name)
        if not await platform.local.learning.reached(view, end, CATCH_UP) or view.failed:
            raise Permanent(detail=f"model {name!r} did not reach the end of the log: {view.failed or 'too slow'}")


async def _show(platform: Platform, publisher: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    """A live line while the readings arrive, then until the user stops it."""
    terminal, said = sys.stdout.isatty() and not sys.stderr.isatty(), False  # the publisher's bar is there otherwise
    while not stop.is_set():
        if terminal:
            say(f"\r\033[K{one_line(platform)}", end="")
        if publisher.returncode is not None and not said:
            said = True
            say(_ended(publisher.returncode))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)
    say("")


def _ended(code: int) -> str:
    if code:
        return f"\nthe publisher ended with code {code}; `python -m headrace.examples.pv.publisher` by hand says why"
    return "\nall readings have been published; the page stays up until you press Ctrl-C"


def print_scores(platform: Platform) -> None:
    """Every model and baseline over the forecasts scored so far."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="day-ahead forecasts, scored after the fact", title_justify="left", box=None, pad_edge=False)
    for name in ("model", "contender"):
        table.add_column(name)
    for name in ("MSE (scaled)", "daylight MSE", "MAE", "skill over hour-mean", "days"):
        table.add_column(name, justify="right")
    rows = score_rows(platform)
    for row in rows:
        table.add_row(*row)
    console = Console(width=110)
    console.print(table)
    for line in bands(platform):
        console.print(line, highlight=False)
    if rows:
        console.print(
            f"\n{rows[0][-1]} scored days say little: single periods vary eightfold with the weather. The same models over\n"
            "207 days: examples/01-pv-forecast/README.md",
            highlight=False,
        )


def bands(platform: Platform) -> list[str]:
    """What each model's bands have been worth so far, a line each."""
    found = []
    for name in platform.local.learning.names():
        view = platform.local.learning.view(name)
        for key in view.store.lanes() if view.store is not None else []:
            worth = view.last(key)["interval"]
            if worth is None:
                continue
            active, unit = worth["active"], view.plan.spec.input.unit
            by_day = f" ({active['coverage']:.0%} of {active['n']:,} by day)" if active["n"] else ""
            found.append(
                f"{name}: the {worth['nominal']:.0%} band held {worth['coverage']:.0%} of {worth['n']:,} outcomes{by_day}, "
                f"mean width {worth['width']:,.0f} {unit}"
            )
    return found


def score_rows(platform: Platform) -> list[list[str]]:
    """The cells of the score table: the models, then each baseline once per key (it is the same beside every model)."""
    models, baselines = [], {}
    for name in platform.local.learning.names():
        view = platform.local.learning.view(name)
        for key in view.store.lanes() if view.store is not None else []:
            for contender, one in sorted(score_summary(view, key).items(), reverse=True):
                row = _row(one, view.plan.spec.input.unit)
                if contender in LABELS:
                    models.append([name, LABELS[contender], *row])
                else:
                    baselines[key, contender, *row] = ["baseline", contender, *row]
    return models + list(baselines.values())


def _row(one: dict[str, Any], unit: str) -> list[str]:
    return [
        _cell(one["mse"], ".4f"),
        _cell(one["daylight_mse"], ".4f"),
        f"{_cell(one['mae'], ',.0f')} {unit}",
        _cell(one["skill"], "+.1%"),
        str(one["days"]),
    ]


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
