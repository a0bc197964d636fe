"""Registration: first the content is in its place, then one transaction makes it visible with all that was promised.

Killed before that transaction nothing is visible (the content is an orphan, swept at the next start); killed after it
the promises are kept at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, insert

from headrace.access import Principal
from headrace.assets import Dataset, Model, OutputFile, Recipe, Stored, StreamRange, new_id
from headrace.claims import digest_of
from headrace.errors import Conflict, HeadraceError, Temporary, Unsupported
from headrace.services.sharing import Inspector, Trainer, auditing, lineage
from headrace.services.sharing.anchoring import to_anchor
from headrace.services.sharing.book import to_its_end
from headrace.services.sharing.contents import needs
from headrace.services.sharing.fence import Asset, Fence, add, put, shown, unfenced
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.promises import Promise, kept, promise
from headrace.services.sharing.removing import erased
from headrace.services.sharing.requests import Media, NewDataset, NewModel, NewRecipe, Take, media_of, plain_name
from headrace.services.sharing.results import holders
from headrace.services.sharing.tables import holds

NEVER = "declared non-deterministic"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a content was announced as, before it came."""

    id: str = ""
    """It gets this id; "": a new one."""
    sha256: str = ""
    """It has this digest; "": any."""

    def check(self, connection: Connection) -> None:
        """Raises Conflict: it came before."""
        if self.id and unfenced(connection, self.id) is not None:
            raise Conflict(detail=f"{self.id} has its content already, and what is registered does not change")

    def fits(self, stored: Stored) -> None:
        """Raises Conflict: it is another content."""
        if self.sha256 and stored.sha256 != self.sha256:
            raise Conflict(
                detail=f"{self.id} was announced with the digest {self.sha256}, and what came has {stored.sha256}: "
                "nothing of it is kept"
            )


NEW = Waiting()


class Registering:
    """Takes in datasets and models."""

    def __init__(self, hub: Hub, trainer: Trainer | None, inspector: Inspector | None) -> None:
        self._hub, self._trainer, self._inspects = hub, trainer, inspector is not None

    async def dataset(
        self, who: Principal, new: NewDataset, filename: str, take: Take, waiting: Waiting = NEW
    ) -> Dataset:
        """Register an upload. Raises Forbidden, StorageUnavailable, Conflict; then nothing is left of it.

        Args:
            filename: as the uploader calls it.
            waiting: what it was announced as.
        """
        who.require("write")
        name = plain_name(new.filename or filename, "data")
        async with self._taken(who.company, [take]) as stored:
            waiting.fits(stored[0])
            dataset = self._dataset(who, new, name, stored[0], waiting.id)

            def write(connection: Connection) -> None:
                waiting.check(connection)
                self._write_dataset(connection, who, dataset, new.media)

            await self._hub.book.write(write)
        self._hub.nudge()
        return dataset

    async def stream(self, who: Principal, new: NewDataset, found: StreamRange, table: Take, raw: Take) -> Dataset:
        """Register a part of a stream: a table of its readings, and its raw records beside it."""
        who.require("write")
        async with self._taken(who.company, [table, raw]) as stored:
            found = found.model_copy(update={"raw": stored[1]})
            dataset = self._dataset(who, new, new.filename, stored[0]).model_copy(update={"stream": found})

            def write(connection: Connection) -> None:
                self._write_dataset(connection, who, dataset, new.media)
                lines = OutputFile(path=plain_name(f"{new.filename}.jsonl", "raw"), stored=stored[1])
                needs(connection, dataset.id, who.company, "raw", [lines])
                lineage.from_stream(connection, who.company, found.topic, dataset.id)

            await self._hub.book.write(write)
        self._hub.nudge()
        return dataset

    def _dataset(self, who: Principal, new: NewDataset, name: str, stored: Stored, id: str = "") -> Dataset:
        made = Dataset(
            id=id or new_id("ds"),
            company=who.company,
            name=new.name,
            description=new.description,
            created_ms=self._hub.clock(),
            created_by=who.subject,
            media=new.media or media_of(name),
            filename=name,
            stored=stored,
            confidential=new.confidential,
            samples=None,
            statistics=None,
            stream=None,
            contract="",
            anchoring="waiting" if self._hub.anchors else "off",
            anchoring_note="",
            deleted_ms=None,
        )
        return made if self._inspects and new.media != "other" else made.model_copy(update={"statistics_state": "none"})

    def _write_dataset(self, connection: Connection, who: Principal, made: Dataset, said: Media | None) -> None:
        add(connection, made)
        content = [OutputFile(path=made.filename, stored=made.stored)]
        needs(connection, made.id, made.company, "data", content)
        if made.statistics_state == "pending":
            promise(connection, "inspect", made.id, made.company, {"media": said or ""})  # a name's end is a guess
        to_anchor(connection, made)
        auditing.note(connection, made.created_ms, who, "register", made.id, made.company, detail=made.name)

    async def model(self, who: Principal, new: NewModel, filename: str, take: Take, waiting: Waiting = NEW) -> Model:
        """Register a model that was trained elsewhere, as it is: unverified. Raises as `dataset` does."""
        who.require("write")
        name = plain_name(new.filename or filename, "model")
        async with self._taken(who.company, [take]) as stored:
            waiting.fits(stored[0])
            content = [OutputFile(path=name, stored=stored[0])]
            made = self._model(who, new, waiting.id, files=content, digest=digest_of(content), state="uploaded")

            def write(connection: Connection) -> None:
                waiting.check(connection)
                add(connection, made)
                needs(connection, made.id, made.company, "output", content)
                if self._inspects:
                    promise(connection, "inspect", made.id, made.company)
                to_anchor(connection, made)
                auditing.note(connection, made.created_ms, who, "register", made.id, made.company, detail=made.name)

            await self._hub.book.write(write)
        self._hub.nudge()
        return made

    def _model(self, who: Principal, new: NewModel, id: str = "", **fields: Any) -> Model:
        return Model(
            id=id or new_id("md"),
            company=who.company,
            name=new.name,
            description=new.description,
            created_ms=self._hub.clock(),
            created_by=who.subject,
            confidential=new.confidential,
            anchoring="waiting" if self._hub.anchors else "off",
            **fields,
        )

    async def recipe(
        self, who: Principal, new: NewModel, given: NewRecipe, take: Take, waiting: Waiting = NEW
    ) -> Model:
        """Register a recipe with its code, and have it trained.

        Raises what `Trainer.validate` and `Trainer.submit` raise, NotFound and Forbidden for its inputs; then nothing is
        left of it. When the trainer cannot be reached now, the model is registered and its job is queued later.
        """
        who.require("write")
        if self._trainer is None:
            raise Unsupported(detail="no training service runs here: a model can only be uploaded as a file")
        async with self._taken(who.company, [take]) as stored:
            recipe = given.with_code(stored[0])
            await self._may_train(who, recipe)
            async with self._hub.artifacts.local(who.company, stored[0]) as code:
                await self._trainer.validate(who, recipe, code)
            model, promised = await self._hub.book.write(
                lambda c: self._write_recipe(c, who, new, given, recipe, waiting)
            )
        self._hub.nudge()  # it is recorded meanwhile
        try:
            return await self.submit(promised)
        except Temporary as error:
            _log.warning("the job of %s will be queued later: %s", model.id, error)
            self._hub.nudge()
            return model
        except HeadraceError:
            raise
        except BaseException:
            self._hub.nudge()  # the model is there, and its job is still to be queued
            raise

    async def _may_train(self, who: Principal, recipe: Recipe) -> None:
        for id in _inputs(recipe):
            async with self._hub.refusing(who, "train", id):
                await self._hub.book.read(partial(self._trainable, who, id))

    def _trainable(self, who: Principal, id: str, connection: Connection) -> Asset:
        return Fence(connection, who, self._hub.clock()).allowed(id, "train")

    def _write_recipe(
        self, connection: Connection, who: Principal, new: NewModel, given: NewRecipe, recipe: Recipe, waiting: Waiting
    ) -> tuple[Model, Promise]:
        waiting.check(connection)
        now = self._hub.clock()
        fence = Fence(connection, who, now)
        inputs = [fence.allowed(id, "train") for id in _inputs(recipe)]
        made = self._model(
            who, new, waiting.id, recipe=recipe, parent=recipe.parent, datasets=recipe.datasets, state="registered"
        )
        if not recipe.deterministic:
            made = made.model_copy(update={"reproducible": "never", "reproducible_note": NEVER})
        add(connection, made)
        code = [OutputFile(path="code", stored=recipe.code)]
        needs(connection, made.id, made.company, "code", code)
        held = holders(fence, inputs)
        if held:
            connection.execute(
                insert(holds), [{"model": made.id, "company": company, "kind": "result"} for company in held]
            )
        lineage.recipe(connection, made)
        detail: dict[str, Any] = {"subject": who.subject, "kind": who.kind, "roles": sorted(who.roles)}
        detail |= {"priority": given.priority, "attempts": given.attempts}
        number = promise(connection, "submit", made.id, made.company, detail)
        to_anchor(connection, made)
        auditing.note(connection, now, who, "register", made.id, made.company, detail=made.name)
        for one in inputs:
            if one.company != who.company:
                auditing.note(connection, now, who, "train", one.id, one.company, detail=made.id)
        promised = Promise(number, "submit", made.id, made.company, detail, 0)
        return made.model_copy(update={"held_for": held}), promised

    async def submit(self, promised: Promise) -> Model:
        """Keep a promise of the kind "submit": queue the job. A trainer that refuses for good takes the model with it."""
        detail = promised.detail
        who = Principal(promised.company, detail["subject"], detail["kind"], frozenset(detail["roles"]))
        model = await self._hub.book.read(lambda connection: unfenced(connection, promised.asset))
        if (
            not isinstance(model, Model)
            or model.recipe is None
            or model.deleted_ms is not None
            or self._trainer is None
        ):
            await self._hub.book.write(lambda connection: kept(connection, promised.id))
            raise Unsupported(detail=f"{promised.asset} is not there any more, or nothing here trains it")
        try:
            job = await self._trainer.submit(who, model.id, model.recipe, detail["priority"], detail["attempts"])
        except Temporary:
            raise
        except HeadraceError as error:
            await self._withdraw(who, model, promised, str(error))
            raise

        def write(connection: Connection) -> Model:
            kept(connection, promised.id)
            now = unfenced(connection, model.id)
            assert isinstance(now, Model)
            changed = now.model_copy(update={"job": job.id})
            put(connection, changed)
            lineage.job(connection, changed, job)
            return shown(changed, who.company)  # type: ignore[return-value]

        return await self._hub.book.write(write)

    async def again(self, promised: Promise) -> None:
        """`submit` by the worker, when nobody waits for the answer."""
        try:
            await self.submit(promised)
        except Temporary:
            raise
        except HeadraceError as error:
            _log.warning("%s is withdrawn: %s", promised.asset, error)

    async def _withdraw(self, who: Principal, model: Model, promised: Promise, reason: str) -> None:
        def write(connection: Connection) -> list[str]:
            kept(connection, promised.id)
            now = self._hub.clock()
            auditing.note(connection, now, who, "register", model.id, model.company, allowed=False, detail=reason)
            return erased(connection, model, "its training was refused")

        await self._hub.forget(model.company, await self._hub.book.write(write))
        self._hub.nudge()

    def _taken(self, company: str, takes: Iterable[Take]) -> Taken:
        return Taken(self._hub, company, takes)


class Taken:
    """Contents in their place, while they are being recorded; forgotten again if that fails.

    Args:
        paced: it is one of the registrations that a company has so many of a day.
    """

    def __init__(self, hub: Hub, company: str, takes: Iterable[Take], paced: bool = True) -> None:
        self._hub, self._company, self._takes, self._paced = hub, company, takes, paced
        self._arriving = hub.arriving(company)
        self._stored: list[Stored] = []

    async def __aenter__(self) -> list[Stored]:
        if self._paced:
            await self._hub.pace.check(self._company)
        await self._arriving.__aenter__()
        try:
            for take in self._takes:
                await to_its_end(self._take(take))
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self._stored

    async def _take(self, take: Take) -> None:
        self._stored.append(await take())

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        await self._arriving.__aexit__(None, None, None)
        if error is None and self._paced:
            self._hub.pace.note(self._company)
        if error is not None and self._stored:
            # also when the caller went away: what he sent is not kept
            await asyncio.shield(self._hub.forget(self._company, [one.sha256 for one in self._stored]))


def _inputs(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys([*recipe.datasets, *recipe.evaluation, *filter(None, [recipe.parent])]))
