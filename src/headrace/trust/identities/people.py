"""Companies and their people, devices and services, as rows. Every method is one transaction; call it in a thread."""

from __future__ import annotations

import json
import math
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from headrace.access import LOCAL, ROLES, Kind, Principal
from headrace.errors import BadInput, Conflict, NotFound
from headrace.topics import valid_filter
from headrace.trust.identities import tables
from headrace.trust.identities.install import INSTALL

COMPANY = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
"""Names of companies: they are folders, and the first level of a login."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
KINDS: dict[str, frozenset[str]] = {
    "user": frozenset({"operator", "admin", "developer", "viewer"}),
    "service": frozenset({"service", "developer", "viewer"}),
    "device": frozenset({"device"}),
}
"""kind -> roles it may have."""
TOPICS = 32


@dataclass(frozen=True, slots=True)
class Person:
    """A user, device or service of a company."""

    id: str
    company: str
    name: str
    kind: Kind
    roles: frozenset[str]
    topics: tuple[str, ...]
    created_ms: int
    created_by: str
    secret: str = field(repr=False)

    def principal(self, expires: float = math.inf) -> Principal:
        """Who he is to every door."""
        return Principal(self.company, self.name, self.kind, self.roles, expires, self.topics)


class People:
    """The rows.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        """Between looking whether somebody is the last admin and removing him."""

    def companies(self) -> list[tuple[str, int, int]]:
        """Name, time of creation in milliseconds, number of people; in order of their names."""
        count = func.count(tables.people.c.id)
        wanted = (
            select(tables.companies.c.name, tables.companies.c.created_ms, count)
            .outerjoin(tables.people)
            .group_by(tables.companies.c.name, tables.companies.c.created_ms)
            .order_by(tables.companies.c.name)
        )
        with self._engine.connect() as db:
            return [(name, created, number) for name, created, number in db.execute(wanted)]

    def add_company(self, name: str, first: Person | None = None) -> None:
        """A company, perhaps with its first person. Raises BadInput, Conflict."""
        if not COMPANY.fullmatch(name):
            raise BadInput(detail=f"{name[:64]!r} is no name of a company: 2 to 32 of a-z, 0-9 and -, a letter first")
        try:
            with self._engine.begin() as db:
                db.execute(insert(tables.companies).values(name=name, created_ms=self._now()))
                if first is not None:
                    db.execute(insert(tables.people).values(**_row(first)))
        except IntegrityError as error:
            raise Conflict(detail=f"there is a company {name!r} already") from error

    def delete_company(self, name: str) -> None:
        """With all its people and what they were given. Raises NotFound, Conflict."""
        if name == LOCAL:
            raise Conflict(detail=f"{LOCAL!r} is this platform's first company and stays")
        with self._engine.begin() as db:
            if not db.execute(delete(tables.companies).where(tables.companies.c.name == name)).rowcount:
                raise NotFound(
                    detail=f"there is no company {name[:64]!r}; `headrace company list` shows those that exist"
                )

    def of(self, company: str) -> list[Person]:
        """A company's people in order of their names."""
        wanted = select(tables.people).where(tables.people.c.company == company).order_by(tables.people.c.name)
        with self._engine.connect() as db:
            return [_person(row) for row in db.execute(wanted)]

    def make(
        self, company: str, name: str, kind: str, roles: Sequence[str], topics: Sequence[str], secret: str, by: str
    ) -> Person:
        """A checked person that is no row yet. Raises BadInput."""
        if not NAME.fullmatch(name) or name == INSTALL.subject:
            raise BadInput(
                detail=f"{name[:80]!r} is no name to give: up to 64 letters, digits and . _ @ -, and not 'install'"
            )
        if kind not in KINDS:
            raise BadInput(detail=f"kind {kind[:20]!r} is not one of {', '.join(KINDS)}")
        for role in roles or [""]:
            if role not in KINDS[kind]:
                known = ", ".join(one for one in ROLES if one in KINDS[kind])
                raise BadInput(detail=f"a {kind} has at least one of the roles {known}; {role[:40]!r} is not one")
        if not topics or len(topics) > TOPICS:
            raise BadInput(detail=f"give 1 to {TOPICS} topic filters, such as # for all of the company's topics")
        for topic in topics:
            if len(topic) > 200 or not valid_filter(topic):
                raise BadInput(detail=f"{topic[:80]!r} is not a topic filter")
        about = frozenset(roles), tuple(topics), self._now(), by[:100], secret
        return Person(_new_id(), company, name, _kind(kind), *about)

    def add(self, person: Person) -> None:
        """Raises Conflict: that name is taken; NotFound: the company is gone."""
        try:
            with self._engine.begin() as db:
                if not _there(db, person.company):
                    raise NotFound(detail=f"the company {person.company!r} is gone")
                db.execute(insert(tables.people).values(**_row(person)))
        except IntegrityError as error:
            raise Conflict(
                detail=f"there is a {person.name!r} in {person.company} already; names are given once"
            ) from error

    def remove(self, company: str, name: str) -> None:
        """Raises NotFound; Conflict for the last admin, because nobody could add another."""
        with self._lock, self._engine.begin() as db:
            rows = {row.name: _person(row) for row in db.execute(_of(company))}
            if name not in rows:
                raise nobody(company, name)
            admins = [one for one in rows.values() if "admin" in one.roles]
            if company != LOCAL and admins == [rows[name]]:
                raise Conflict(detail=f"{name!r} is the last admin of {company}; add another first")
            db.execute(delete(tables.people).where(tables.people.c.id == rows[name].id))

    def change_secret(self, id: str, secret: str) -> None:
        """Give somebody another password. His logins and sessions end; so do his tokens, because he has another id then."""
        with self._engine.begin() as db:
            db.execute(delete(tables.logins).where(tables.logins.c.person == id))
            db.execute(delete(tables.sessions).where(tables.sessions.c.person == id))
            db.execute(update(tables.people).where(tables.people.c.id == id).values(secret=secret, id=_new_id()))

    def find(self, company: str, name: str) -> Person | None:
        """By name."""
        with self._engine.connect() as db:
            row = db.execute(_of(company).where(tables.people.c.name == name)).one_or_none()
        return _person(row) if row else None

    def by_secret(self, stored: str) -> Person | None:
        """By what is stored of a secret we made."""
        with self._engine.connect() as db:
            row = db.execute(select(tables.people).where(tables.people.c.secret == stored)).one_or_none()
        return _person(row) if row else None

    def by_id(self, id: str) -> Person | None:
        """By what tokens call him."""
        with self._engine.connect() as db:
            row = db.execute(select(tables.people).where(tables.people.c.id == id)).one_or_none()
        return _person(row) if row else None

    def _now(self) -> int:
        return round(self._clock() * 1000)


def nobody(company: str, name: str) -> NotFound:
    """The error for a name nobody has."""
    return NotFound(detail=f"there is no {name[:64]!r} in {company}; `headrace person list` shows who is")


def split(name: str) -> tuple[str, str]:
    """Company and name of a login ``company/name``, or of a name in the first company.

    >>> split("acme/pump-7"), split("anna")
    (('acme', 'pump-7'), ('local', 'anna'))
    """
    company, slash, rest = name.partition("/")
    return (company, rest) if slash else (LOCAL, name)


def _new_id() -> str:
    return f"pp_{secrets.token_hex(10)}"


def _of(company: str) -> Any:
    return select(tables.people).where(tables.people.c.company == company)


def _there(db: Any, company: str) -> bool:
    return db.execute(select(tables.companies.c.name).where(tables.companies.c.name == company)).first() is not None


def _kind(text: str) -> Kind:
    return "device" if text == "device" else "service" if text == "service" else "user"


def _row(person: Person) -> dict[str, Any]:
    plain = ("id", "company", "name", "kind", "secret", "created_ms", "created_by")
    lists = {"roles": json.dumps(sorted(person.roles)), "topics": json.dumps(person.topics)}
    return {name: getattr(person, name) for name in plain} | lists


def _person(row: Row[Any]) -> Person:
    roles, topics = frozenset(json.loads(row.roles)), tuple(json.loads(row.topics))
    about = roles, topics, row.created_ms, row.created_by, row.secret
    return Person(row.id, row.company, row.name, _kind(row.kind), *about)
