"""Running a platform in the foreground: signals, the line that says it is ready, a live summary."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from headrace import credentials
from headrace.compose import Platform
from headrace.crowd import raise_handles
from headrace.errors import HeadraceError
from headrace.settings import PlatformSettings

SWITCH = 0.0005
"""Seconds a thread that computes may keep Python's lock from the event loop each time it wants it. Python's own 0.005 is a
second for a request that asks SQLite fifty times beside a busy thread."""
INSIST = 1.0
"""Seconds from the first signal after which another one ends the process: one Ctrl-C may come as two."""
UNSAFE = (
    "WARNING: --unsafe-no-sandbox: training code, and whatever opens uploaded files, runs without a sandbox and can read and "
    "change everything this platform can"
)


def run(settings: PlatformSettings, *, as_json: bool = False) -> None:
    """Run until SIGTERM or SIGINT."""
    start(_serve(settings, as_json))


def start(work: Any) -> Any:
    """`asyncio.run`, on uvloop where there is one, with all the file handles there may be; what it writes nobody else reads."""
    raise_handles()
    os.umask(0o077)  # a data directory that was there before may be open to everybody
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


@contextlib.asynccontextmanager
async def stop_signals() -> Any:
    """An event that is set by SIGTERM and SIGINT. Who asks again a second later does not want to wait: the process ends as it
    would of kill -9, which loses nothing that was acknowledged."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    asked: list[float] = []

    def ask() -> None:
        stop.set()
        asked.append(loop.time())
        if asked[-1] - asked[0] > INSIST:
            print("headrace: stopped at once; what was acknowledged is on the disk", file=sys.stderr, flush=True)
            os._exit(1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _serve(settings: PlatformSettings, as_json: bool) -> None:
    async with stop_signals() as stop, Platform(settings) as platform, _doubting(platform):
        remember(platform)
        if settings.library.unsafe:
            print(f"headrace: {UNSAFE}", file=sys.stderr)
        gc.freeze()  # what a platform is made of stays: looking through it again and again stops the loop for 15-40 ms
        gc.set_threshold(10_000, 20, 20)
        sys.setswitchinterval(SWITCH)
        if as_json:
            about = {
                **platform.addresses,
                **platform.login(),
                "ready_seconds": round(platform.ready_seconds, 3),
                "pid": os.getpid(),
            }
            say(json.dumps(about))
            await stop.wait()
            return
        say(f"Headrace is ready: page {page(platform)}   MQTT {platform.addresses['mqtt']}")
        say(f"data in {settings.data.resolve()}; Ctrl-C stops it, nothing acknowledged is lost")
        if platform.library.said:
            say(f"nothing is recorded on a ledger: {platform.library.said}")
        if not platform.local.learning.names():
            say("no models yet: `headrace apply -f headrace.yaml` takes some into service")
        await _summary(platform, stop)


@contextlib.asynccontextmanager
async def _doubting(platform: Platform) -> AsyncIterator[None]:
    """Meanwhile the ledger is looked at."""
    task = asyncio.create_task(_doubt(platform), name="ledger")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _doubt(platform: Platform) -> None:
    """Say what is wrong with the ledger, if records name one; a platform waits for no ledger."""
    if said := await platform.library.verification.doubts():
        print(f"headrace: {said}", file=sys.stderr, flush=True)


def remember(platform: Platform) -> None:
    """Keep this install's token where its owner's commands find it."""
    if platform.settings.open:
        return
    try:
        credentials.remember(platform.addresses["http"], {"token": platform.identities.install_token})
    except HeadraceError as error:
        print(f"headrace: {error}; commands need HEADRACE_TOKEN (it is in {platform.token_file})", file=sys.stderr)


def page(platform: Platform) -> str:
    """Where a browser goes: a link that lets it in, once."""
    return platform.login().get("login", platform.addresses["http"])


def say(text: str, end: str = "\n") -> None:
    """Print; nobody reading any more is no reason to stop the platform."""
    try:
        print(text, end=end, flush=True)
    except OSError:  # a closed pipe, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


async def _summary(platform: Platform, stop: asyncio.Event) -> None:
    """One changing line on a terminal, nothing elsewhere."""
    if not sys.stdout.isatty():
        await stop.wait()
        return
    while not stop.is_set():
        say(f"\r\033[K{summary(platform)}", end="")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)
    say("")


def summary(platform: Platform) -> str:
    """What is happening, in one line."""
    overview = platform.overview()
    ingest = overview["ingest"]
    states = [model["state"] for model in overview["models"]]
    live = f"{states.count('live')} of {len(states)} models forecast" if states else "no models"
    extra = f", {ingest['quarantined']:,} quarantined" if ingest["quarantined"] else ""
    return f"{ingest['messages']:,} messages, {ingest['rate']:,.0f}/s{extra}; {live}"
