"""Who may change what of companies and people. An operator adds companies; a company's admin rules inside it, and only there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headrace.access import Principal, Role
from headrace.errors import BadInput, Conflict, Forbidden, Unauthenticated
from headrace.services.identity.records import Added, AddedCompany, Company, NewCompany, NewPerson, Person, Who
from headrace.trust import passwords
from headrace.trust.identities.local import LocalIdentities
from headrace.trust.identities.people import Person as Row
from headrace.trust.identities.people import nobody

_ROLE: dict[str, Role] = {"user": "developer", "device": "device", "service": "service"}
"""What somebody is who is given no roles."""


async def _nothing(_: str) -> None:
    """A platform that has nothing to open or close for a company."""


class IdentityService:
    """The rules; the rows are `LocalIdentities`'.

    Args:
        opened: called with the name of a company that was added, before that is answered; if it fails there is no company.
        closed: called with the name of one that was deleted.
    """

    def __init__(
        self,
        identities: LocalIdentities,
        opened: Callable[[str], Awaitable[None]] = _nothing,
        closed: Callable[[str], Awaitable[None]] = _nothing,
    ) -> None:
        self.identities = identities
        self._opened, self._closed = opened, closed

    async def whoami(self, who: Principal) -> Who:
        """The caller, as every door sees him."""
        expires = None if who.expires == float("inf") else round(who.expires * 1000)
        count = len(await self._rows()) if who.may("operate") else None
        return Who(
            company=who.company,
            subject=who.subject,
            kind=who.kind,
            roles=sorted(who.roles),
            topics=list(who.topics),
            expires_ms=expires,
            companies=count,
        )

    async def companies(self, who: Principal) -> list[Company]:
        """All of them for an operator; for others their own, because a stranger's is not theirs to know."""
        return [one for one in await self._rows() if who.may("operate") or one.name == who.company]

    async def add_company(self, who: Principal, asked: NewCompany) -> AddedCompany:
        """Raises Forbidden, BadInput, Conflict."""
        who.require("operate")
        hashed, told = await _secret(asked.password, "user")
        book = self.identities.people
        first = book.make(asked.name, asked.admin, "user", ["admin"], ["#"], hashed, f"{who.company}/{who.subject}")
        await self.identities.run(book.add_company, asked.name, first)
        try:
            await self._opened(asked.name)
        except BaseException:
            await self.identities.run(book.delete_company, asked.name)
            raise
        company = Company(name=asked.name, created_ms=first.created_ms, people=1)
        return AddedCompany(company=company, admin=Added(**_plain(first).model_dump(), password=told))

    async def delete_company(self, who: Principal, name: str) -> None:
        """With all its people: their tokens end at once. Raises Forbidden, NotFound, Conflict."""
        who.require("operate")
        await self._ending(self.identities.people.delete_company, name)
        await self._closed(name)

    async def people(self, who: Principal) -> list[Person]:
        """Those of the caller's company."""
        who.require("manage")
        return [_plain(one) for one in await self.identities.run(self.identities.people.of, who.company)]

    async def add_person(self, who: Principal, asked: NewPerson) -> Added:
        """To the caller's company. Raises Forbidden, BadInput, Conflict."""
        who.require("manage")
        roles = asked.roles or [_ROLE[asked.kind]]
        if "operator" in roles and not who.may("operate"):
            raise Forbidden(detail="only an operator makes operators: they add companies to the whole platform")
        hashed, told = await _secret(asked.password, asked.kind)
        person = self.identities.people.make(
            who.company, asked.name, asked.kind, roles, asked.topics, hashed, who.subject
        )
        await self.identities.run(self.identities.people.add, person)
        return Added(**_plain(person).model_dump(), password=told)

    async def delete_person(self, who: Principal, name: str) -> None:
        """His tokens, logins and sessions end at once. Raises Forbidden, NotFound, Conflict."""
        who.require("manage")
        await self._not_above(who, name)
        await self._ending(self.identities.people.remove, who.company, name)

    async def new_password(self, who: Principal, name: str) -> Added:
        """Make another password or secret for somebody who lost his. Raises Forbidden, NotFound."""
        who.require("manage")
        person = await self._not_above(who, name)
        hashed, told = await _secret(None, person.kind)
        await self._ending(self.identities.people.change_secret, person.id, hashed)
        return Added(**_plain(person).model_dump(), password=told)

    async def change_password(self, who: Principal, old: str, new: str, address: str) -> None:
        """One's own. Raises BadInput, TooManyGuesses; Conflict: the caller has none."""
        if who.kind == "install":
            raise Conflict(detail="the install token has no password; `headrace person add` makes people who have")
        try:
            person = await self.identities.prove(f"{who.company}/{who.subject}", old.encode(), address)
        except Unauthenticated as error:  # he is known; it is not his token that is wrong
            raise BadInput(detail="the old password is wrong") from error
        hashed, _ = await _secret(new, person.kind)
        await self._ending(self.identities.people.change_secret, person.id, hashed)

    async def rotate(self, who: Principal, at_once: bool) -> str:
        """A new signing key; its id. Raises Forbidden."""
        who.require("operate")
        return await self.identities.rotate(at_once)

    async def _ending(self, work: Callable[..., None], *args: str) -> None:
        """Something after which a token may not count any more; also when the caller goes away meanwhile."""
        try:
            await self.identities.run(work, *args)
        finally:
            self.identities.changed()

    async def _rows(self) -> list[Company]:
        rows = await self.identities.run(self.identities.people.companies)
        return [Company(name=name, created_ms=created, people=count) for name, created, count in rows]

    async def _not_above(self, who: Principal, name: str) -> Row:
        """An operator is removed, or given a password, by operators only."""
        person = await self.identities.run(self.identities.people.find, who.company, name)
        if person is None:
            raise nobody(who.company, name)
        if "operator" in person.roles and not who.may("operate"):
            raise Forbidden(detail=f"{name!r} is an operator of the platform; only another operator may do that")
        return person


async def _secret(chosen: str | None, kind: str) -> tuple[str, str | None]:
    """What to store, and what to tell once."""
    if chosen is not None and chosen.startswith(passwords.MADE):
        raise BadInput(detail=f"a chosen password does not begin with {passwords.MADE}")
    told = None if chosen is not None else passwords.make_password() if kind == "user" else passwords.make_secret()
    return await asyncio.to_thread(passwords.hash_any, chosen or told or ""), told


def _plain(person: Row) -> Person:
    return Person(
        company=person.company,
        name=person.name,
        kind=person.kind,
        roles=sorted(person.roles),
        topics=list(person.topics),
        created_ms=person.created_ms,
        created_by=person.created_by,
    )
