"""The embedded issuer: companies and people in a database of its own, tokens in Keycloak's form, no server beside us.

It gives out tokens (``password``, ``client_credentials``, ``refresh_token``; RFC 6749) and believes them. What it believes
is the token *and* the row of its person: who is deleted, or has logged out, is nobody from that moment on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from headrace.access import LOCAL, Principal
from headrace.errors import BadInput, Conflict, TooMany, Unauthenticated, Unsupported
from headrace.stores.database import open_database, sqlite_url
from headrace.trust import passwords
from headrace.trust.identities.brake import Brake
from headrace.trust.identities.install import INSTALL, PREFIX, install_token
from headrace.trust.identities.keys import Keys
from headrace.trust.identities.logins import Logins
from headrace.trust.identities.people import People, Person, split
from headrace.trust.identities.sessions import Sessions
from headrace.trust.identities.threads import Run, Threads
from headrace.trust.identities.verifying import ACTOR, AUDIENCE, LEEWAY, Verifier, principal

REALM = "headrace"
LIFE = 300.0
"""Seconds an access token lives: what a service elsewhere, which cannot look into our table, may be wrong about."""
ACTING = 60.0
"""Seconds a token lives with which one of our services acts for somebody at another: made anew for each request."""
CLIENT = "headrace-cli"
SLOW, WAITING = 2, 64
"""scrypts at one time, and passwords that may wait for one."""
REMEMBERED = 10_000
"""Passwords remembered as right."""
_WRONG = "the name or the password is wrong"


class LocalIdentities:
    """The issuer of one platform. An async context manager; it is used from one event loop.

    Args:
        folder: of the database, the private keys and the install token.
        base: where the platform answers; `base` may be set once its port is known.
        clock: seconds since the epoch.
    """

    people: People
    keys: Keys
    sessions: Sessions
    install_token: str

    def __init__(
        self, folder: Path, base: str = "http://127.0.0.1:8080", clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._clock = folder, clock
        self._base = base
        self._generation = 0
        self._brake = Brake(time.monotonic if clock is time.time else clock)
        self._slow, self._waiting = asyncio.Semaphore(SLOW), 0
        self._salt = secrets.token_bytes(32)
        self._proven: dict[str, tuple[bytes, str]] = {}
        """Login -> proof of the password that was right, and what is stored of it."""
        self._threads = Threads()
        self.run: Run = self._threads.run
        """For what waits for its database."""
        self._verifier = Verifier(self.issuer, self._key, clock)
        self._engine: Engine

    async def __aenter__(self) -> LocalIdentities:
        try:
            await self.run(self._open)
        except BaseException:
            self._threads.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.run(self._engine.dispose)
        self._threads.close()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)  # also what SQLite keeps beside its file
        self.install_token = install_token(self._folder / "token")
        self._install = passwords.hash_secret(self.install_token).encode()
        path = self._folder / "identity.sqlite"
        self._engine = engine = open_database(sqlite_url(path), "headrace.trust.identities")
        path.chmod(0o600)
        self.people, self._logins = People(engine, self._clock), Logins(engine, self._clock)
        with contextlib.suppress(Conflict):
            self.people.add_company(LOCAL)
        self.keys = Keys(engine, self._folder / "keys", LIFE + LEEWAY, self._clock)
        self.keys.load()
        self.sessions = Sessions(
            engine, self.people, self.install_token, self.changed, lambda: self._generation, self.run, self._clock
        )

    async def rotate(self, at_once: bool) -> str:
        """Sign with a new key; its id. `at_once`: tokens, refresh tokens and browsers' sessions end; secrets stay."""

        def work() -> str:
            kid = self.keys.rotate(at_once)
            if at_once:
                self._logins.end_all()
                self.sessions.end_all()
            return kid

        try:
            return await self.run(work)
        finally:
            self.changed()

    @property
    def generation(self) -> int:
        """Changes when somebody who was believed may no longer be."""
        return self._generation

    def changed(self) -> None:
        """Somebody who was believed may no longer be."""
        self._generation += 1

    @property
    def base(self) -> str:
        """Where the platform answers."""
        return self._base

    @base.setter
    def base(self, url: str) -> None:
        self._base = url.rstrip("/")
        self._verifier.issuer = self.issuer

    @property
    def issuer(self) -> str:
        """``iss`` of its tokens."""
        return f"{self._base}/realms/{REALM}"

    async def verify(self, token: str) -> Principal:
        """Who the bearer of the install token, an access token, or a device's or service's secret is. Raises Unauthenticated."""
        if token.startswith(PREFIX):
            if hmac.compare_digest(passwords.hash_secret(token).encode(), self._install):
                return INSTALL
            raise Unauthenticated(detail="this is not the token of this install")
        if token.startswith(passwords.MADE):
            return (await self._bearer(token)).principal()
        claims = self._verifier.claims(token)  # here, so that strangers' tokens take no thread
        return await self.run(self._verify, claims)

    async def login(self, name: str, password: bytes, address: str = "") -> Principal:
        """Who logs in with a password, as MQTT clients do.

        Args:
            name: ``company/name``, or a name in the first company; may be empty with a token.
            password: the password or secret; or an access token, or the install token.
            address: of the client; "" if it is not known.

        Raises:
            Unauthenticated: nobody we know. TooManyGuesses, TooMany: not now.
        """
        if password.startswith((b"eyJ", PREFIX.encode())):
            who = await self.verify(password.decode("latin-1"))
            if name and split(name) != (who.company, who.subject):
                raise Unauthenticated(detail="the token is not of this name")
            return who
        return (await self.prove(name, password, address)).principal()

    async def known(self, who: Principal) -> bool:
        """Whether somebody who logged in is still who he was; for connections that stay open."""
        if self._clock() >= who.expires:
            return False
        if who.kind == "install":
            return True
        person = await self.run(self.people.find, who.company, who.subject)
        return person is not None and who.roles <= person.roles and who.topics == person.topics

    async def prove(self, name: str, password: bytes, address: str = "") -> Person:
        """The person behind ``company/name`` and a password. Raises as `login`."""
        company, subject = split(name)
        whole = f"{company}/{subject}"[:200]
        person = await self.run(self.people.find, company, subject)
        proof = hmac.digest(self._salt, f"{whole}\0".encode() + password, "sha256")
        known, stored = self._proven.get(whole, (b"", ""))
        if person is not None and stored == person.secret and hmac.compare_digest(known, proof):
            return person
        self._brake.attempt(whole, address)
        right = await self._compare(person.secret if person else None, password)
        if not right or person is None:
            raise Unauthenticated(detail=_WRONG)
        self._brake.passed(whole, address)
        if len(self._proven) >= REMEMBERED:
            del self._proven[next(iter(self._proven))]
        self._proven[whole] = proof, person.secret
        return person

    async def _compare(self, stored: str | None, password: bytes) -> bool:
        if passwords.quick(password):
            return passwords.verify_any(stored, password)
        if self._waiting >= WAITING:
            raise TooMany(count=self._waiting, what="logins")
        self._waiting += 1
        try:
            async with self._slow:
                return await self.run(passwords.verify_any, stored, password)
        finally:
            self._waiting -= 1

    async def token(self, form: Mapping[str, str], address: str = "") -> dict[str, Any]:
        """The token endpoint: a form (RFC 6749, sections 4.3, 4.4 and 6) to an answer (section 5.1).

        Raises:
            Unauthenticated: wrong name, password, secret or refresh token. BadInput: a field is missing. Unsupported: another
                grant.
        """
        match form.get("grant_type"):
            case "password":
                name, client = _named(form, "username"), form.get("client_id", CLIENT)
                person = await self.prove(name, _field(form, "password").encode(), address)
                login, refresh = await self.run(self._logins.begin, person.id, client)
                return await self.run(self._answer, person, client, login, refresh)
            case "client_credentials":
                name = _named(form, "client_id")
                person = await self.prove(name, _field(form, "client_secret").encode(), address)
                return await self.run(self._answer, person, person.name, "", "")
            case "refresh_token":
                return await self._refresh(_field(form, "refresh_token"))
            case None:
                raise BadInput(detail="the form has no grant_type")
            case _:
                raise Unsupported(detail="grant_type is not one of password, client_credentials, refresh_token")

    async def _refresh(self, token: str) -> dict[str, Any]:
        login, id, client, refresh, copied = await self.run(self._logins.refresh, token)
        if copied:
            self.changed()
            raise Unauthenticated(
                detail="this refresh token was used before, perhaps by somebody else: the login has ended"
            )
        person = await self.run(self.people.by_id, id)
        if person is None:
            raise Unauthenticated(detail="this login has ended")
        return await self.run(self._answer, person, client, login, refresh)

    async def end(self, token: str) -> None:
        """Log out: the login of an access or refresh token ends. Raises Unauthenticated; BadInput: it has none."""
        if token.startswith(PREFIX):
            raise Unauthenticated(
                detail="the install token does not log out: delete its file and start again to have another"
            )
        if token.startswith("eyJ"):
            claims = self._verifier.claims(token)
            if "sid" not in claims:
                raise BadInput(detail="this token belongs to no login; it ends by itself within minutes")
            await self.run(self._logins.end, str(claims["sid"]))
        else:
            await self.run(self._logins.end_by_token, token)
        self.changed()

    async def one_time_code(self, who: Principal) -> str:
        """A code that opens a browser session of his. Raises Unauthenticated: he is gone."""
        if who.kind == "install":
            return self.sessions.code(None)
        person = await self.run(self.people.find, who.company, who.subject)
        if person is None:
            raise Unauthenticated(detail=f"{who.subject!r} is gone")
        return self.sessions.code(person.id)

    def _answer(self, person: Person, client: str, login: str, refresh: str) -> dict[str, Any]:
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": person.id,
            "azp": client[:64],
            "typ": "Bearer",
            "iat": now,
            "exp": now + int(LIFE),
            "jti": secrets.token_hex(16),
            "preferred_username": person.name,
            "company": person.company,
            "kind": person.kind,
            "topics": list(person.topics),
            "realm_access": {"roles": sorted(person.roles)},
        }
        answer = {"token_type": "Bearer", "expires_in": int(LIFE)}
        if login:
            claims["sid"] = login
            answer["refresh_token"] = refresh
        return {"access_token": self.keys.sign(claims), **answer}

    def on_behalf(self, who: Principal, service: str) -> str:
        """A token with which a service of this platform acts for somebody at another (``act``; RFC 8693, section 4.1).

        It is believed as it is: a job outlives the person who started it. Only who holds our private keys can make one.
        """
        now = int(self._clock())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": f"{who.company}/{who.subject}",
            "act": {"sub": f"{ACTOR}{service}"},
            "typ": "Bearer",
            "iat": now,
            "exp": now + int(ACTING),
            "preferred_username": who.subject,
            "company": who.company,
            "kind": who.kind,
            "topics": [],
            "realm_access": {"roles": sorted(who.roles)},
        }
        return self.keys.sign(claims)

    def _key(self, kid: str) -> Any:
        return self.keys.public(kid)

    async def _bearer(self, secret: str) -> Person:
        """The device or service whose secret is sent as it is, by what cannot ask for tokens."""
        person = await self.run(self.people.by_secret, passwords.hash_secret(secret))
        if person is None or person.kind == "user":
            raise Unauthenticated(detail="this is nobody's secret")
        return person

    def _verify(self, claims: dict[str, Any]) -> Principal:
        said = principal(claims)
        if said.acting:
            return said
        person = self.people.by_id(str(claims["sub"]))
        if person is None or (said.company, said.subject) != (person.company, person.name):
            raise Unauthenticated(detail="the person of this token is gone")
        if "sid" in claims and not self._logins.alive(str(claims["sid"])):
            raise Unauthenticated(detail="this login has ended")
        return Principal(
            said.company, said.subject, person.kind, said.roles & person.roles, said.expires, person.topics
        )


def _field(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise BadInput(detail=f"the form has no {name}")
    return value


def _named(form: Mapping[str, str], field: str) -> str:
    """``company/name``; the company may be a field of its own."""
    name, company = _field(form, field), form.get("company", "")
    return f"{company}/{name}" if company and "/" not in name else name
