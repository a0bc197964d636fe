"""Logins that are kept up with refresh tokens (RFC 6749, section 6). Each refresh token works once.

One that comes a second time was copied: then the whole login ends, for the thief and for the owner (RFC 9700, section
4.14.2). A refresh token is ``hrr_LOGIN.FAMILY.NEWEST``: all of one login share FAMILY, so an old one is told from a
made-up one, which ends nothing.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update

from headrace.errors import Unauthenticated
from headrace.trust.identities import tables
from headrace.trust.passwords import hash_secret

PREFIX = "hrr_"
IDLE, WHOLE = 30 * 86400.0, 180 * 86400.0
"""Seconds after which a login ends: unused, and whatever happens."""
EACH = 50
"""Logins a person has at one time; for one more, the one that was unused for longest ends."""


class Logins:
    """The rows. Every method is one transaction; call it in a thread.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine, self._clock = engine, clock

    def begin(self, person: str, client: str) -> tuple[str, str]:
        """The id of a new login and its first refresh token."""
        login, family, newest = f"lg_{secrets.token_hex(10)}", secrets.token_urlsafe(16), secrets.token_urlsafe(24)
        now = self._now()
        row = {"id": login, "person": person, "client": client[:64], "created_ms": now, "used_ms": now}
        with self._engine.begin() as db:
            self._prune(db, person)
            db.execute(insert(tables.logins).values(**row, family=hash_secret(family), current=hash_secret(newest)))
        return login, f"{PREFIX}{login}.{family}.{newest}"

    def refresh(self, token: str) -> tuple[str, str, str, str, bool]:
        """Login, person, client, and the refresh token to use next; and whether the login has just been ended because this
        one was used before (then the other three are empty).

        Raises:
            Unauthenticated: it is none of ours, or its login has ended.
        """
        login, family, newest = _parts(token)
        following = secrets.token_urlsafe(24)
        with self._engine.begin() as db:
            row = db.execute(select(tables.logins).where(tables.logins.c.id == login)).one_or_none()
            if row is None or not hmac.compare_digest(row.family, hash_secret(family)) or not self._alive(row):
                raise Unauthenticated(detail="this login has ended")
            mine = tables.logins.c.id == login, tables.logins.c.current == hash_secret(newest)
            changed = update(tables.logins).where(*mine).values(current=hash_secret(following), used_ms=self._now())
            if not db.execute(changed).rowcount:
                db.execute(delete(tables.logins).where(tables.logins.c.id == login))
                return login, "", "", "", True
        return login, row.person, row.client, f"{PREFIX}{login}.{family}.{following}", False

    def alive(self, login: str) -> bool:
        """Whether access tokens of a login still count."""
        with self._engine.connect() as db:
            row = db.execute(select(tables.logins).where(tables.logins.c.id == login)).one_or_none()
        return row is not None and self._alive(row)

    def end(self, login: str) -> None:
        """Log out."""
        with self._engine.begin() as db:
            db.execute(delete(tables.logins).where(tables.logins.c.id == login))

    def end_all(self) -> None:
        """Log everybody out."""
        with self._engine.begin() as db:
            db.execute(delete(tables.logins))

    def end_by_token(self, token: str) -> None:
        """Log out with a refresh token, whether or not it is the newest. Raises Unauthenticated."""
        login, family, _ = _parts(token)
        mine = tables.logins.c.id == login, tables.logins.c.family == hash_secret(family)
        with self._engine.begin() as db:
            db.execute(delete(tables.logins).where(*mine))

    def _alive(self, row: Row[Any]) -> bool:
        now = self._now()
        return bool(now - row.used_ms < IDLE * 1000 and now - row.created_ms < WHOLE * 1000)

    def _prune(self, db: Connection, person: str) -> None:
        logins, now = tables.logins.c, self._now()
        ended = (logins.used_ms < now - IDLE * 1000) | (logins.created_ms < now - WHOLE * 1000)
        db.execute(delete(tables.logins).where(ended))
        kept = select(logins.id).where(logins.person == person).order_by(logins.used_ms.desc()).limit(EACH - 1)
        db.execute(delete(tables.logins).where(logins.person == person, logins.id.not_in(kept)))

    def _now(self) -> int:
        return round(self._clock() * 1000)


def _parts(token: str) -> tuple[str, str, str]:
    parts = token.removeprefix(PREFIX).split(".")
    if not token.startswith(PREFIX) or len(parts) != 3 or len(token) > 200:
        raise Unauthenticated(detail="this is no refresh token of ours")
    return parts[0], parts[1], parts[2]
