"""How commands talk to a platform: with this user's token, and with errors a person can act on."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from headrace.commands.printing import say

if TYPE_CHECKING:
    import httpx

URL = "http://127.0.0.1:8080"
TIMEOUT = 60.0
"""Seconds for an answer."""
SOON = 2.0
"""Seconds after which a command says what it waits for."""
BUSY = "it may be busy, or wait for its ledger"
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str, typer.Option("--url", envvar="HEADRACE_URL", help="Where the platform answers.")]
JOBS = "HEADRACE_TRAINING_URL"
"""Environment variable: where the training service answers, if that is not where the sharing service does and does not say."""
_TAKEN = {errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL}


def call(url: str, method: str, path: str, body: Any = None, seconds: float = TIMEOUT) -> Any:
    """What the platform answers within that time, as JSON; None if it answers nothing. Ends the command on an error."""
    return read(ask(url, method, path, body, seconds))


def ask(url: str, method: str, path: str, body: Any = None, seconds: float = TIMEOUT) -> httpx.Response:
    """The platform's answer. Ends the command when there is none, or when it does not know us."""
    from headrace import credentials

    headers = guard(lambda: credentials.headers(url))
    answer = _send(url, method, path, body, headers, seconds)
    if answer.status_code == 401 and headers:
        token = headers["Authorization"].removeprefix("Bearer ")
        again = guard(lambda: credentials.headers(url, token))
        if again and again != headers:
            answer = _send(url, method, path, body, again, seconds)
    if answer.status_code == 401:
        why = reason(answer).partition("; `headrace login`")[0]
        fail(f"{url} does not let you in: {why}; {sign_in(url)}")
    return answer


def sign_in(url: str) -> str:
    """How one gets a token for an address: where its issuer is, and how a login there is tied to it."""
    from headrace import credentials

    issuer = credentials.issuer_of(url)
    if issuer == credentials.normal(url):
        return f"`headrace login --url {url}` signs in"
    also = "" if credentials.tied(issuer, url) else f" --also {url}"
    return f"`headrace login --url {issuer}{also}` signs in"


def jobs_at(url: str) -> str:
    """Where the jobs of a platform are asked for: at the same address, unless the sharing service there names another one that
    this user's token may be sent to. Ends the command if it may not."""
    from headrace import credentials

    if given := os.environ.get(JOBS, "").strip():
        return given
    jobs = credentials.told(url).get("jobs", url)
    if not credentials.tied(url, jobs):
        fail(f"{url} says that its jobs are at {jobs}: if you trust that, set {JOBS}={jobs}")
    return jobs


def _send(url: str, method: str, path: str, body: Any, headers: dict[str, str], seconds: float) -> httpx.Response:
    import httpx

    from headrace.credentials import normal

    place = normal(url) + path
    what = "its ledger" if path.startswith(("/ledger", "/contracts")) else BUSY
    try:
        with waiting(f"waiting for {url}: {what}", SOON if seconds <= TIMEOUT else seconds):
            return httpx.request(method, place, json=body, headers=headers, timeout=seconds, trust_env=False)
    except httpx.TimeoutException:
        fail(f"{url} did not answer within {seconds:g} s; it may be busy, try again")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        fail(f"no answer from {url} ({why}); is it up? `headrace up` starts it, --url says where it is")


@contextlib.contextmanager
def waiting(what: str, after: float | None = None) -> Iterator[Callable[[], None]]:
    """Says on stderr what is waited for if that lasts; what is yielded ends it before its block does.

    Args:
        after: seconds (default: `SOON`).
    """
    timer = threading.Timer(SOON if after is None else after, say, [f"{what} …"], {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def read(answer: httpx.Response) -> Any:
    """An answer's JSON. Ends the command with what the platform says is wrong."""
    if answer.is_error:
        fail(reason(answer))
    if answer.status_code == 204:
        return None
    try:
        return answer.json()
    except ValueError:
        fail(f"{answer.url} answered with something that is not Headrace's; does --url name the right port?")


def reason(answer: httpx.Response) -> str:
    """What an answer says is wrong."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:200]}"


def quoted(name: str) -> str:
    """A name as one level of a path."""
    from urllib.parse import quote

    return quote(name, safe="")


def guard(work: Callable[[], Any]) -> Any:
    """What `work` returns; our own errors as one line, not as a trace. A wrong spec has several: its caller prints them."""
    from headrace.errors import BadSpec, HeadraceError

    try:
        return work()
    except BadSpec:
        raise
    except HeadraceError as error:
        fail(str(error))
    except OSError as error:
        if os.environ.get("HEADRACE_DEBUG") or isinstance(error, BrokenPipeError):
            raise
        ports = "; choose other ports with --http-port and --mqtt-port (0 takes a free one)"
        fail(f"{error.strerror or error}{ports if error.errno in _TAKEN else ''}")


def fail(message: str) -> NoReturn:
    """End the command."""
    say(f"headrace: {message}", err=True)
    raise typer.Exit(1)
