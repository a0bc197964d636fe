"""Believing an access token: a JWT (RFC 7519, 9068) of our realm, for us, signed by a key we know, now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jwt

from headrace.access import ROLES, Kind, Principal
from headrace.errors import Unauthenticated

AUDIENCE = "headrace"
LEEWAY = 10.0
"""Seconds by which clocks may differ."""
LONGEST = 8192
"""Characters of a token that is looked at."""
ALGORITHMS = frozenset({"ES256", "RS256"})
"""Never taken from the token: each key has its own, and no key has ``none`` or a shared secret."""
ACTOR = "headrace:"
"""How the subject of a token's ``act`` begins, before the name of a service."""
_REQUIRED = ["iss", "aud", "sub", "exp", "iat", "company", "preferred_username"]
_TYPES = {"at+jwt", "application/at+jwt", "jwt"}
_KINDS: dict[str, Kind] = {"user": "user", "device": "device", "service": "service"}


class Verifier:
    """Checks the tokens of one issuer.

    Args:
        issuer: what ``iss`` has to be, ``https://…/realms/NAME``.
        keys: the public key of a key id, or None; how it is found is the caller's business.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        issuer: str,
        keys: Callable[[str], jwt.PyJWK | None],
        clock: Callable[[], float],
        audience: str = AUDIENCE,
    ) -> None:
        self.issuer, self.audience = issuer, audience
        self._keys, self._clock = keys, clock

    def claims(self, token: str) -> dict[str, Any]:
        """What a token says. Raises Unauthenticated, without repeating the token."""
        try:
            key = self._key(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self.issuer,
                audience=self.audience,
                options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(detail=_reason(error)) from None  # the cause may quote the token
        except (ValueError, TypeError, RecursionError):
            raise Unauthenticated(detail="the token is damaged") from None
        self._in_time(claims)
        if claims.get("typ", "Bearer") != "Bearer":  # Keycloak signs refresh and identity tokens with the same key
            raise Unauthenticated(detail="this token is not an access token")
        return claims

    def _key(self, token: str) -> jwt.PyJWK:
        if len(token) > LONGEST:
            raise Unauthenticated(detail=f"the token is longer than {LONGEST} characters")
        header = jwt.get_unverified_header(token)
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise Unauthenticated(detail="this token is not an access token")
        kid = header.get("kid")
        key = self._keys(kid) if isinstance(kid, str) else None
        if key is None or key.algorithm_name not in ALGORITHMS or header.get("alg") != key.algorithm_name:
            raise Unauthenticated(detail="the token is not signed by a key of ours")
        return key

    def _in_time(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if _time(claims, "exp") <= now - LEEWAY:
            raise Unauthenticated(detail="the token has expired")
        if max(_time(claims, "iat"), _time(claims, "nbf") if "nbf" in claims else 0) > now + LEEWAY:
            raise Unauthenticated(detail="the token is not valid yet; do the clocks agree?")


def principal(claims: Mapping[str, Any]) -> Principal:
    """Who checked claims speak of; Keycloak's names where it has them. Raises Unauthenticated for claims of a wrong form."""
    company, name = claims["company"], claims["preferred_username"]
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, dict) else None
    topics = claims.get("topics", ["#"])
    if not (_text(company) and _text(name) and _texts(roles) and _texts(topics)):
        raise Unauthenticated(detail="the token names no company, person or roles")
    kind = _KINDS.get(str(claims.get("kind")), "service" if name.startswith("service-account-") else "user")
    known = frozenset(role for role in roles or () if role in ROLES)
    return Principal(company, name, kind, known, float(claims["exp"]), tuple(topics), _actor(claims))


def _actor(claims: Mapping[str, Any]) -> str:
    """Who acts for him: ``act`` (RFC 8693, section 4.1). Only services of the platform are given such tokens."""
    if "act" not in claims:
        return ""
    act = claims["act"]
    actor = act.get("sub") if isinstance(act, dict) else None
    if not _text(actor) or not str(actor).startswith(ACTOR):
        raise Unauthenticated(detail="the token does not say which service acts")
    return str(actor).removeprefix(ACTOR)


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unauthenticated(detail=f"the token's {name} is not a time")
    return float(value)


def _text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100


def _texts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 1000 and all(isinstance(one, str) for one in value)


def _reason(error: jwt.PyJWTError) -> str:
    match error:
        case jwt.InvalidIssuerError():
            return "the token is of another realm"
        case jwt.InvalidAudienceError():
            return "the token is for another audience"
        case jwt.MissingRequiredClaimError():
            return f"the token has no {error.claim!r}"
        case jwt.InvalidSignatureError():
            return "the token's signature is wrong"
        case _:
            return "the token is damaged"
