"""Models that no job of ours trained: translations of others, and what online models published."""

from __future__ import annotations

import asyncio
import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, delete, insert, select

from headrace.access import LOCAL, Principal
from headrace.assets import Model, OutputFile, Snapshot, Stored, Translation, new_id, revoked
from headrace.claims import digest_of
from headrace.errors import BadInput, Conflict
from headrace.services.sharing import auditing, lineage
from headrace.services.sharing.anchoring import to_anchor, waiting
from headrace.services.sharing.book import to_its_end
from headrace.services.sharing.contents import Contents, needs
from headrace.services.sharing.fence import Fence, add, older_snapshots, unfenced
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.registering import Taken
from headrace.services.sharing.removing import let_go
from headrace.services.sharing.results import CHUNK, holders
from headrace.services.sharing.tables import derivations, holds

TOLD = ("framework", "input_shape", "output_shape", "parameters", "metadata", "metrics")
"""What may be said of one..."""
MADE_IN = ("fingerprint", "environment")
"""...of both besides..."""
LEARNED = ("parent", *MADE_IN)
"""...and of a snapshot."""
WEIGHTS = "weights.safetensors"
"""The file of a snapshot. safetensors: huggingface.co/docs/safetensors."""
KEPT = 200
"""Snapshots of one online model whose weights are kept."""


class Derived:
    """Takes them in. Everything here may be said twice: the second time gives the first one's record."""

    def __init__(self, hub: Hub, contents: Contents, kept: int = KEPT) -> None:
        self._hub, self._contents, self._kept = hub, contents, kept

    async def translated(
        self, who: Principal, of: str, translation: Translation, onnx: Path, found: dict[str, Any], name: str = ""
    ) -> Model:
        """See `Sharing.translated`. Nothing of the original's record is copied that the ledger does not agree with."""
        who.require("write")

        def allowed(connection: Connection) -> Model:
            original = Fence(connection, who, self._hub.clock()).allowed(of, "derive")
            if not isinstance(original, Model) or original.digest != translation.digest:
                raise Conflict(detail=f"{of} is not the model any more that was translated")
            if (reason := revoked(original)) is not None:
                raise Conflict(detail=f"{of} cannot be translated: its owner revoked it ({reason})")
            return original

        await self._hub.book.read(allowed)
        original = await self._contents.compared(who, of, "derive")
        assert isinstance(original, Model)

        def write(connection: Connection, kept: Stored) -> Model:
            now = original.model_copy(update={"held_for": allowed(connection).held_for})
            return self._translated(connection, who, now, translation, kept, found, name)

        with await asyncio.to_thread(onnx.open, "rb") as source:
            async with Taken(self._hub, who.company, [partial(self._receive, who.company, source)]) as stored:
                made = await self._hub.book.write(lambda connection: write(connection, stored[0]))
        self._hub.nudge()
        return await self._hub.book.read(lambda c: _shown(Fence(c, who, self._hub.clock()), made))

    def _translated(
        self,
        connection: Connection,
        who: Principal,
        original: Model,
        said: Translation,
        kept: Stored,
        found: dict[str, Any],
        name: str,
    ) -> Model:
        name = name or said.named(original.name)
        key = f"{who.company}/{original.id}/{said.digest}/{kept.sha256}/{name}"
        if there := _there(connection, key):
            return there
        made = _checked(
            found,
            id=new_id("md"),
            company=who.company,
            name=name,
            description=original.description,
            created_ms=self._hub.clock(),
            created_by=who.subject,
            state="translated",
            parent=original.id,
            datasets=original.datasets,
            files=[OutputFile(path="model.onnx", stored=kept)],
            metrics=original.metrics,
            framework="onnx",
            translation=said,
            confidential=original.confidential,
            **{name: found[name] for name in MADE_IN if name in found},
        )
        held = holders(Fence(connection, who, self._hub.clock()), [original])
        if held:
            connection.execute(insert(holds), [{"model": made.id, "company": one, "kind": "result"} for one in held])
        made = self._put(connection, who, made, key, "translate")
        lineage.translated(connection, made)
        return made.model_copy(update={"held_for": held})

    async def snapshot(self, company: str, said: Snapshot, name: str, weights: bytes, found: dict[str, Any]) -> Model:
        """See `Sharing.snapshot`."""
        who = Principal(company, "learning", "service", frozenset({"service"}))
        if company != LOCAL:  # whose workers run in a sandbox: what they say they published is their code's word
            await self._hub.published.check(company)

        def write(connection: Connection, kept: Stored) -> tuple[Model, list[str]]:
            key = f"{company}/{said.model}/{said.key}/{said.generation}/{said.published_ms}/{kept.sha256}"
            if there := _there(connection, key, gone=True):
                return there, []
            content = [OutputFile(path=WEIGHTS, stored=kept)]
            made = _checked(
                found,
                id=new_id("md"),
                company=company,
                name=name,
                created_ms=self._hub.clock(),
                created_by=who.subject,
                state="snapshot",
                files=content,
                snapshot=said,
                **{name: found[name] for name in LEARNED if name in found},
            )
            made = self._put(connection, who, made, key, "snapshot")
            lineage.snapshot(connection, made)
            return made, self._let_go(connection, made)

        takes = [partial(self._receive, company, io.BytesIO(weights))]
        async with Taken(self._hub, company, takes, paced=False) as stored:
            model, old = await self._hub.book.write(lambda connection: write(connection, stored[0]))
        self._hub.published.note(company)
        await self._hub.forget(company, old)
        self._hub.nudge()
        return model

    def _let_go(self, connection: Connection, newest: Model) -> list[str]:
        """Of an online model's snapshots only the newest keep their weights; of the others the record stays, and what the ledger
        says of it. Returns the contents that may go."""
        contents: list[str] = []
        for old in older_snapshots(connection, newest, self._kept):
            contents += let_go(connection, old, self._hub.clock())
        return contents

    async def _receive(self, company: str, source: BinaryIO) -> Stored:
        name = new_id("up")
        incoming = await self._hub.artifacts.receive(company, name)
        try:
            while chunk := await asyncio.to_thread(source.read, CHUNK):
                await incoming.write(chunk)
            return await to_its_end(incoming.finish())
        except BaseException:
            await incoming.pause()
            await self._hub.artifacts.discard(company, name)
            raise

    def _put(self, connection: Connection, who: Principal, made: Model, key: str, action: str) -> Model:
        made = waiting(made, self._hub.anchors)
        add(connection, made)
        to_anchor(connection, made)
        needs(connection, made.id, made.company, "output", made.files)
        connection.execute(delete(derivations).where(derivations.c.key == _hashed(key)))  # of one that was deleted
        connection.execute(insert(derivations).values(key=_hashed(key), model=made.id))
        auditing.note(connection, made.created_ms, who, action, made.id, made.company, detail=made.parent or made.name)
        return made


def _shown(fence: Fence, made: Model) -> Model:
    """As he may see it: of an original's metrics some may be held for others."""
    found = fence.shown(made)
    assert isinstance(found, Model)
    return found


def _there(connection: Connection, key: str, *, gone: bool = False) -> Model | None:
    """What was registered of it; with `gone` also a record whose content is gone."""
    found = connection.execute(select(derivations.c.model).where(derivations.c.key == _hashed(key))).scalar()
    made = unfenced(connection, found) if found else None
    return made if isinstance(made, Model) and (gone or made.deleted_ms is None) else None


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _checked(found: dict[str, Any], **fields: Any) -> Model:
    """A record of what was found; its digest over its files. Raises BadInput."""
    told = {name: value for name, value in found.items() if name in TOLD}
    try:
        return Model.model_validate({**told, **fields, "digest": digest_of(fields["files"])})
    except ValueError as error:
        raise BadInput(detail=f"what is said of the model cannot be kept: {error}") from error
