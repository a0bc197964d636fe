"""What companies share, composed: the hub and the training queue over one folder, with their doors."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Container
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import Engine

from headrace.access import Principal
from headrace.assets import Job, Recipe
from headrace.errors import BadInput, Conflict, Forbidden, MissingExtra, Temporary, TooLarge
from headrace.models.backends.parent import ADVICE
from headrace.models.onnx_files import CLASSIC, check_apart
from headrace.runners import Runner
from headrace.services import apidocs
from headrace.services.http import App, Receive, Scope, Send
from headrace.services.sharing import Notary, Sharing, Store, Trainer
from headrace.services.sharing import http as sharing_http
from headrace.services.sharing.sandboxed import SandboxInspector
from headrace.services.sharing.service import SharingService
from headrace.services.sharing.streams import Streams
from headrace.services.training import http as training_http
from headrace.services.training.service import TrainingService
from headrace.services.translation import http as translation_http
from headrace.services.translation.service import TranslationService
from headrace.services.verification import Rederiver, Retrainer, Retranslator
from headrace.services.verification import http as verification_http
from headrace.services.verification.service import VerificationService
from headrace.settings import LibrarySettings, VerificationSettings
from headrace.states import digest
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.database import open_database, sqlite_url
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import LEDGERS, Ledger
from headrace.trust.ledgers.none import NoLedger

SHARING = (
    "/datasets",
    "/models",
    "/lineage",
    "/grants",
    "/audit",
    "/uploads",
    "/internal",
    *apidocs.paths("sharing"),
)
TRAINING = ("/jobs", *apidocs.paths("training"))
TRANSLATION = ("/translate", *apidocs.paths("translation"))
VERIFICATION = (*verification_http.PATHS, *apidocs.paths("verification"))
"""How the paths of the services begin."""
KEYS = "keys"
"""Folder of the companies' secrets in the data directory."""
INSTALL = "pip install 'headrace[chain]'"
REPRODUCE = re.compile(r"/models/[^/]+/reproduce")


class Library:
    """Datasets, models and jobs of all companies. Enter it in a running event loop.

    Args:
        folder: databases, artifacts and runs; ours alone.
        runner: where other people's code runs.
        streams: opens a company's log.
        companies: names of those there are; blocks. None: not known, and grants to anybody are taken.
        rederiver: replays a company's log; None: nobody does.
    """

    def __init__(
        self,
        folder: Path,
        runner: Runner,
        streams: Streams,
        settings: LibrarySettings,
        companies: Callable[[], Container[str]] | None = None,
        rederiver: Rederiver | None = None,
    ) -> None:
        self._companies, self._rederiver = companies, rederiver
        self._folder, self._runner, self._streams, self._settings = folder, runner, streams, settings
        self._stack = AsyncExitStack()
        self.said = ""
        """What whoever started it should know of its ledger; "": nothing."""
        self.apps: dict[str, App] = {}
        """Doors by the first part of their paths."""

    async def __aenter__(self) -> Library:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self) -> None:
        folder, settings, runner, stack = self._folder, self._settings, self._runner, self._stack
        trainer = Later()
        ledger = await open_ledger(stack, folder, settings.verification)
        self.said = ledger.why if isinstance(ledger, NoLedger) else ""
        self.verification = await open_verification(
            stack,
            folder,
            ledger,
            lambda: self.sharing,
            settings,
            lambda: self.training,
            lambda: self._rederiver,
            lambda: self.translation,
        )
        notary = None if isinstance(ledger, NoLedger) else self.verification
        self.sharing = hub = await open_hub(
            stack, folder, runner, self._streams, settings, trainer, self._companies, notary
        )
        self.training = trainer.trainer = queue = await open_queue(stack, folder, hub, runner, settings)
        self.apps |= dict.fromkeys(
            SHARING, sharing_http.create_app(hub, largest_upload=settings.artifacts.upload_bytes)
        )
        self.apps |= dict.fromkeys(TRAINING, training_http.create_app(queue, settings.training.code_bytes))
        self.apps |= dict.fromkeys(VERIFICATION, verification_http.create_app(self.verification))
        self.translation = await open_translation(stack, folder, hub, runner, settings)
        self.apps |= dict.fromkeys(TRANSLATION, translation_http.create_app(self.translation))
        self.apps["/models"] = Models(self.apps["/models"], self.apps["/jobs"])

    def quiet(self) -> None:
        """The platform stops: answers that take long end now."""
        self.translation.quiet()

    async def opened(self, company: str) -> None:
        """A company was added. Raises Conflict where another one of that name has left something: it would be the new one's."""
        if await self.sharing.leaving.known(company) or await self.training.known(company):
            raise Conflict(
                detail=f"a company {company!r} was deleted, and records are left that name it (tombstones, grants, jobs, "
                "the audit log): a new one would be taken for it; choose another name"
            )
        self.sharing.leaving.opened(company)

    async def closed(self, company: str) -> None:
        """A company was deleted: its jobs end, its uploads and contents go, its grants end."""
        await self.training.close(company)
        await self.translation.close(company)
        await self.sharing.leaving.close(company)

    async def follow(self, companies: Container[str]) -> None:
        """Close those that were deleted when nobody could do so: the platform was killed in between."""
        for company in sorted(await self.sharing.leaving.companies() | await self.training.companies()):
            if company not in companies:
                await self.closed(company)

    async def weights(self, who: Principal, id: str) -> tuple[str, bytes]:
        """See `headrace.services.learning.parents.Weights`."""
        return await weights_of(self.sharing, who, id, self._settings.parent_bytes)

    async def onnx(self, who: Principal, id: str) -> tuple[str, bytes]:
        """See `headrace.services.learning.deployed.service.Source`."""
        return await onnx_of(self.sharing, who, id, self._settings.deployed.bytes)


async def open_hub(
    stack: AsyncExitStack,
    folder: Path,
    runner: Runner,
    streams: Streams,
    settings: LibrarySettings,
    trainer: Trainer | None,
    companies: Callable[[], Container[str]] | None = None,
    notary: Notary | None = None,
) -> SharingService:
    """The hub over a library's folder, until the stack is closed."""
    hub = SharingService(
        await _database(stack, folder, "sharing"),
        FileArtifacts(folder / "artifacts", settings.artifacts),
        SandboxInspector(runner, folder / "looks", settings.inspection),
        trainer,
        streams=streams,
        scratch=folder / "scratch",
        companies=companies,
        notary=notary,
        anew=settings.verification.ledger == "memory",
        snapshots_kept=settings.snapshots_kept,
        registrations=settings.registrations,
    )
    return await stack.enter_async_context(hub)


async def open_ledger(stack: AsyncExitStack, folder: Path, settings: VerificationSettings) -> Ledger:
    """The ledger of a library's folder, until the stack is closed; `NoLedger` if there is to be none, or nothing was said and
    it is not installed. Raises UnknownPlugin, MissingExtra."""
    if settings.ledger == "none":
        return NoLedger("`--ledger none` was asked for; without it there is one")
    try:
        kind = LEDGERS.find(settings.ledger or "embedded")
        ledger = kind() if settings.ledger == "memory" else kind(folder.parent / "ledger", folder.parent / KEYS)
        opened: Ledger = await stack.enter_async_context(ledger)
    except MissingExtra as error:
        if settings.ledger:
            raise
        return NoLedger(f"the ledger needs a library that is not installed ({error.fields['module']}): {INSTALL}")
    return opened


def keyring_of(folder: Path) -> Keyring:
    """The companies' secrets, beside a library's folder. Blocks."""
    return Keyring(folder.parent / KEYS)


async def open_verification(
    stack: AsyncExitStack,
    folder: Path,
    ledger: Ledger,
    sharing: Callable[[], Store],
    settings: LibrarySettings,
    retrainer: Callable[[], Retrainer | None] = lambda: None,
    rederiver: Callable[[], Rederiver | None] = lambda: None,
    retranslator: Callable[[], Retranslator | None] = lambda: None,
) -> VerificationService:
    """The verification service over a library's folder, until the stack is closed."""
    name = "verification"
    if settings.verification.ledger == "memory":  # what it knows goes with the ledger
        name = "verification-memory"
        await asyncio.to_thread(_forget, folder, name)
    engine = await _database(stack, folder, "verification", name)
    keyring = await asyncio.to_thread(keyring_of, folder)
    scratch = folder / "bundles"
    await asyncio.to_thread(_emptied, scratch)
    makers = (retrainer, rederiver, retranslator)
    service = VerificationService(engine, ledger, sharing, keyring, settings.verification, scratch, *makers)
    return await stack.enter_async_context(service)


async def open_queue(
    stack: AsyncExitStack, folder: Path, sharing: Sharing, runner: Runner, settings: LibrarySettings
) -> TrainingService:
    """The queue over a library's folder, until the stack is closed."""
    engine = await _database(stack, folder, "training")
    queue = TrainingService(engine, sharing, runner, folder / "training", settings.training)
    return await stack.enter_async_context(queue)


async def open_translation(
    stack: AsyncExitStack, folder: Path, sharing: Sharing, runner: Runner, settings: LibrarySettings
) -> TranslationService:
    """Translations in a library's folder, until the stack is closed."""
    service = TranslationService(sharing, runner, folder / "translation", settings.translation)
    return await stack.enter_async_context(service)


def _emptied(folder: Path) -> None:
    """A folder of files that were being sent: none of them outlives its process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def _forget(folder: Path, name: str) -> None:
    for left in folder.glob(f"{name}.db*"):
        left.unlink()


async def _database(stack: AsyncExitStack, folder: Path, service: str, name: str = "") -> Engine:
    url = sqlite_url(folder / f"{name or service}.db")
    engine = await asyncio.to_thread(open_database, url, f"headrace.services.{service}")
    stack.callback(engine.dispose)
    return engine


class Models:
    """``/models`` is the hub's, but for ``/models/ID/reproduce``: that asks the queue for a job."""

    def __init__(self, hub: App, queue: App) -> None:
        self._hub, self._queue = hub, queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._queue if REPRODUCE.fullmatch(scope["path"]) else self._hub
        await door(scope, receive, send)


class Keys:
    """``/keys``: ``/keys/rotate`` is the identity service's (of tokens), the others the verification service's (of records)."""

    def __init__(self, identity: App, verification: App) -> None:
        self._identity, self._verification = identity, verification

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._identity if scope["path"] == "/keys/rotate" else self._verification
        await door(scope, receive, send)


async def weights_of(sharing: Sharing, who: Principal, id: str, limit: int) -> tuple[str, bytes]:
    """(digest, bytes) of a registered model's weights, at most `limit` bytes, for whoever may derive from it.

    Raises NotFound, Forbidden, Conflict, BadInput, TooLarge, CorruptState.
    """
    model = await sharing.model(who, id)
    if model.held_for:  # a job's result would be held like it; forecasts cannot be
        held = ", ".join(model.held_for)
        raise Forbidden(detail=f"{id} was trained on data of {held} and is held until they release it")
    if model.deleted_ms is None and model.state not in {"trained", "uploaded", "snapshot"}:
        raise Conflict(detail=f"{id} has no weights to start from: it is {model.state}; apply this once it is trained")
    async with sharing.content(who, id, "derive") as path:
        return await asyncio.to_thread(weights_in, path, id, limit)


def weights_in(path: Path, id: str, limit: int) -> tuple[str, bytes]:
    """(digest, bytes) of the one safetensors file of a model. Raises BadInput, TooLarge."""
    if path.is_dir():
        names = sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        found = [name for name in names if name.endswith(".safetensors")]
        if len(found) != 1:
            has = ", ".join(names[:8])[:300]
            raise BadInput(
                detail=f"{id} has {len(found)} .safetensors files and one is needed (it has {has}); {ADVICE}"
            )
        path = path / found[0]
    if (size := path.stat().st_size) > limit:
        what = f"the weights file of {id} (it would be kept in the log)"
        raise TooLarge(what=what, size=size, limit=limit, setting="LibrarySettings.parent_bytes")
    data = path.read_bytes()
    return digest(data), data


async def onnx_of(sharing: Sharing, who: Principal, id: str, limit: int) -> tuple[str, bytes]:
    """(digest, bytes) of a registered model's ONNX file, at most `limit` bytes, for whoever may read it.

    Raises NotFound, Forbidden, Conflict, BadInput, TooLarge, CorruptState.
    """
    model = await sharing.model(who, id)
    if model.deleted_ms is None and model.state not in {"trained", "uploaded", "translated", "snapshot"}:
        raise Conflict(detail=f"{id} has no files to deploy: it is {model.state}; apply this once it is trained")
    if model.held_for:
        held = ", ".join(model.held_for)
        raise Forbidden(detail=f"{id} was trained on data of {held} and is held until they release it")
    names = sorted(one.path for one in model.files)
    found = [name for name in names if name.endswith(".onnx")]
    if len(found) != 1 and model.deleted_ms is None:
        has = ", ".join(names[:8])[:300]
        more = "" if found else f"; `headrace translate {id}` makes one of PyTorch, scikit-learn and Keras"
        raise BadInput(detail=f"{id} has {len(found)} .onnx files and one is needed (it has {has}){more}")
    async with sharing.content(who, id, "read") as path:
        file = path / found[0] if path.is_dir() else path
        return await asyncio.to_thread(onnx_in, file, id, limit)


def onnx_in(path: Path, id: str, limit: int) -> tuple[str, bytes]:
    """(digest, bytes) of a model's ONNX file, a plain graph with nothing beside it. Raises BadInput, TooLarge."""
    if (size := path.stat().st_size) > limit:
        raise TooLarge(what=f"the ONNX file of {id}", size=size, limit=limit, setting="DeployedSettings.bytes")
    try:
        check_apart(path, CLASSIC)
    except ValueError as error:
        raise BadInput(detail=f"{id} is {error}, which is not served") from error
    data = path.read_bytes()
    return digest(data), data


class Later:
    """A trainer that is made after whoever needs it: the hub and the queue need each other."""

    trainer: Trainer | None = None

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """See `Trainer`."""
        await self._ready().validate(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """See `Trainer`."""
        return await self._ready().submit(who, model, recipe, priority, attempts)

    def _ready(self) -> Trainer:
        if self.trainer is None:
            raise Temporary(detail="the training service is starting")
        return self.trainer
