"""Every member of the identities family passes its suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from headrace.checks.identities import check_identities
from headrace.trust import passwords
from headrace.trust.identities import IDENTITIES
from headrace.trust.identities.local import LocalIdentities


class LocalBench:
    """The embedded issuer, and a developer of acme."""

    def __init__(self, identities: LocalIdentities, claims: Mapping[str, Any]) -> None:
        self.identities, self.claims = identities, claims
        found = identities.people.find("acme", "anna")
        assert found is not None
        self.who = found.principal()

    def sign(self, claims: Mapping[str, Any]) -> str:
        return self.identities.keys.sign(dict(claims))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[LocalBench]:
    secret = passwords.make_secret()
    async with LocalIdentities(tmp_path) as identities:
        person = identities.people.make(
            "acme", "anna", "user", ["developer"], ["#"], passwords.hash_any(secret), "test"
        )
        identities.people.add_company("acme", person)
        form = {"grant_type": "password", "username": "acme/anna", "password": secret}
        token = (await identities.token(form))["access_token"]
        yield LocalBench(identities, jwt.decode(token, options={"verify_signature": False}))


async def test_local(bench: LocalBench) -> None:
    await check_identities(bench)


async def test_a_member_that_believes_everything_is_found_out(bench: LocalBench) -> None:
    bench.identities._verifier.claims = lambda token: jwt.decode(token, options={"verify_signature": False})  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="was believed"):
        await check_identities(bench)


def test_every_member_has_its_test() -> None:
    assert IDENTITIES.names() == ["local"]
