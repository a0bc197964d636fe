"""One service alone in its process, behind an entrance of its own: `headrace serve`. It meets the others over HTTP.

All share one data directory, as `headrace up` has it: each its own part of it, and DATA/identity, whose keys say that a
request comes from one of them. A lock keeps a service from running there twice, or beside a whole platform.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from headrace.access import LOCAL, Principal
from headrace.credentials import REALM_PATH
from headrace.errors import BadInput, NotFound, Unsupported
from headrace.front import Guard, hosts
from headrace.library import open_hub, open_ledger, open_queue, open_translation, open_verification
from headrace.listening import listen, locked_for, port_errors, served
from headrace.runners.local import LocalRunner
from headrace.services.apidocs import index
from headrace.services.entrance import Entrance
from headrace.services.http import App, Receive, Scope, Send, answer, answer_json
from headrace.services.identity.http import create_app as identity_app
from headrace.services.identity.service import IdentityService
from headrace.services.sharing import http as sharing_http
from headrace.services.sharing.client import SharingClient
from headrace.services.training import http as training_http
from headrace.services.training.client import TrainingClient
from headrace.services.translation import http as translation_http
from headrace.services.translation.service import TranslationService
from headrace.services.unread import Unread
from headrace.services.verification import http as verification_http
from headrace.services.verification.client import VerificationClient
from headrace.settings import ISSUER, ServeSettings
from headrace.streams.logs import LogReader, open_reader, recorded
from headrace.trust.identities.local import LocalIdentities


class Alone:
    """A service, running. Enter it in a running event loop.

    Raises DirectoryInUse, PortInUse, BadInput: it was not told where the service it needs is.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.url = ""
        self._stack = AsyncExitStack()
        self._translating: TranslationService | None = None

    async def __aenter__(self) -> Alone:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def token_file(self) -> Path:
        """The file with the token of this install, for its owner's eyes."""
        return self.settings.data / "identity" / "token"

    async def _open(self) -> None:
        settings, stack = self.settings, self._stack
        stack.enter_context(locked_for(settings.data, settings.service))
        with port_errors(settings.host, settings.port, "--port"):
            listener = listen(settings.host, settings.port)
        stack.callback(listener.close)
        port = listener.getsockname()[1]
        self.url = f"http://{settings.host}:{port}"
        issuer = settings.identity or (self.url if settings.service == "identity" else ISSUER)
        identities = LocalIdentities(settings.data / "identity", issuer.rstrip("/"))
        self.identities = await stack.enter_async_context(identities)
        app = _Alive(await self._app(), settings.service, self._told(identities.issuer))
        entrance = Entrance(Unread(app), identities, identities.sessions)
        guard = Guard(entrance, hosts(settings.host, port, ()))
        await stack.enter_async_context(served(guard, listener, settings.http))
        if self._translating is not None:
            stack.callback(self._translating.quiet)

    async def _app(self) -> App:
        match self.settings.service:
            case "identity":
                return identity_app(IdentityService(self.identities))
            case "sharing":
                return await self._sharing()
            case "training":
                return await self._training()
            case "verification":
                return await self._verification()
            case "translation":
                return await self._translation()
        raise Unsupported(detail=f"{self.settings.service!r} is no service that runs alone")

    async def _sharing(self) -> App:
        settings, trainer = self.settings, None
        if settings.training:
            trainer = await self._stack.enter_async_context(TrainingClient(settings.training, self._token))
        notary = None
        if settings.verification:
            notary = await self._stack.enter_async_context(VerificationClient(settings.verification, self._token))
        hub = await open_hub(
            self._stack, self._folder, self._runner(), self._stream, settings.library, trainer, notary=notary
        )
        return sharing_http.create_app(hub, largest_upload=settings.library.artifacts.upload_bytes)

    async def _training(self) -> App:
        settings, sharing = self.settings, await self._hub("training reads its datasets from")
        queue = await open_queue(self._stack, self._folder, sharing, self._runner(), settings.library)
        return training_http.create_app(queue, settings.library.training.code_bytes)

    async def _verification(self) -> App:
        sharing = await self._hub("verification asks who may know of what")
        ledger = await open_ledger(self._stack, self._folder, self.settings.library.verification)
        trainer: TrainingClient | None = None
        if self.settings.training:
            trainer = await self._stack.enter_async_context(TrainingClient(self.settings.training, self._token))
        service = await open_verification(
            self._stack, self._folder, ledger, lambda: sharing, self.settings.library, lambda: trainer
        )
        return verification_http.create_app(service)

    async def _translation(self) -> App:
        sharing = await self._hub("translation reads its models from")
        settings = self.settings.library
        service = await open_translation(self._stack, self._folder, sharing, self._runner(), settings)
        self._translating = service
        return translation_http.create_app(service)

    async def _hub(self, wherefore: str) -> SharingClient:
        """The sharing service, elsewhere. Raises BadInput."""
        settings = self.settings
        if not settings.sharing:
            raise BadInput(detail=f"{wherefore} the sharing service: say where it is (--sharing URL)")
        scratch = self._folder / "fetched" / settings.service
        return await self._stack.enter_async_context(SharingClient(settings.sharing, self._token, scratch))

    def _told(self, issuer: str) -> dict[str, str]:
        """What it tells everybody of itself: nothing that its tokens and settings do not say to its users."""
        others = {"jobs": self.settings.training, "sharing": self.settings.sharing}
        return {
            "issuer": issuer,
            **{name: url for name, url in others.items() if url and name != self.settings.service},
        }

    def _token(self, who: Principal) -> str:
        return self.identities.on_behalf(who, self.settings.service)

    def _runner(self) -> LocalRunner:
        return LocalRunner(private=[self.settings.data.resolve()])

    @property
    def _folder(self) -> Path:
        return self.settings.data.resolve() / "library"

    def _stream(self, company: str) -> LogReader:
        data = self.settings.data
        folder = data if company == LOCAL else data / "companies" / company
        if not recorded(folder):
            raise NotFound(
                detail=f"no stream of {company!r} has been recorded here: a platform (`headrace up`) records them into the "
                "data directory that its services share"
            )
        return open_reader(folder)


PATHS = {
    "sharing": ("datasets", "models", "grants", "audit", "lineage", "uploads"),
    "training": ("jobs",),
    "identity": ("realms", "companies", "people", "whoami", "password", "session", "login", "logout", "keys"),
}
"""Service -> the first parts of its paths."""


class _Alive:
    """A service with an answer at ``/`` for whoever watches it, and for whoever looks for another service here.

    Args:
        told: what it says of itself and of where others are.
    """

    def __init__(self, app: App, service: str, told: dict[str, str]) -> None:
        self._app, self._service, self._told = app, service, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
            await answer_json(send, {"status": "alive", "service": self._service, **self._told})
        elif scope["type"] == "http" and scope["path"] == "/docs" and scope["method"] in {"GET", "HEAD"}:
            await answer(send, 200, *index([self._service]))
        elif scope["type"] == "http" and (other := service_of(scope["path"])) not in {"", self._service}:
            await answer_json(send, {"error": self._elsewhere(other)}, 404)
        else:
            await self._app(scope, receive, send)

    def _elsewhere(self, other: str) -> str:
        where = {"identity": self._told["issuer"].removesuffix(REALM_PATH)}.get(other, "")
        where = where or self._told.get({"training": "jobs"}.get(other, other), "")
        at = f"is at {where}" if where else "answers at an address of its own"
        what = {"training": "the training service, which has the jobs,"}.get(other, f"the {other} service")
        return f"this is the {self._service} service; {what} {at}"


def service_of(path: str) -> str:
    """Which service a path is one of; "" if of none or all.

    >>> service_of("/jobs/jb_1"), service_of("/models/md_1/reproduce"), service_of("/models/md_1"), service_of("/docs/jobs")
    ('training', 'training', 'sharing', '')
    """
    parts = path.split("/")
    if parts[1:2] == ["models"] and parts[3:] == ["reproduce"]:
        return "training"
    return next((service for service, firsts in PATHS.items() if parts[1:2] and parts[1] in firsts), "")
