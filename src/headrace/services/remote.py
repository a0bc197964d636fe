"""What the clients of our services share: one HTTP connection pool around a generated client, and errors that stay ours."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, Protocol, Self, TypeVar

import httpx
import msgspec

from headrace import errors
from headrace.access import Principal

TokenFor = Callable[[Principal], str]
"""A token that says on whose behalf a service asks: `LocalIdentities.on_behalf`."""
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_WHO: ContextVar[Principal] = ContextVar("on_behalf_of")
_KINDS: dict[int, type[errors.HeadraceError]] = {
    400: errors.BadInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    413: errors.TooLarge,
    422: errors.Unexplained,
    429: errors.TooMany,
    501: errors.Unsupported,
    503: errors.Temporary,
    507: errors.StorageUnavailable,
}


class Generated(Protocol):
    """The part of a generated client that is used here."""

    def set_async_httpx_client(self, async_client: httpx.AsyncClient) -> Any:
        """Use this connection pool."""
        ...


class Answer(Protocol):
    """What a generated operation gives back."""

    status_code: HTTPStatus
    content: bytes


C = TypeVar("C", bound=Generated)


def heard(status: int, body: bytes) -> errors.HeadraceError:
    """The error another service answered with, in its own words.

    >>> heard(404, b'{"error": "There is no dataset \\'ds_1\\'."}')
    NotFound("There is no dataset 'ds_1'.")
    """
    kind = _KINDS.get(status, errors.HeadraceError if status < 500 else errors.Temporary)
    try:
        text = str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        text = f"the other service answered {status}"
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.fields = {"detail": text}
    return error


class _OnBehalf(httpx.Auth):
    """Signs each request for whoever it is made for."""

    def __init__(self, token_for: TokenFor) -> None:
        self._token_for = token_for

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["authorization"] = f"Bearer {self._token_for(_WHO.get())}"
        yield request


class Remote:
    """A service elsewhere. Enter it in a running event loop.

    Args:
        name: what it is called in messages.
        url: where it answers.
        token_for: makes the token of a request.
    """

    def __init__(self, name: str, url: str, token_for: TokenFor) -> None:
        self._name, self._url = name, url
        self.http = httpx.AsyncClient(
            base_url=url, auth=_OnBehalf(token_for), timeout=TIMEOUT, trust_env=False, follow_redirects=False
        )

    async def __aenter__(self) -> Self:
        await self.http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.__aexit__(None, None, None)

    def over(self, generated: C) -> C:
        """A generated client over our connection pool."""
        generated.set_async_httpx_client(self.http)
        return generated

    async def ask(self, who: Principal, asked: Callable[[], Awaitable[Any]]) -> bytes:
        """The body of a good answer to a generated operation. Raises what the service raised; Temporary: it is away."""
        with self._for(who):
            answer: Answer = await asked()
        if answer.status_code >= 300:
            raise heard(int(answer.status_code), answer.content)
        return answer.content

    @contextlib.asynccontextmanager
    async def stream(self, who: Principal, request: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """A good answer whose body is still to come. Raises as `ask` does."""
        with self._for(who):
            async with self.http.stream(**request) as answer:
                if answer.status_code >= 300:
                    raise heard(answer.status_code, await answer.aread())
                yield answer

    @contextlib.contextmanager
    def _for(self, who: Principal) -> Iterator[None]:
        token = _WHO.set(who)
        try:
            yield
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            detail = f"the {self._name} service at {self._url} does not answer ({reason})"
            raise errors.Temporary(detail=detail) from error
        finally:
            with contextlib.suppress(ValueError):  # a generator may be closed in another context
                _WHO.reset(token)
