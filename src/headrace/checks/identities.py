"""What every member of the identities family must believe, and what it must not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from headrace.access import Principal
from headrace.errors import Unauthenticated
from headrace.trust.identities import Identities


class Bench(Protocol):
    """Identities with somebody they know, and their issuer's pen."""

    identities: Identities
    claims: Mapping[str, Any]
    """Of an access token of his that is good now; ``realm_access`` names one role."""
    who: Principal
    """Who he is; `expires` does not matter."""

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with these claims, signed by a key the identities trust."""
        ...


async def check_identities(bench: Bench) -> None:
    """Raises AssertionError with what went wrong."""
    claims = dict(bench.claims)
    good = bench.sign(claims)
    found = await bench.identities.verify(good)
    assert (found.company, found.subject, found.roles) == (bench.who.company, bench.who.subject, bench.who.roles), (
        f"a good token is of {found}, not of {bench.who}"
    )
    assert found.expires == claims["exp"], "the principal does not end with his token"
    for what, change in _changes(claims).items():
        await _refused(bench.identities, what, bench.sign({**claims, **change}))
    for name in ("exp", "iss", "aud", "sub", "company"):
        await _refused(bench.identities, f"no {name}", bench.sign({k: v for k, v in claims.items() if k != name}))
    for what, token in _forged(good).items():
        await _refused(bench.identities, what, token)
    more = bench.sign({**claims, "realm_access": {"roles": ["root", "nonsense"]}})
    assert not (await bench.identities.verify(more)).roles, "roles nobody has heard of came through"
    assert isinstance(bench.identities.generation, int), "generation is no number"


def _changes(claims: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    now = time.time()
    return {
        "expired": {"exp": int(now) - 3600, "iat": int(now) - 7200},
        "not valid yet": {"nbf": int(now) + 3600},
        "of the future": {"iat": int(now) + 3600},
        "of a wrong realm": {"iss": f"{claims['iss']}-other"},
        "for a wrong audience": {"aud": "somebody-else"},
        "for no audience": {"aud": []},
        "a refresh token": {"typ": "Refresh"},
        "an identity token": {"typ": "ID"},
        "of an odd company": {"company": ["x"]},
        "with an odd end": {"exp": "never"},
    }


def _forged(good: str) -> dict[str, str]:
    """A good token, as somebody without the key would change it."""
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    about = {"kid": header["kid"], "typ": header["typ"]}
    stranger, other = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    swapped = base64.urlsafe_b64encode(json.dumps({**claims, "company": "other"}).encode()).rstrip(b"=").decode()
    unsigned = base64.urlsafe_b64encode(json.dumps({**about, "alg": "none"}).encode()).rstrip(b"=").decode()
    return {
        "alg: none": jwt.encode(claims, "", "none", headers=about),
        "alg: none with a signature": f"{unsigned}.{body}.{signature}",
        "without its signature": f"{head}.{body}.",
        "with another body": f"{head}.{swapped}.{signature}",
        "signed by a stranger": jwt.encode(claims, stranger, "ES256", headers=about),
        "signed by a stranger, otherwise": jwt.encode(claims, other, "RS256", headers=about),
        "signed with a shared secret": jwt.encode(claims, "x" * 64, "HS256", headers=about),
        "of an unknown key": jwt.encode(claims, stranger, "ES256", headers={**about, "kid": "unknown"}),
        "of a key it brings along": jwt.encode(
            claims, stranger, "ES256", headers={"typ": header["typ"], "jku": "http://127.0.0.1:1/keys"}
        ),
        "nothing": "",
        "dots": "..",
        "words": "not a token",
        "endless": good + "x" * 20_000,
    }


async def _refused(identities: Identities, what: str, token: str) -> None:
    try:
        found = await identities.verify(token)
    except Unauthenticated as error:
        assert len(token) < 20 or token[10:40] not in f"{error!r} {error.__cause__}", (
            f"the error repeats a token ({what})"
        )
        return
    raise AssertionError(f"a token was believed that is {what}: {found}")
