"""Tokens with which one service acts for somebody at another, and keys that several processes share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.errors import Unauthenticated
from headrace.trust.identities.keys import AGAIN, UNKNOWN
from headrace.trust.identities.local import ACTING, LocalIdentities
from headrace.trust.identities.verifying import LEEWAY

ANN = Principal("acme", "ann", "service", frozenset({"service"}))


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ids(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalIdentities]:
    async with LocalIdentities(tmp_path / "identity", clock=clock) as opened:
        yield opened


async def test_a_service_acts_for_somebody_for_a_minute(ids: LocalIdentities, clock: Clock) -> None:
    token = ids.on_behalf(ANN, "training")
    found = await ids.verify(token)
    assert (found.company, found.subject, found.roles, found.acting) == ("acme", "ann", ANN.roles, "training")
    assert found.expires == clock.now + ACTING
    clock.now += ACTING + LEEWAY
    with pytest.raises(Unauthenticated, match="expired"):
        await ids.verify(token)


async def test_nobody_who_is_here_himself_acts(ids: LocalIdentities) -> None:
    assert (await ids.verify(ids.install_token)).acting == ""


@pytest.mark.parametrize(
    "act", [None, {}, "headrace:training", {"sub": "training"}, {"sub": 7}, {"sub": "evil:headrace:"}]
)
async def test_an_actor_of_another_form_is_refused(ids: LocalIdentities, clock: Clock, act: Any) -> None:
    now = int(clock.now)
    claims = {"iss": ids.issuer, "aud": "headrace", "sub": "x", "typ": "Bearer", "iat": now, "exp": now + 60}
    claims |= {
        "preferred_username": "ann",
        "company": "acme",
        "kind": "user",
        "realm_access": {"roles": []},
        "act": act,
    }
    with pytest.raises(Unauthenticated):
        await ids.verify(ids.keys.sign(claims))


async def test_another_process_changes_the_key(ids: LocalIdentities, tmp_path: Path, clock: Clock) -> None:
    async with LocalIdentities(tmp_path / "identity", clock=clock) as other:
        before = ids.on_behalf(ANN, "training")
        clock.now += UNKNOWN
        await other.run(other.keys.rotate)
        after = other.on_behalf(ANN, "sharing")
        assert (await ids.verify(after)).acting == "sharing"  # a key it did not know
        assert (await other.verify(before)).acting == "training"  # retired, and still believed
        assert (await other.verify(ids.on_behalf(ANN, "training"))).acting == "training"


async def test_a_key_that_was_thrown_away_elsewhere_is_soon_believed_nowhere(
    ids: LocalIdentities, tmp_path: Path, clock: Clock
) -> None:
    async with LocalIdentities(tmp_path / "identity", clock=clock) as other:
        before = ids.on_behalf(ANN, "training")
        await other.run(other.keys.rotate, True)
        clock.now += AGAIN
        with pytest.raises(Unauthenticated):
            await ids.verify(before)
        assert (await ids.verify(ids.on_behalf(ANN, "training"))).acting == "training"
