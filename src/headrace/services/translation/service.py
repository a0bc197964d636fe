"""Translating in process: whether it may be done now, one after the other, and registered whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.access import Principal
from headrace.assets import Model, Translation, revoked
from headrace.claims import Retranslated, canonical
from headrace.disk import unavailable
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, StorageUnavailable
from headrace.runners import Runner
from headrace.services.sharing import Sharing
from headrace.services.translation import Translating, Wish
from headrace.services.translation.again import Again
from headrace.services.translation.sandboxed import Made, Subject, Translations, samples_of, stopped
from headrace.services.turns import Turns
from headrace.settings import TranslationSettings

READY = {"trained", "uploaded", "snapshot"}
"""States of a model whose training has completed, as far as it ever will."""
_NOT_YET = {
    "registered": "its training has not begun: it waits in the queue ({job})",
    "training": "it is being trained ({job}); translate it when that has ended",
    "failed": "its training failed ({job}): there is nothing to translate",
    "cancelled": "its training was cancelled ({job}): there is nothing to translate",
    "translated": "it is a translation itself, in ONNX: download it, or translate its original {parent}",
}
_WHAT = {
    "trained": "trained here by job {job}",
    "uploaded": "unverified: uploaded as it is, nothing is known of its training",
    "snapshot": "online snapshot: what an online model published, not the end of a training; scaled values in and out",
}
_FOUND = ("input_shape", "output_shape", "parameters", "metadata", "fingerprint", "environment")
DATASETS = 8
"""Datasets of a model that samples are taken from, the held-out ones first."""


@dataclass(slots=True)
class _Running:
    company: str
    cancel: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Any] | None = None
    begun: bool = False
    asking: int = 0
    """Who waits for it."""


class TranslationService:
    """See `Translating`. Enter it in a running event loop.

    Args:
        folder: for what is being translated, emptied at the start; and for what was.
    """

    def __init__(
        self, sharing: Sharing, runner: Runner, folder: Path, settings: TranslationSettings | None = None
    ) -> None:
        self._sharing, self._folder = sharing, folder
        self._settings = settings or TranslationSettings()
        self._translations = Translations(runner, self._settings)
        most = self._settings.parallel + self._settings.waiting
        self._turns = Turns(self._settings.parallel, most, "translations")
        self._running: dict[str, _Running] = {}
        self._closing = False

    async def __aenter__(self) -> TranslationService:
        await asyncio.to_thread(_sweep, self._folder)
        return self

    def quiet(self) -> None:
        """The platform stops: whoever waits is told so while there is a door to tell it through."""
        self._closing = True
        for one in self._running.values():
            one.cancel.set()

    async def __aexit__(self, *_: object) -> None:
        self.quiet()
        await self._stop(list(self._running.values()))

    async def close(self, company: str) -> None:
        """A company was deleted: nothing of it goes on."""
        await self._stop([one for one in self._running.values() if one.company == company])

    async def _stop(self, running: Sequence[_Running]) -> None:
        for one in running:
            one.cancel.set()
            if one.task is not None and not one.begun:
                one.task.cancel()
        await asyncio.gather(*(one.task for one in running if one.task is not None), return_exceptions=True)

    async def translate(self, who: Principal, id: str, wish: Wish) -> Model:
        """See `Translating.translate`. Whoever asks for what is under way waits for the same; once begun it goes on without
        him.

        Raises TooMany besides.
        """
        who.require("write")
        model = await self._sharing.model(who, id)
        await self._sharing.check(who, id, "derive")
        _ready(model)
        named = _key(who.company, model, wish)
        if (there := await self._there(who, named, model)) is not None:
            return there
        work = _key(who.company, model, wish.model_copy(update={"name": ""}))
        made = await self._there(who, work, model) or await self._made(who, model, wish, work)
        assert made.translation is not None
        if made.name != (wish.name or made.translation.named(model.name)):
            async with _on_disk(), self._sharing.content(who, made.id, "derive") as onnx:
                made = await self._sharing.translated(who, id, made.translation, onnx, _again(made), wish.name)
        await asyncio.to_thread(_note, self._folder / "known" / named, made.id)
        return made

    async def _made(self, who: Principal, model: Model, wish: Wish, work: str) -> Model:
        """What comes of the work, under the name of whoever asked for it first."""
        running = self._running.get(work)
        if running is None:
            if self._closing:
                raise stopped()
            running = self._running[work] = _Running(who.company)
            running.task = asyncio.create_task(self._translated(who, model, wish, work, running))
            running.task.add_done_callback(partial(self._forget, work, running))
        task = running.task
        assert task is not None
        running.asking += 1
        try:
            await asyncio.wait({task})
        finally:
            running.asking -= 1
            if not running.asking and not running.begun:
                self._forget(work, running, task)
                task.cancel()
        if task.cancelled():
            raise stopped()
        found: Model = task.result()
        return found

    def _forget(self, work: str, one: _Running, done: asyncio.Task[Any]) -> None:
        if self._running.get(work) is one:
            del self._running[work]
        if done.done() and not done.cancelled():
            done.exception()  # whoever asked may be gone

    async def _there(self, who: Principal, key: str, of: Model) -> Model | None:
        """The translation that was made of exactly this for the same wish, if it still is one."""
        note = self._folder / "known" / key
        try:
            found = await self._sharing.model(who, await asyncio.to_thread(note.read_text))
        except (FileNotFoundError, NotFound):
            return None
        said = found.translation
        good = found.deleted_ms is None and said is not None and (said.of, said.digest) == (of.id, of.digest)
        return found if good else None

    async def _translated(self, who: Principal, model: Model, wish: Wish, work: str, running: _Running) -> Model:
        async with AsyncExitStack() as held:
            place = await self._turn(who, running, held)
            subject = await self._subject(who, model, held)
            done = await self._translations.run(subject, wish, place, running.cancel)
            said, found = _said(model, wish, done), _found(model, done)
            made = await self._sharing.translated(who, model.id, said, done.onnx, found, wish.name)
            await asyncio.to_thread(_note, self._folder / "known" / work, made.id)
            return made

    async def _turn(self, who: Principal, running: _Running, held: AsyncExitStack) -> Path:
        """Its turn, once that has come, and a folder for it. Raises TooMany, Temporary."""
        held.enter_context(self._turns.place(who.company))
        await held.enter_async_context(self._turns.turn(who.company))
        await held.enter_async_context(_on_disk())
        if running.cancel.is_set():
            raise stopped()
        running.begun = True
        place = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._folder / "runs"))
        held.push_async_callback(asyncio.to_thread, shutil.rmtree, place, ignore_errors=True)
        return place

    async def retranslate(self, who: Principal, model: Model, tell: Callable[[str], None]) -> Retranslated:
        """See `headrace.services.verification.Retranslator`."""
        said = model.translation
        if said is None:
            raise BadInput(detail=f"{model.id} is no translation")
        if self._closing:
            raise stopped()
        original = await self._sharing.model(who, said.of)
        await self._sharing.check(who, said.of, "derive")
        _ready(original)
        if original.digest != said.digest:
            raise Conflict(detail=f"{said.of} is not the model any more that was translated")
        work, running = f"again-{secrets.token_hex(8)}", _Running(who.company)
        running.task = task = asyncio.create_task(self._again(who, model, original, tell, running))
        self._running[work] = running
        try:
            await asyncio.wait({task})
        finally:
            del self._running[work]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            raise stopped()
        return task.result()

    async def _again(
        self, who: Principal, model: Model, original: Model, tell: Callable[[str], None], running: _Running
    ) -> Retranslated:
        async with AsyncExitStack() as held:
            tell("waits for other translations to end")
            place = await self._turn(who, running, held)
            subject = await self._subject(who, original, held)
            return await Again(self._translations, model, subject, place, running.cancel).run(self._sharing, who, tell)

    async def _subject(self, who: Principal, model: Model, held: AsyncExitStack) -> Subject:
        """The model's content, its code if it is the caller's, and those of its datasets he may derive from."""
        files = await held.enter_async_context(self._sharing.content(who, model.id, "derive"))
        code = None
        if model.recipe is not None and model.company == who.company:
            code = await held.enter_async_context(self._sharing.code(who, model.id))
        held_out = list(model.recipe.evaluation if model.recipe else [])[:DATASETS]
        training = list(model.datasets)[: DATASETS - len(held_out)]
        first = samples_of("/work/data", await self._datasets(who, training, held))
        second = samples_of("/work/evaluation", await self._datasets(who, held_out, held))
        return Subject(
            files=files,
            name=model.files[0].path if len(model.files) == 1 else "",
            online=model.snapshot is not None,
            network=_network(model),
            shape=model.input_shape,
            recipe=model.recipe,
            code=code,
            training=first,
            held_out=second,
            left_out=len(training) + len(held_out) - len(first) - len(second),
        )

    async def _datasets(self, who: Principal, ids: Sequence[str], held: AsyncExitStack) -> list[tuple[str, Path]]:
        """(plain name, file) of each. What he may not derive from, or is gone, is left out: what is told of it is not held."""
        found = []
        for id in ids:
            with contextlib.suppress(NotFound, Forbidden):
                record = await self._sharing.dataset(who, id)
                path = await held.enter_async_context(self._sharing.content(who, id, "derive"))
                found.append((_plain(record.filename), path))
        return found


if TYPE_CHECKING:

    def _fits(service: TranslationService) -> Translating:
        return service


@contextlib.asynccontextmanager
async def _on_disk() -> AsyncIterator[None]:
    """A full disk is said to be one."""
    try:
        yield
    except OSError as error:
        if unavailable(error):
            raise StorageUnavailable(detail=f"there is no room for a translation ({error.strerror})") from error
        raise


def _ready(model: Model) -> None:
    """Raises Conflict: what it is now."""
    if model.deleted_ms is not None:
        raise NotFound(detail=f"{model.id} was deleted: its record is left, its content is gone")
    if (reason := revoked(model)) is not None:
        raise Conflict(detail=f"{model.id} cannot be translated: its owner revoked it ({reason})")
    if model.state not in READY:
        said = _NOT_YET[model.state].format(job=model.job or "no job yet", parent=model.parent)
        raise Conflict(detail=f"{model.id} cannot be translated: {said}")
    if model.held_for:
        held = ", ".join(model.held_for)
        raise Conflict(
            detail=f"{model.id} cannot be translated yet: it was trained on data of {held} and is held until they release "
            "it, for the certificate of a translation tells of the data"
        )


def _network(model: Model) -> dict[str, Any]:
    """What a snapshot's record says of its network."""
    if model.snapshot is None:
        return {}
    known = model.metadata.get("network")
    return {**(known if isinstance(known, dict) else {}), "framework": model.framework}


def _key(company: str, model: Model, wish: Wish) -> str:
    asked = {"company": company, "of": model.id, "digest": model.digest, "wish": wish.model_dump(mode="json")}
    return hashlib.sha256(canonical(asked)).hexdigest()


def _said(model: Model, wish: Wish, done: Made) -> Translation:
    exported, compared = done.exported, done.compared
    return Translation(
        of=model.id,
        digest=model.digest,
        framework=exported.framework,
        exporter=exported.exporter,
        opset=compared.opset,
        dtypes=compared.dtypes,
        dropout="train-fixed" if wish.dropout == "train-fixed" else "eval",
        versions=compared.versions,
        parity=compared.parity,
    )


def _found(model: Model, done: Made) -> dict[str, Any]:
    """What the record says besides: all a door needs to serve it, and where it was made."""
    compared, original = done.compared, _WHAT[model.state].format(job=model.job)
    if model.snapshot is not None and "floor" not in _network(model):
        original += "; whether its forecasts had a floor, its record does not say, and this has none"
    return {
        "fingerprint": str(done.environment.get("digest", "")),
        "environment": {name: value for name, value in done.environment.items() if name != "packages"},
        "input_shape": compared.input_shape,
        "output_shape": compared.output_shape,
        "parameters": model.parameters if model.parameters is not None else compared.parameters,
        "metadata": {
            "format": "onnx",
            "original": original,
            "inputs": [one.model_dump() for one in compared.inputs],
            "outputs": [one.model_dump() for one in compared.outputs],
        },
    }


def _again(made: Model) -> dict[str, Any]:
    """The same of a translation that is registered already."""
    return made.model_dump(include={*_FOUND})


def _plain(filename: str) -> str:
    """A dataset's file name without folders, and without what separates names in HEADRACE_DATA."""
    name = filename.replace("\\", "/").rpartition("/")[2].replace(":", "_").replace("\0", "_")
    return name if name.strip(".") else "data"


def _note(path: Path, id: str) -> None:
    part = path.with_suffix(f".{secrets.token_hex(8)}")  # several may say the same at one time
    part.write_text(id)
    part.replace(path)


def _sweep(folder: Path) -> None:
    """What was under way when the platform was killed is nothing."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    (folder / "runs").mkdir(parents=True, mode=0o700)
    (folder / "known").mkdir(exist_ok=True)
    for part in (folder / "known").glob("*.*"):
        part.unlink()
