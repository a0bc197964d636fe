"""Running one service in the foreground: signals, and the line that says it is ready."""

from __future__ import annotations

import json
import os
import sys

from headrace import credentials
from headrace.alone import Alone
from headrace.errors import HeadraceError
from headrace.running import say, start, stop_signals
from headrace.settings import ServeSettings


def run(settings: ServeSettings, *, as_json: bool = False) -> None:
    """Run until SIGTERM or SIGINT."""
    start(_serve(settings, as_json))


async def _serve(settings: ServeSettings, as_json: bool) -> None:
    async with stop_signals() as stop, Alone(settings) as alone:
        _remember(alone)
        about = {"service": settings.service, "http": alone.url, "pid": os.getpid()}
        if as_json:
            say(json.dumps({**about, "token_file": str(alone.token_file.resolve())}))
        else:
            say(f"Headrace {settings.service} is ready: {alone.url}   its API: {alone.url}/docs/{settings.service}")
        await stop.wait()


def _remember(alone: Alone) -> None:
    """Keep this install's token where its owner's commands find it."""
    try:
        credentials.remember(alone.url, {"token": alone.identities.install_token})
    except HeadraceError as error:
        print(f"headrace: {error}; commands need HEADRACE_TOKEN (it is in {alone.token_file})", file=sys.stderr)
