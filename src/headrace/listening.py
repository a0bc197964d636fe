"""A listening HTTP server as an async context, and one platform per data directory."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn

from headrace.errors import DirectoryInUse, PortInUse, UnusableDirectory
from headrace.guests import House
from headrace.services.http import App
from headrace.settings import HttpSettings


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process that composes decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _own_words(record: logging.LogRecord) -> bool:
    """A download that is broken off on purpose says so itself (`services/sharing/downloads.py`)."""
    return record.getMessage() != "ASGI callable returned without completing response."


@contextlib.asynccontextmanager
async def served(app: App, listener: socket.socket, settings: HttpSettings = HttpSettings()) -> AsyncIterator[None]:  # noqa: B008
    """The app on a listening socket, for as long as the context lasts."""
    house = House(settings)
    server = _Server(
        uvicorn.Config(
            app, http=cast(Any, house.guest), log_level="warning", access_log=False, lifespan="off", ws="websockets-sansio",
            timeout_keep_alive=75, timeout_graceful_shutdown=3, server_header=False, proxy_headers=False, date_header=False,
        )
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_own_words)
    task = asyncio.create_task(server.serve([listener]), name="http")
    try:
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)
        async with house.open():
            yield
    finally:
        server.should_exit = True
        await task


@contextlib.contextmanager
def port_errors(host: str, port: int, option: str) -> Iterator[None]:
    """Raises PortInUse for what the system says about an address."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        raise PortInUse(host=host, port=port, reason=os.strerror(error.errno).lower(), option=option) from error


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    listener.setblocking(False)
    return listener


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """One platform per data directory. The lock ends with the process, however that ends.

    Raises:
        DirectoryInUse: another platform runs on it.
        UnusableDirectory: it cannot be made or written.
    """
    with _held(data, "lock", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def locked_for(data: Path, service: str) -> Iterator[None]:
    """One process per service on a data directory, and no platform, which is all of them. Raises as `locked` does."""
    with _held(data, "lock", fcntl.LOCK_SH), _held(data, f"{service}.lock", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def _held(data: Path, name: str, kind: int) -> Iterator[None]:
    with _lock_file(data, name) as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DirectoryInUse(path=data, pid=file.read().strip() or "?") from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def _lock_file(data: Path, name: str) -> Any:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)  # what devices send is nobody else's business
        return (data / name).open("a+")
    except OSError as error:
        raise UnusableDirectory(path=data, reason=error.strerror) from error
