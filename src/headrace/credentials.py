"""What this user may use on which platform: one file, his own (0600), an entry for each address.

``$HEADRACE_HOME/credentials.json``, else ``~/.config/headrace/credentials.json``. An entry is the token of an install
(`headrace up` writes it for its own address) or a login: an access token of some minutes and the refresh token that gets
the next. Refresh tokens work once, so whoever refreshes holds a lock and looks first whether another process just has.

A platform's services may have addresses of their own, and a login is good at all of them. It is sent to another address than
the one it was made at only if the user has tied that to it (``headrace login --also URL``), or if both are on this machine and
the service there says that it believes this issuer.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headrace.disk import write_whole
from headrace.errors import BadInput, Unauthenticated

VARIABLE = "HEADRACE_TOKEN"
"""Environment variable with a token, which comes before the file."""
EARLY = 30.0
"""Seconds before its end in which an access token is not used any more."""
REALM_PATH = "/realms/headrace"
TOKEN_PATH = f"{REALM_PATH}/protocol/openid-connect/token"


def file() -> Path:
    """The credentials file."""
    home = os.environ.get("HEADRACE_HOME")
    if home:
        return Path(home) / "credentials.json"
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "headrace" / "credentials.json"


def normal(url: str) -> str:
    """An address as entries have it: this machine has one name, so that its token is not sent to who listens on another.

    >>> normal("http://localhost:8080/"), normal("HTTPS://Hub.Example")
    ('http://127.0.0.1:8080', 'https://hub.example')
    """
    try:
        parts = urlsplit(url.strip())
        host = "127.0.0.1" if parts.hostname in {"localhost", "0.0.0.0"} else parts.hostname or ""  # noqa: S104
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme.lower()}://{host}{port}{parts.path.rstrip('/')}" if host else url


def headers(url: str, refused: str = "") -> dict[str, str]:
    """The header that says who calls; empty if this user has no token for that address.

    Args:
        refused: the token that was just answered with 401: it is not sent again.
    """
    found = token(url, refused)
    return {"Authorization": f"Bearer {found}"} if found else {}


def token(url: str, refused: str = "") -> str:
    """A token for an address, or "". Gets a new access token when the last is about to end.

    Raises:
        Unauthenticated: the login has ended. BadInput: the file is damaged.
    """
    if given := os.environ.get(VARIABLE, "").strip():
        return given
    entries = _read()
    place = _lender(normal(url), entries)
    entry = entries.get(place, {})
    if found := _usable(entry, refused):
        return found
    return _refreshed(place, refused) if "refresh_token" in entry else ""


def remember(url: str, entry: dict[str, Any]) -> None:
    """Keep what a platform gave: ``{"token": …}`` of an install, or an answer of a token endpoint."""
    with _locked():
        _write(_read() | {normal(url): _dated(entry)})


@lru_cache(64)
def told(url: str) -> dict[str, str]:
    """What a service says of itself to everybody: its name (``service``), whom it believes (``issuer``), where others are
    (``jobs``, ``sharing``); {} if it says nothing. No token is sent."""
    import httpx

    try:
        answer = httpx.get(normal(url) + "/", timeout=5, trust_env=False, headers={"accept": "application/json"})
        found = answer.json() if answer.is_success else {}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return {}
    return {name: one for name, one in found.items() if isinstance(one, str)} if isinstance(found, dict) else {}


def issuer_of(url: str) -> str:
    """Where one signs in for an address, as the service there says; that address itself if it says nothing."""
    return normal(told(url).get("issuer", url)).removesuffix(REALM_PATH)


def tied(url: str, other: str) -> bool:
    """Whether what is sent to an address may be sent to another one that the service there names."""
    place = normal(other)
    ours = (on_loopback(url) and on_loopback(place)) or normal(url) == place
    return ours or any(place in one.get("also", []) for one in _read().values())


def on_loopback(url: str) -> bool:
    """Whether an address is one of this machine only.

    >>> on_loopback("http://localhost:8080"), on_loopback("http://[::1]"), on_loopback("http://127.0.0.1.example")
    (True, True, False)
    """
    try:
        return ip_address(urlsplit(normal(url)).hostname or "").is_loopback
    except ValueError:  # a name: whoever answers for it decides where it points
        return False


def _lender(place: str, entries: dict[str, dict[str, Any]]) -> str:
    """The address whose entry is used for `place`: its own, one it was tied to, or on this machine its issuer's."""
    if place in entries:
        return place
    lent = next((url for url, one in entries.items() if place in one.get("also", [])), "")
    if lent or not entries or not on_loopback(place):
        return lent or place
    issuer = issuer_of(place)
    return issuer if issuer in entries and on_loopback(issuer) else place


def forget(url: str) -> bool:
    """Whether there was anything to forget."""
    with _locked():
        entries = _read()
        found = entries.pop(normal(url), None)
        if found is not None:
            _write(entries)
    return found is not None


def entry(url: str) -> dict[str, Any]:
    """What is kept for an address; {} if nothing is."""
    return _read().get(normal(url), {})


def _usable(entry: dict[str, Any], refused: str) -> str:
    found = str(entry.get("token") or (entry.get("access_token") if entry.get("ends", 0) > time.time() else "") or "")
    return "" if found == refused else found


def _refreshed(place: str, refused: str) -> str:
    with _locked():
        entries = _read()
        mine = entries.get(place, {})
        if found := _usable(mine, refused):  # another process was first
            return found
        answer = _ask(place, str(mine.get("refresh_token", "")))
        if answer is None:
            _write({url: one for url, one in entries.items() if url != place})
            raise Unauthenticated(detail=f"the login at {place} has ended")
        _write(entries | {place: _dated(mine | answer)})
        return str(answer["access_token"])


def _ask(place: str, refresh: str) -> dict[str, Any] | None:
    """The token endpoint's answer; None: it does not know the login any more."""
    import httpx

    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    try:
        answer = httpx.post(place + TOKEN_PATH, data=form, timeout=30, trust_env=False)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise BadInput(detail=f"no new token from {place} ({str(error) or type(error).__name__}); is it up?") from None
    if answer.status_code == 400 and found.get("error") == "invalid_grant":
        return None
    if answer.is_error or "access_token" not in found:
        raise BadInput(detail=f"no new token from {place} (HTTP {answer.status_code})")
    return found


def _dated(entry: dict[str, Any]) -> dict[str, Any]:
    """With the moment from which its access token is not used any more."""
    kept = {name: value for name, value in entry.items() if name not in {"expires_in", "token_type"}}
    return kept | ({"ends": time.time() + float(entry["expires_in"]) - EARLY} if "expires_in" in entry else {})


def _read() -> dict[str, dict[str, Any]]:
    return entries(file(), "delete it, and `headrace login` again")


def entries(path: Path, mend: str, fits: Callable[[Any], bool] = lambda one: isinstance(one, dict)) -> dict[str, Any]:
    """A JSON file of this user's by name; {} if there is none.

    Args:
        mend: what to do about a damaged one.
        fits: whether an entry is of its form.

    Raises BadInput: it cannot be read, or is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(detail=f"{path} cannot be read: {error.strerror}") from error
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(map(fits, found.values())):
        raise BadInput(detail=f"{path} is damaged: {mend}") from None
    return found


def _write(entries: dict[str, dict[str, Any]]) -> None:
    try:
        write_whole(file(), json.dumps(entries, indent=1).encode())
    except OSError as error:
        raise BadInput(detail=f"{file()} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One process at a time changes the file. Readers need no lock: it is replaced, never rewritten."""
    path = file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(detail=f"{path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
