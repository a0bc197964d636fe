"""A browser's session: a one-time code in a URL becomes a cookie that JavaScript cannot read.

The code is the only secret that ever stands in a URL: it works once, for some minutes, and what it is exchanged for is
another. Sessions are rows, so logging out ends them here and not only in the browser.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import Engine, delete, insert, select

from headrace.access import Principal
from headrace.errors import Unauthenticated
from headrace.trust.identities import tables
from headrace.trust.identities.install import INSTALL
from headrace.trust.identities.people import People
from headrace.trust.identities.threads import Run
from headrace.trust.passwords import hash_secret

CODE_SECONDS = 300.0
"""Seconds for which a one-time code works."""
SESSION_SECONDS = 7 * 86400.0
"""Seconds after which a browser has to be let in again."""
CODES = 1000
"""Codes that wait; for one more, the oldest is forgotten."""
PREFIX = "hrv_"
_ENDED = "this browser's session has ended (`headrace open` prints a link that opens another)"


class Sessions:
    """Sessions of one install.

    Args:
        install: the install token; sessions that were opened with another have ended.
        ended: called when a session has ended.
        generation: as `Identities.generation`.
        run: calls something in a thread.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        engine: Engine,
        people: People,
        install: str,
        ended: Callable[[], None],
        generation: Callable[[], int],
        run: Run,
        clock: Callable[[], float],
    ) -> None:
        self._engine, self._people, self._clock = engine, people, clock
        self._ended, self._generation, self._run = ended, generation, run
        self._install = hash_secret(install)
        self._codes: dict[str, tuple[str | None, float]] = {}
        self.cookie = f"headrace-{self._install.partition('$')[2][:8]}"
        """Not the same for two platforms on one host: cookies do not know ports."""

    @property
    def generation(self) -> int:
        """As `Identities.generation`."""
        return self._generation()

    def code(self, person: str | None) -> str:
        """A code that opens one session, soon.

        Args:
            person: his id; None for the bearer of the install token.
        """
        code = secrets.token_urlsafe(24)
        if len(self._codes) >= CODES:
            del self._codes[next(iter(self._codes))]
        self._codes[hash_secret(code)] = person, self._clock() + CODE_SECONDS
        return code

    async def enter(self, code: str) -> str:
        """The cookie's value for a code. Raises Unauthenticated: it was used, is too old, or never was one."""
        person, until = self._codes.pop(hash_secret(code[:200]), (None, 0.0))
        if self._clock() >= until:
            raise Unauthenticated(detail="this link was used before, or is too old (`headrace open` prints another)")
        return await self.begin(person)

    async def begin(self, person: str | None) -> str:
        """The cookie's value of a new session."""
        value, now = PREFIX + secrets.token_urlsafe(32), round(self._clock() * 1000)
        row: dict[str, object] = {
            "digest": hash_secret(value),
            "person": person,
            "install": self._install,
            "created_ms": now,
            "expires_ms": now + round(SESSION_SECONDS * 1000),
        }
        await self._run(self._insert, row, now)
        return value

    async def verify(self, token: str) -> Principal:
        """Who opened the session of a cookie's value."""
        if not token.startswith(PREFIX):
            raise Unauthenticated(detail=_ENDED)
        return await self._run(self._verify, token)

    async def end(self, value: str) -> None:
        """Log out."""
        await self._run(self._delete, hash_secret(value[:200]))
        self._ended()

    def end_all(self) -> None:
        """End every session, and what could still open one. Waits for the disk: for threads."""
        self._codes.clear()
        with self._engine.begin() as db:
            db.execute(delete(tables.sessions))

    def _insert(self, row: dict[str, object], now: int) -> None:
        with self._engine.begin() as db:
            db.execute(delete(tables.sessions).where(tables.sessions.c.expires_ms <= now))
            db.execute(insert(tables.sessions).values(**row))

    def _delete(self, digest: str) -> None:
        with self._engine.begin() as db:
            db.execute(delete(tables.sessions).where(tables.sessions.c.digest == digest))

    def _verify(self, value: str) -> Principal:
        with self._engine.connect() as db:
            wanted = select(tables.sessions).where(tables.sessions.c.digest == hash_secret(value[:200]))
            row = db.execute(wanted).one_or_none()
        if row is None or row.expires_ms <= self._clock() * 1000:
            raise Unauthenticated(detail=_ENDED)
        expires = row.expires_ms / 1000
        if row.person is None:
            if row.install != self._install:
                raise Unauthenticated(detail=_ENDED)
            return Principal(INSTALL.company, INSTALL.subject, INSTALL.kind, INSTALL.roles, expires)
        person = self._people.by_id(row.person)
        if person is None:
            raise Unauthenticated(detail="the person of this session is gone")
        return person.principal(expires)
