"""One service alone in its process, behind an entrance of its own: `headrace serve`. It meets the others over HTTP.

All share one data directory, as `headrace up` has it: each its own part of it, and DATA/identity, whose keys say that a
request comes from one of them. A lock keeps a service from running there twice, or beside a whole platform.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from headrace.access import LOCAL, Principal
from headrace.errors import BadInput, Unsupported
from headrace.front import Guard, hosts
from headrace.library import open_hub, open_ledger, open_queue, open_translation, open_verification
from headrace.listening import listen, locked_for, port_errors, served
from headrace.runners.local import LocalRunner
from headrace.services.entrance import Entrance
from headrace.services.http import App, Receive, Scope, Send, answer_json
from headrace.services.identity.http import create_app as identity_app
from headrace.services.identity.service import IdentityService
from headrace.services.sharing import http as sharing_http
from headrace.services.sharing.client import SharingClient
from headrace.services.training import http as training_http
from headrace.services.training.client import TrainingClient
from headrace.services.translation import http as translation_http
from headrace.services.translation.service import TranslationService
from headrace.services.verification import http as verification_http
from headrace.services.verification.client import VerificationClient
from headrace.settings import ISSUER, ServeSettings
from headrace.streams.logs import LogReader, open_reader
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
        entrance = Entrance(_Alive(await self._app()), identities, identities.sessions)
        guard = Guard(entrance, hosts(settings.host, port, ()))
        await stack.enter_async_context(served(guard, listener))
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
        service = await open_verification(self._stack, self._folder, ledger, lambda: sharing, self.settings.library)
        return verification_http.create_app(service)

    async def _translation(self) -> App:
        sharing = await self._hub("translation reads its models from")
        settings = self.settings.library
        service = await open_translation(self._stack, self._folder, sharing, self._runner(), settings)
        self._translating = service
        return translation_http.create_app(service)

    async def _hub(self, wherefore: str) -> SharingClient:
        """The sharing service, elsewhere. Raises BadInput."""
        if not self.settings.sharing:
            raise BadInput(detail=f"{wherefore} the sharing service: say where it is (--sharing URL)")
        client = SharingClient(self.settings.sharing, self._token, self._folder / "fetched" / self.settings.service)
        return await self._stack.enter_async_context(client)

    def _token(self, who: Principal) -> str:
        return self.identities.on_behalf(who, self.settings.service)

    def _runner(self) -> LocalRunner:
        return LocalRunner(private=[self.settings.data.resolve()])

    @property
    def _folder(self) -> Path:
        return self.settings.data.resolve() / "library"

    def _stream(self, company: str) -> LogReader:
        data = self.settings.data
        return open_reader(data if company == LOCAL else data / "companies" / company)


class _Alive:
    """A service with an answer at ``/`` for whoever watches it."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/" and scope["method"] == "GET":
            await answer_json(send, {"status": "alive"})
        else:
            await self._app(scope, receive, send)
