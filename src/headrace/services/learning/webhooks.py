"""Alerts to other people's addresses: a queue on disk, and a sender that tries again until each is taken.

At least once: what is queued and how far the changes of a model were taken in are one transaction, so that a restart neither
loses nor repeats; the receiver knows what it has had by ``Idempotency-Key`` (alert id and state). The addresses come from
specs, that is from users: by default only public ones are called, each name is looked up once and what it named is called,
redirects are not followed, and nothing of the answer is kept but its status.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import random
import re
import socket
import sqlite3
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from headrace import __version__
from headrace.disk import damaged, open_file, set_aside, transaction
from headrace.errors import PrivateAddress
from headrace.services.learning.addresses import public

if TYPE_CHECKING:
    import httpx

FILE = "deliveries.db"
TIMEOUT = 10.0
"""Seconds for one attempt, name look-up included."""
BACKOFF = (1.0, 300.0)
"""First and longest pause before another attempt, seconds; each twice the one before, times a random 0.5 to 1."""
PACE = 5.0
"""Seconds at most for which an address rests when it has just failed."""
PATIENCE = 86_400.0
"""Seconds after which an alert is given up. A day bridges an outage; older news is in the list of alerts."""
ASKED = 3600.0
"""Seconds a receiver's Retry-After may ask for at most."""
PENDING = 10_000
"""Alerts waiting; for one more, the oldest is given up."""
KEPT = 20_000
"""Alerts remembered after they were sent or given up."""
AT_ONCE = 8
"""Addresses called at one time..."""
SLOW = 1.0
"""...of which at most half have kept a place for longer than this, in seconds, the last time: they leave the others theirs."""
SAYING = 60.0
"""Seconds between sentences about the same model's webhook."""
AGAIN = {408, 425, 429}
"""Client errors that pass; any other is the sender's, and sending again would not mend it."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cursors (place TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, state TEXT NOT NULL, model TEXT NOT NULL, url TEXT NOT NULL,
    body BLOB NOT NULL, status TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, since REAL NOT NULL,
    due REAL NOT NULL, error TEXT NOT NULL DEFAULT '', UNIQUE (id, state));
CREATE INDEX IF NOT EXISTS waiting ON deliveries (url, due, number) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS in_order ON deliveries (url, number) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS by_status ON deliveries (status);
"""
Resolve = Callable[[str, int], Awaitable[list[str]]]


class Message(NamedTuple):
    """One change of an alert, on its way to one address."""

    id: str
    state: str
    """"active", "cleared", or "withdrawn": cleared because its rule is no longer in service."""
    model: str
    url: str
    body: bytes


class _Row(NamedTuple):
    number: int
    id: str
    state: str
    model: str
    url: str
    body: bytes
    attempts: int
    since: float


class _Result(NamedTuple):
    status: str
    """"sent", "failed", or "pending": another attempt."""
    error: str = ""
    wait: float = 0.0
    """Seconds the receiver asked to wait."""


class _Lane:
    """One address: what is under way, and when it may be called again."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.number = 0
        """Of the alert that is under way."""
        self.rests = 0.0
        self.turn = 0
        """When it was called last: a count."""
        self.slow = False


class Webhooks:
    """The queue and its sender. Enter it in a running event loop.

    Args:
        secret: key of the signature; b"": messages are not signed.
        private: call loopback, link-local and private addresses too.
        clock: seconds since the epoch.
        resolve: addresses of (host, port).
    """

    def __init__(
        self,
        data: Path,
        *,
        secret: bytes = b"",
        private: bool = False,
        clock: Callable[[], float] = time.time,
        resolve: Resolve | None = None,
    ) -> None:
        self._path, self._secret, self._private, self._clock = data / FILE, secret, private, clock
        self._resolve = resolve or _look_up
        self._wake = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self._said: dict[str, float] = {}
        self._lanes: dict[str, _Lane] = {}
        self._turn = itertools.count(1)

    async def __aenter__(self) -> Webhooks:
        try:
            self._db = open_file(self._path, _SCHEMA, "journal_mode=WAL", "synchronous=NORMAL")
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            kept = set_aside(self._path)
            print(f"headrace: {FILE} is damaged ({error}); kept as {kept.name}, alerts are sent again", file=sys.stderr)
            self._db = open_file(self._path, _SCHEMA, "journal_mode=WAL", "synchronous=NORMAL")
        self._task = asyncio.create_task(self._run(), name="webhooks")
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [self._task, *(lane.task for lane in self._lanes.values() if lane.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        self._db.close()

    # -- the queue

    def cursor(self, place: str) -> int:
        """Number of the last change of a model's generation that was taken in."""
        row = self._db.execute("SELECT number FROM cursors WHERE place = ?", (place,)).fetchone()
        return int(row[0]) if row else 0

    def put(self, messages: Iterable[Message], place: str, number: int) -> None:
        """Take in changes up to a number; one that was taken in before is not sent again. Raises sqlite3.Error."""
        now = self._clock()
        with transaction(self._db):
            for message in messages:
                self._insert(message, now)
            self._db.execute("INSERT OR REPLACE INTO cursors VALUES (?,?)", (place, number))
            self._db.execute(
                "UPDATE deliveries SET status = 'failed', error = ? WHERE status = 'pending' AND number <= (SELECT number"
                " FROM deliveries WHERE status = 'pending' ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (f"given up: more than {PENDING:,} are waiting", PENDING),
            )
            old = "DELETE FROM deliveries WHERE status != 'pending' AND number <= (SELECT MAX(number) FROM deliveries) - ?"
            self._db.execute(old, (KEPT,))
        self._wake.set()

    def _insert(self, message: Message, now: float) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO deliveries (id, state, model, url, body, since, due) VALUES (?,?,?,?,?,?,?)",
            (*message, now, now),
        )

    def retarget(self, model: str, url: str | None) -> None:
        """What waits for a model's old address goes to the new one; without one it is given up."""
        pending = "WHERE model = ? AND status = 'pending'"
        if url is None:
            gone = f"UPDATE deliveries SET status = 'failed', error = 'the webhook was taken out of the spec' {pending}"
            self._db.execute(gone, (model,))
        else:
            now = self._clock()
            moved = f"UPDATE deliveries SET url = ?, since = ?, due = ?, attempts = 0 {pending} AND url != ?"
            self._db.execute(moved, (url, now, now, model, url))
        self._wake.set()

    def withdraw(self, model: str, keep: set[str]) -> None:
        """Clear what receivers take for active and no rule stands for any more: all of a model but the ids `keep`."""
        now = self._clock()
        query = (
            "SELECT id, state, model, url, body, status FROM deliveries d WHERE model = ? AND state = 'active' AND NOT EXISTS"
            " (SELECT 1 FROM deliveries e WHERE e.id = d.id AND e.state = 'cleared')"
        )
        rows = [row for row in self._db.execute(query, (model,)).fetchall() if row[0] not in keep]
        if not rows:
            return
        with transaction(self._db):
            for identity, _, _, url, body, status in rows:
                self._db.execute(
                    "DELETE FROM deliveries WHERE id = ? AND state IN ('active', 'withdrawn')", (identity,)
                )
                if status == "sent":
                    self._insert(Message(identity, "withdrawn", model, url, _withdrawn(body, now)), now)
        self._wake.set()

    def sweep(self, places: set[str]) -> None:
        """Forget the cursors of generations that are no longer in service."""
        for (place,) in self._db.execute("SELECT place FROM cursors").fetchall():
            if place not in places:
                self._db.execute("DELETE FROM cursors WHERE place = ?", (place,))

    def counts(self) -> dict[str, int]:
        """How many are pending, sent and failed, of those remembered."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM deliveries GROUP BY status").fetchall())
        return {status: int(found.get(status, 0)) for status in ("pending", "sent", "failed")}

    def last_error(self) -> str:
        """Which alert was not taken, and why: the newest that was given up or is being tried again."""
        query = (
            "SELECT model, body, error FROM deliveries WHERE error != '' AND status != 'sent' ORDER BY status, number DESC"
            " LIMIT 1"
        )
        row = self._db.execute(query).fetchone()
        if row is None:
            return ""
        rule = msgspec.json.decode(row[1]).get("rule")
        return f"model {row[0]!r}" + (f", rule {rule!r}" if rule else "") + f": {row[2]}"

    # -- the sender

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait = self._start()
            except (sqlite3.Error, OSError) as error:  # a full disk
                wait = self._unusable(error)
            with contextlib.suppress(TimeoutError):  # not `wait_for`: in Python 3.11 that may swallow a cancellation
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    def _start(self) -> float | None:
        """Call the addresses that are due while there are places, who waited longest first; seconds until the next is due."""
        now, soonest = self._clock(), None
        for url, lane in self._waiting():
            busy = [one for one in self._lanes.values() if one.task is not None]
            if len(busy) >= AT_ONCE:
                break
            if lane.task is not None or (lane.slow and sum(one.slow for one in busy) >= AT_ONCE // 2):
                continue
            row, due = self._next(url, now) if lane.rests <= now else (None, lane.rests)
            if row is not None:
                lane.turn, lane.number = next(self._turn), row.number
                lane.task = asyncio.create_task(self._deliver(row, lane), name=f"webhook {row.number}")
            elif due is not None:
                soonest = due if soonest is None else min(soonest, due)
        return None if soonest is None else max(0.05, min(soonest - now, 60.0))

    def _waiting(self) -> list[tuple[str, _Lane]]:
        """The addresses for which something waits; the others are forgotten."""
        urls = {str(url) for (url,) in self._db.execute("SELECT DISTINCT url FROM deliveries WHERE status = 'pending'")}
        lanes = {url: self._lanes.get(url) or _Lane() for url in urls}
        self._lanes = {url: lane for url, lane in self._lanes.items() if lane.task is not None} | lanes
        return sorted(lanes.items(), key=lambda item: item[1].turn)

    def _next(self, url: str, now: float) -> tuple[_Row | None, float | None]:
        """The oldest alert of an address that is due, or when one is; of one alert, each change after the one before."""
        query = (
            "SELECT number, id, state, model, url, body, attempts, since FROM deliveries d WHERE url = ? AND"
            " status = 'pending' AND due <= ? AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.id = d.id AND"
            " e.status = 'pending' AND e.number < d.number) ORDER BY number LIMIT 1"
        )
        found = self._db.execute(query, (url, now)).fetchone()
        if found is None:
            later = "SELECT MIN(due) FROM deliveries WHERE url = ? AND status = 'pending' AND due > ?"
            return None, self._db.execute(later, (url, now)).fetchone()[0]
        under_way = {lane.number for lane in self._lanes.values() if lane.task is not None}
        return (None if found[0] in under_way else _Row._make(found)), None  # it was under way when its address changed

    async def _deliver(self, row: _Row, lane: _Lane) -> None:
        """One attempt, in a task of its own: no address waits for another."""
        begun = time.monotonic()
        try:
            result = await self._post(row)
            lane.slow = time.monotonic() - begun > SLOW
            lane.rests = self._settle(row, result)
        except (sqlite3.Error, OSError) as error:  # what was sent may be sent again, under its key
            lane.rests = self._clock() + self._unusable(error)
        finally:
            lane.task = None
            self._wake.set()

    def _unusable(self, error: Exception) -> float:
        self._say("", f"the queue of webhooks cannot be used now: {error}")
        return BACKOFF[0]

    def _settle(self, row: _Row, result: _Result) -> float:
        """Note how it went; until when the address rests."""
        now, attempts = self._clock(), row.attempts + 1
        status, error = result.status, result.error
        if status == "pending" and now - row.since > PATIENCE:
            status, error = "failed", f"given up after a day and {attempts} attempts: {error}"
        pause = max(min(BACKOFF[1], BACKOFF[0] * 2.0 ** min(row.attempts, 20)) * random.uniform(0.5, 1), result.wait)  # noqa: S311
        with transaction(self._db):
            self._db.execute(
                "UPDATE deliveries SET status = ?, attempts = ?, due = ?, error = ? WHERE number = ? AND status = 'pending'",
                (status, attempts, now + pause, error, row.number),
            )
        if status == "failed":
            self._say(row.model, f"an alert of model {row.model!r} was not delivered to {place_of(row.url)}: {error}")
        return now + min(pause, PACE) if status == "pending" else now

    def _say(self, about: str, text: str) -> None:
        now = time.monotonic()
        if now - self._said.get(about, -SAYING) >= SAYING:
            self._said[about] = now
            print(f"headrace: {text}", file=sys.stderr)

    async def _post(self, row: _Row) -> _Result:
        """One attempt. Never raises but for cancellation."""
        import httpx

        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._attempt(row)
        except PrivateAddress as error:
            return _Result("failed", str(error))
        except TimeoutError:
            return _Result("pending", f"no answer within {TIMEOUT:g} s")
        except socket.gaierror as error:
            return _Result("pending", f"its name cannot be looked up ({error.strerror})")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, OverflowError) as error:
            return _Result("failed", f"this is no address that can be called ({error}); mend `webhook` in the spec")
        except (httpx.HTTPError, OSError, ValueError) as error:
            return _Result("pending", f"no answer ({type(error).__name__})")

    async def _attempt(self, row: _Row) -> _Result:
        import httpx

        url = httpx.URL(row.url)
        addresses = await self._addresses(url.host, url.port or (443 if url.scheme == "https" else 80))
        for index, address in enumerate(addresses):
            request = self._http().build_request(
                "POST",
                url.copy_with(host=address),
                content=row.body,
                headers=self._headers(row, url.netloc.decode("ascii")),
                extensions={"sni_hostname": url.raw_host.decode("ascii")},
            )
            try:
                response = await self._http().send(request, stream=True, follow_redirects=False)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if index == len(addresses) - 1:
                    raise
                continue
            await response.aclose()
            return judged(response.status_code, response.headers.get("retry-after", ""))
        raise socket.gaierror(socket.EAI_NONAME, "no address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        """What a name stands for now. Raises PrivateAddress if any of it is not public, and that is not allowed."""
        found = list(dict.fromkeys(await self._resolve(host, port)))
        for address in found:
            if not self._private and not public(address):
                raise PrivateAddress(host=host)
        return found

    def _headers(self, row: _Row, host: str) -> dict[str, str]:
        headers = {
            "Host": host,
            "Content-Type": "application/json",
            "User-Agent": f"headrace/{__version__}",
            "Idempotency-Key": f"{row.id}-{row.state}",
        }
        if self._secret:
            headers["Headrace-Signature"] = signature(self._secret, int(self._clock()), row.body)
        return headers

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            import certifi
            import httpx

            trusted = ssl.create_default_context(cafile=certifi.where())
            trusted.load_default_certs()
            # No connection is kept: one to an address might be used for another name at the same address.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.AsyncClient(verify=trusted, timeout=TIMEOUT, trust_env=False, limits=limits)
        return self._client


def judged(status: int, retry_after: str = "") -> _Result:
    """What an answer's status means.

    >>> judged(204).status, judged(503).status, judged(429, "7").wait, judged(404).status
    ('sent', 'pending', 7.0, 'failed')
    """
    if 200 <= status < 300:
        return _Result("sent")
    if 300 <= status < 400:
        return _Result("failed", f"HTTP {status}: redirects are not followed; name the final address in the spec")
    wait = min(ASKED, float(retry_after)) if retry_after.isascii() and retry_after.isdigit() else 0.0
    return _Result("pending" if status >= 500 or status in AGAIN else "failed", f"HTTP {status}", wait)


def signature(secret: bytes, time: int, body: bytes) -> str:
    """``t=<seconds>,v1=<hex>``: HMAC-SHA256 (RFC 2104) of the time, a dot and the body. The time lets a receiver refuse
    what somebody recorded and plays again."""
    return f"t={time},v1={hmac.new(secret, b'%d.' % time + body, hashlib.sha256).hexdigest()}"


def place_of(url: str) -> str:
    """Scheme and host of an address: its path may be a secret of the receiver's."""
    found = re.match(r"\w+://[^/?#]*", url)
    return found.group() if found is not None else "(no address)"


async def _look_up(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]


def _withdrawn(body: bytes, now: float) -> bytes:
    about = msgspec.json.decode(body)
    about |= {"state": "cleared", "cleared_ms": int(now * 1000), "message": f"withdrawn, was: {about['message']}"}
    return msgspec.json.encode(about)
