"""The embedded ledger: a chain of one operator, in a process of its own, so that its work holds up nobody else's.

The process starts at the first question and ends with the platform; when it dies it is started again. What it had answered is
on the disk; what it had not is asked again, and is done once.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import HeadraceError, MissingExtra, Temporary
from headrace.trust.evm.wire import ANSWERS, LENGTH, Answer, Request, framed, named
from headrace.trust.keyring import VARIABLE
from headrace.trust.ledgers import Act, Anchored, Contract, Receipt, Status, allowed

NEEDED = ("eth", "eth_account", "coincurve")
"""Libraries of the extra ``chain``."""
PATIENCE = 60.0
"""Seconds to wait for an answer."""
ENDING = 10.0
"""Seconds for a block to be finished when the platform stops."""
TIMES = 2
"""How often a question is asked whose process dies."""


class EmbeddedLedger:
    """See `headrace.trust.ledgers.Ledger`.

    Args:
        folder: of its files; nobody else's.
        keys: folder of the keyring (`headrace.trust.keyring`).
        master: file of the master key; None: where the keyring finds it.
    """

    def __init__(self, folder: Path, keys: Path, master: Path | None = None) -> None:
        self._folder, self._keys, self._master = folder, keys, master
        self._open = False
        self._child: _Child | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> EmbeddedLedger:
        """Raises MissingExtra. Nothing is started yet."""
        if gone := missing():
            raise MissingExtra(family="ledgers", name="embedded", module=gone, extra="chain")
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was asked is finished; no process stays."""
        self._open = False
        async with self._starting:
            child, self._child = self._child, None
        if child is not None:
            await child.close()

    async def account(self, company: str) -> str:
        """See `Ledger`."""
        return str(await self._ask("account", company))

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        """See `Ledger`: all that are new are one block."""
        good, wrong = [], None
        for act in acts:
            try:
                good.append(allowed(act))
            except HeadraceError as error:
                wrong = error
                break
        receipts: list[Receipt] = await self._ask("submit", company, tuple(good))
        if wrong is not None:
            raise wrong
        return receipts

    async def read(self, address: str) -> Contract:
        """See `Ledger`."""
        contract: Contract = await self._ask("read", address)
        return contract

    async def anchored(self, transaction: str) -> Anchored:
        """See `Ledger`."""
        batch: Anchored = await self._ask("anchored", transaction)
        return batch

    async def evidence(self, transaction: str) -> dict[str, Any]:
        """See `Ledger`."""
        document: dict[str, Any] = await self._ask("evidence", transaction)
        return document

    async def status(self) -> Status:
        """See `Ledger`."""
        status: Status = await self._ask("status")
        return status

    @property
    def process(self) -> int | None:
        """Number of its process; None: it has not been needed yet, or died."""
        return self._child.process.pid if self._child is not None and self._child.alive else None

    async def _ask(self, verb: str, text: str = "", acts: tuple[Act, ...] = ()) -> Any:
        for _ in range(TIMES):
            child = await self._alive()
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await child.ask(verb, text, acts)
            except TimeoutError as error:
                raise Temporary(detail=f"the ledger has not answered for {PATIENCE:.0f} s") from error
            except ConnectionError:
                child.alive = False
                continue
            if answer.error:
                raise answer.failure()
            return msgspec.convert(answer.value, ANSWERS[verb])
        raise Temporary(detail="the ledger's process ended before it answered")

    async def _alive(self) -> _Child:
        async with self._starting:
            if not self._open:
                raise Temporary(detail="the ledger is closed")
            if self._child is None or not self._child.alive:
                if self._child is not None:
                    await self._child.close()
                try:
                    self._child = await _Child.start(self._folder, self._keys, self._master)
                except OSError as error:
                    raise Temporary(detail=f"the ledger's process cannot be started: {error.strerror}") from error
            return self._child


def missing() -> str:
    """The library that has to be installed for this ledger; "": none."""
    return next((name for name in NEEDED if importlib.util.find_spec(name) is None), "")


class _Child:
    """One run of the process, and who waits for it."""

    def __init__(self, process: Process) -> None:
        self.process, self.alive = process, True
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}
        self._count = 0
        self._task = asyncio.create_task(self._listen())

    @staticmethod
    async def start(folder: Path, keys: Path, master: Path | None) -> _Child:
        """Raises OSError."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        if named_master := master or os.environ.get(VARIABLE):
            environment[VARIABLE] = str(named_master)
        # its own session: Ctrl-C in a terminal is for the platform, which closes its ledger
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "headrace.trust.evm", str(folder), str(keys)),
            stdin=PIPE,
            stdout=PIPE,
            env=environment,
            start_new_session=True,
        )
        return _Child(process)

    async def ask(self, verb: str, text: str, acts: tuple[Act, ...]) -> Answer:
        """Raises ConnectionError: it died."""
        assert self.process.stdin is not None
        if not self.alive:
            raise ConnectionResetError
        self._count += 1
        number = self._count
        waiting: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self.process.stdin.write(framed(Request(number, verb, text, named(acts))))
            await self.process.stdin.drain()
            answer = await waiting
        finally:
            del self._waiting[number]
        if answer is None:
            raise ConnectionResetError
        return answer

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        decoder = msgspec.msgpack.Decoder(Answer)
        try:
            while True:
                length = await self.process.stdout.readexactly(LENGTH)
                answer = decoder.decode(await self.process.stdout.readexactly(int.from_bytes(length, "big")))
                waiting = self._waiting.get(answer.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            pass  # it died, in the middle of a word perhaps
        finally:
            self.alive = False
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(None)

    async def close(self) -> None:
        """Let it finish, and wait until it is gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.wait_closed()
        try:
            async with asyncio.timeout(ENDING):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self._task
