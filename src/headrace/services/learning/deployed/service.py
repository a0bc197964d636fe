"""Deployments of one company: taken into service, asked, taken out again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from headrace.access import Principal
from headrace.errors import (
    BadInput,
    BadSpec,
    CorruptState,
    Forbidden,
    HeadraceError,
    NotReady,
    Problem,
    Temporary,
    TooLarge,
    UnknownModel,
)
from headrace.services.learning.deployed import providers
from headrace.services.learning.deployed.asking import Failed, Runs
from headrace.services.learning.deployed.shelf import Entry, Shelf
from headrace.services.learning.deployed.tensors import Array, Port
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.oip import DTYPES
from headrace.settings import DeployedSettings
from headrace.spec import DeploymentDocument

logger = logging.getLogger("headrace.learning")


class Source(Protocol):
    """Whoever keeps registered models."""

    async def onnx(self, who: Principal, id: str) -> tuple[str, bytes]:
        """(digest, bytes) of the one ONNX file of a model, looked through: a plain graph, with nothing beside it.

        Raises NotFound, Forbidden (also while it is held), Conflict (not trained yet), TooLarge, BadInput (no such file).
        """
        ...


@dataclass
class Deployed:
    """A deployment that is in service."""

    name: str
    entry: Entry | None
    """None: its record cannot be read."""
    fault: str = ""
    """Why it cannot answer; "": it can."""
    provider: str = ""
    """In use when it was last asked."""
    answers: int = field(default=0)
    """Questions answered since the start."""

    def known(self) -> Entry:
        """What is known of it. Raises NotReady: it cannot answer, and why."""
        if self.entry is None or self.fault:
            raise NotReady(name=self.name, detail=f"cannot answer: {self.fault.rstrip('.')}")
        return self.entry


class Prepared(NamedTuple):
    """What `Deployments.commit` puts into service."""

    changes: dict[str, str]
    entries: list[Entry]


class Deployments:
    """Registered ONNX models in service. Enter it in a running event loop.

    Args:
        folder: of the company.
        source: gives registered models; None: nobody does.
        isolation: how the process that runs them is kept from everything else.
    """

    def __init__(
        self,
        folder: Path,
        source: Source | None = None,
        isolation: Isolation = TRUSTED,
        settings: DeployedSettings = DeployedSettings(),  # noqa: B008 frozen
    ) -> None:
        self._shelf, self._source, self._isolation, self._settings = (
            Shelf(folder / "deployments"),
            source,
            isolation,
            settings,
        )
        self._runs = Runs(isolation, isolation.memory or settings.memory)
        self._unsure = False
        """A record may not be what is in service: no bytes are removed until the next start."""
        self._checking: asyncio.Task[None] | None = None
        self.known: dict[str, Deployed] = {}
        """By name; this very dict as long as the service lives."""

    async def __aenter__(self) -> Deployments:
        entries, wrong = await asyncio.to_thread(self._shelf.entries)
        self.known.update((one.name, Deployed(one.name, one, provider=one.provider)) for one in entries)
        self.known.update((name, Deployed(name, None, fault)) for name, fault in wrong.items())
        await self.sweep()
        self._checking = asyncio.create_task(self._check(entries), name="deployments")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        await self._runs.close()

    async def _check(self, entries: Iterable[Entry]) -> None:
        """Whether all bytes are there and as they were; a question that comes earlier looks itself."""
        for entry in entries:
            one = self.known.get(entry.name)
            with contextlib.suppress(Temporary):
                if one is not None and one.entry is entry:
                    await self._bytes(one, entry)

    async def sweep(self) -> None:
        """Remove the bytes of models that are no longer deployed."""
        if self._unsure:
            return
        used = [one.entry.digest for one in self.known.values() if one.entry is not None]
        try:
            await asyncio.to_thread(self._shelf.sweep, used)
        except OSError as error:
            logger.warning("models that are no longer deployed stay on the disk: %s", error)

    # -- in and out of service

    async def prepare(
        self, documents: Sequence[DeploymentDocument], who: Principal | None, *, dry: bool = False
    ) -> Prepared:
        """Everything that can go wrong with them, without a change to what answers; of a dry run nothing is kept either.

        Raises:
            BadSpec: with all problems found in the documents.
            NotFound, Forbidden, Conflict: what the hub says of a model.
            Unanswered, TooSlow, TooMany: the process that would run it does not.
        """
        changes = {one.spec.name: self._change(one) for one in documents}
        wanted = [one for one in documents if changes[one.spec.name] != "unchanged"]
        _refuse([problem for one in wanted for problem in _wrong(one)])
        _refuse(self._too_many(documents))
        if not wanted:
            return Prepared(changes, [])
        if not self._isolation.may_run:
            why = f"models cannot be run here, isolated from other companies ({self._isolation.reason})"
            raise BadSpec([one.problem(("model",), why) for one in wanted])
        here = await self._runs.here()
        _refuse([problem for one in wanted for problem in _absent(one, here)])
        entries: list[Entry] = []
        for one in wanted:
            entries.append(await self._open(one, who, dry=dry))
            _refuse(self._too_much(one, entries))
        return Prepared(changes, entries)

    def _too_much(self, document: DeploymentDocument, entries: Sequence[Entry]) -> list[Problem]:
        """Bytes of all, each model's once."""
        names = {one.name for one in entries}
        kept = [one.entry for name, one in self.known.items() if one.entry is not None and name not in names]
        total = sum({one.digest: one.size for one in [*kept, *entries]}.values())
        message = f"all deployed models would be {total:,} bytes, and {self._settings.total:,} may be (DeployedSettings.total)"
        return [document.problem(("model",), message)] if total > self._settings.total else []

    def _change(self, document: DeploymentDocument) -> str:
        spec, found = document.spec, self.known.get(document.spec.name)
        if found is None:
            return "created"
        entry = found.entry
        same = entry is not None and (entry.model, entry.providers) == (spec.model, _short(spec.providers))
        return "unchanged" if same and not found.fault else "changed"

    def _too_many(self, documents: Sequence[DeploymentDocument]) -> list[Problem]:
        most = self._settings.count
        names = {*self.known, *(one.spec.name for one in documents)}
        message = f"{len(names)} models would be deployed, and {most} may be (DeployedSettings.count)"
        return (
            [documents[-1].problem(("metadata", "name"), message)]
            if len(names) > most and len(names) > len(self.known)
            else []
        )

    async def _open(self, document: DeploymentDocument, who: Principal | None, *, dry: bool) -> Entry:
        """A deployment as it will be, once its model was read and opened."""
        spec, by = document.spec, "" if who is None else who.subject
        if self._source is None or who is None:
            message = "there is nobody here to ask for registered models; apply it on a platform (`headrace up`)"
            raise BadSpec([document.problem(("model",), message)])
        wanted = _short(spec.providers)
        try:
            name, data = await self._source.onnx(who, spec.model)
            about = await self._runs.look(name, data, wanted)
        except (BadInput, TooLarge, Failed) as error:
            message = self._why(spec.model, error) if isinstance(error, Failed) else str(error)
            raise BadSpec([document.problem(("model",), message)]) from error
        if not dry:
            await asyncio.to_thread(self._shelf.add, data)
        now = time.time_ns() // 1_000_000
        return Entry(
            spec.name, spec.model, name, len(data), wanted, about.providers[0], about.inputs, about.outputs, now, by
        )

    def _why(self, model: str, error: Failed) -> str:
        if "bad_alloc" in str(error) or "MemoryError" in str(error):
            memory = self._isolation.memory or self._settings.memory
            where = "ConfinedSettings.memory" if self._isolation.memory else "DeployedSettings.memory"
            return f"{model} cannot be deployed: to open it takes more than {memory:,} bytes of memory ({where})"
        return f"{model} cannot be deployed: {error}"

    async def commit(self, prepared: Prepared) -> None:
        """Put them into service, all or none. Raises StorageUnavailable."""
        done: list[Entry] = []
        try:
            for entry in prepared.entries:
                done.append(entry)
                await asyncio.to_thread(self._shelf.put, entry)
        except BaseException:
            await self._undo(done)
            raise
        for entry in prepared.entries:
            self.known[entry.name] = Deployed(entry.name, entry, provider=entry.provider)

    async def revert(self, prepared: Prepared, before: Mapping[str, Deployed]) -> None:
        """Take back a commit: what stood `before` answers again."""
        for entry in prepared.entries:
            old = before.get(entry.name)
            if old is None:
                self.known.pop(entry.name, None)
            else:
                self.known[entry.name] = old
        await self._undo(prepared.entries)

    async def _undo(self, entries: Iterable[Entry]) -> None:
        """Records as what is in service has them."""
        for entry in entries:
            old = self.known.get(entry.name)
            try:
                if old is None or old.entry is None:
                    await asyncio.to_thread(self._shelf.remove, entry.name)
                else:
                    await asyncio.to_thread(self._shelf.put, old.entry)
            except HeadraceError as error:
                self._unsure = True
                logger.warning("the record of deployment %r may be another after a restart: %s", entry.name, error)

    async def delete(self, name: str) -> None:
        """Take one out of service. Raises UnknownModel, StorageUnavailable."""
        self.get(name)
        await asyncio.to_thread(self._shelf.remove, name)
        self.known.pop(name, None)
        await self.sweep()

    # -- questions

    def get(self, name: str) -> Deployed:
        """One in service. Raises UnknownModel."""
        try:
            return self.known[name]
        except KeyError:
            raise UnknownModel(name=name) from None

    async def ask(
        self, deployed: Deployed, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> tuple[str, dict[str, Array]]:
        """(provider in use, answers by name). Raises NotReady, and what `asking.Runs.ask` does."""
        entry = deployed.known()
        types = {one.name: one.datatype for one in entry.outputs}
        if any(one.size == 0 for one in inputs.values()):
            return deployed.provider, {name: _empty(entry, name) for name in outputs}
        wanted = {name: types[name] for name in outputs}
        provider, made = await self._runs.ask(
            f"Model {entry.name!r}",
            (entry.digest, entry.providers),
            inputs,
            wanted,
            lambda: self._bytes(deployed, entry),
        )
        deployed.provider = provider
        deployed.answers += 1
        return provider, {name: made[name] for name in outputs}

    async def _bytes(self, deployed: Deployed, entry: Entry) -> bytes:
        """A model's bytes. Raises Temporary; NotReady: they are damaged, and from now on it says so at once."""
        try:
            return await asyncio.to_thread(self._shelf.bytes_of, entry)
        except CorruptState as error:
            deployed.fault = f"{str(error).rstrip('.')}; apply it again"
            deployed.known()
            raise

    async def here(self) -> list[str]:
        """Short names of the providers there are. Raises Unanswered, TooSlow, TooMany, Forbidden."""
        if not self._isolation.may_run:
            raise Forbidden(detail=f"models of this company cannot be run here ({self._isolation.reason})")
        return await self._runs.here()

    def listed(self) -> list[dict[str, Any]]:
        """Everything in service, for people."""
        return [_plain(one) for _, one in sorted(self.known.items())]


def _plain(one: Deployed) -> dict[str, Any]:
    about: dict[str, Any] = {} if one.entry is None else msgspec.to_builtins(one.entry)
    wanted = about.pop("providers", [])
    state = "failed" if one.fault else "ready"
    spec = {"kind": "Deployment", "metadata": {"name": one.name}, "model": about.get("model", ""), "providers": wanted}
    return {
        **about,
        "name": one.name,
        "provider": one.provider,
        "state": state,
        "detail": one.fault,
        "answers": one.answers,
        "spec": spec,
    }


def _empty(entry: Entry, name: str) -> Array:
    """The answer to no sample at all: ONNX Runtime would end its process on some."""
    port: Port = next(one for one in entry.outputs if one.name == name)
    shape = [0, *(max(axis, 0) for axis in port.shape[1:])]
    return np.zeros(shape, DTYPES[port.datatype].newbyteorder("="))


def _short(wanted: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(providers.short, wanted)))


def _wrong(document: DeploymentDocument) -> list[Problem]:
    found = ((index, providers.wrong(name)) for index, name in enumerate(document.spec.providers))
    return [document.problem(("providers", index), message) for index, message in found if message]


def _absent(document: DeploymentDocument, here: Sequence[str]) -> list[Problem]:
    wanted = document.spec.providers
    return [] if providers.usable(wanted, here) else [document.problem(("providers",), providers.missing(wanted, here))]


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise BadSpec(problems)
