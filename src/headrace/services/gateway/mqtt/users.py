"""Who may connect, and which topics they may use: a YAML file of users.

::

    anonymous:                       # optional: clients without a user name
      publish: ["demo/%c/#"]
    users:
      pump-7:
        password: scrypt$14$8$1$...  # made by `hash_password`; without one, only a TLS certificate can log in
        publish: ["acme/%u/#"]       # %u the user's name, %c the client's id; each must be a whole level
        subscribe: ["acme/%u/#", "headrace/predict/+/response/%c"]
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from headrace.errors import BadInput
from headrace.services.gateway.mqtt.topics import covers
from headrace.topics import valid_filter
from headrace.trust.passwords import hash_password, parse_hash, verify_password

__all__ = ["ANYTHING", "Access", "Users", "hash_password", "user_entry", "verify_password"]
_REMEMBERED = 10_000


class _Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    users: dict[str, _Rules] = {}
    anonymous: _Rules | None = None


class Access:
    """What one user may do."""

    __slots__ = ("_publish", "_subscribe", "name")

    def __init__(self, name: str | None, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> None:
        self.name = name
        self._publish = [text.split("/") for text in publish]
        self._subscribe = [text.split("/") for text in subscribe]

    def may_publish(self, topic: str, client_id: str) -> bool:
        """Whether one of the publish filters matches the topic."""
        return self._covered(self._publish, topic, client_id)

    def may_subscribe(self, text: str, client_id: str) -> bool:
        """Whether one of the subscribe filters covers everything the filter asks for."""
        return self._covered(self._subscribe, text, client_id)

    def _covered(self, allowed: list[list[str]], text: str, client_id: str) -> bool:
        asked = text.split("/")
        return any(
            (levels := _filled(pattern, self.name or "", client_id)) is not None and covers(levels, asked)
            for pattern in allowed
        )


ANYTHING = Access(None, publish=["#"], subscribe=["#"])


def _filled(pattern: list[str], name: str, client_id: str) -> list[str] | None:
    """The pattern with names put in; None if a name would be more than one plain level, or nothing."""
    given = {"%u": name, "%c": client_id}
    for mark, value in given.items():
        if mark in pattern and (not value or any(sign in value for sign in "/+#")):
            return None
    return [given.get(level, level) for level in pattern]


class Users:
    """The users of one file. `load` reads it; it is read once."""

    def __init__(self, users: Mapping[str, _Rules], anonymous: _Rules | None = None) -> None:
        self._rules = dict(users)
        self._access = {name: Access(name, rules.publish, rules.subscribe) for name, rules in users.items()}
        self.anonymous = Access(None, anonymous.publish, anonymous.subscribe) if anonymous else None
        self._secret = secrets.token_bytes(32)
        self._proven: dict[str, bytes] = {}
        self._nobody = hash_password("")

    @classmethod
    def load(cls, path: Path) -> Users:
        """Read and check a users file. Raises BadInput, which names the place."""
        try:
            given = msgspec.convert(yaml.safe_load(path.read_text()) or {}, _File)
        except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise BadInput(detail=f"{path}: {error}") from error
        for name, rules in [*given.users.items(), ("anonymous", given.anonymous or _Rules())]:
            for text in (*rules.publish, *rules.subscribe):
                if not valid_filter(text):
                    raise BadInput(detail=f"{path}: {name}: {text!r} is not a topic filter")
            if rules.password and parse_hash(rules.password) is None:
                raise BadInput(detail=f"{path}: {name}: the password is not hashed; make one with `hash_password`")
        return cls(given.users, given.anonymous)

    def certified(self, common_name: str) -> Access | None:
        """The user whose TLS certificate has been verified."""
        return self._access.get(common_name)

    def remembered(self, name: str, password: bytes) -> Access | None:
        """As `login`, but at once, if this password was proven before: a fleet that reconnects costs no scrypt."""
        proof = self._proven.get(name)
        return self._access[name] if proof and hmac.compare_digest(proof, self._proof(name, password)) else None

    def login(self, name: str, password: bytes) -> Access | None:
        """The user, if the password is right. Takes some 50 ms, also for unknown names: call it in a thread."""
        rules = self._rules.get(name)
        right = verify_password(rules.password if rules and rules.password else self._nobody, password)
        if not right or rules is None or not rules.password:
            return None
        if len(self._proven) >= _REMEMBERED:
            self._proven.clear()
        self._proven[name] = self._proof(name, password)
        return self._access[name]

    def _proof(self, name: str, password: bytes) -> bytes:
        return hmac.digest(self._secret, name.encode() + b"\0" + password, "sha256")


def user_entry(name: str, password: str, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> str:
    """A whole users file with one user, as YAML; its entry can be pasted under ``users:`` of another."""
    rules = {"password": hash_password(password), "publish": list(publish), "subscribe": list(subscribe)}
    text: str = yaml.safe_dump({"users": {name: rules}}, sort_keys=False)
    return text
