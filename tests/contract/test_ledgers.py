"""Every member of the ledgers family passes its suite, and the suite finds those out that do not keep their word."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.checks.ledgers import Make, check_ledger, tampered
from headrace.errors import HeadraceError
from headrace.trust.ledgers import LEDGERS, Act, Contract, Receipt
from headrace.trust.ledgers.embedded import EmbeddedLedger
from headrace.trust.ledgers.memory import MemoryLedger

MEMBERS: dict[str, tuple[Make, bool]] = {
    "memory": (lambda path: MemoryLedger(), False),
    "embedded": (lambda path: EmbeddedLedger(path / "ledger", path / "keys"), True),
}


@pytest.mark.parametrize("name", LEDGERS.names())
async def test_ledger(name: str, tmp_path: Path) -> None:
    make, durable = MEMBERS[name]
    await check_ledger(make, tmp_path, durable=durable)


class Forgetful(MemoryLedger):
    """Does the same act twice."""

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        self._done.clear()
        return await super().submit(company, acts)


class Generous(MemoryLedger):
    """Lets anybody write."""

    def _change(self, owner: str, act: Any, receipt: Receipt) -> None:
        super()._change(self._contract(act.contract).owner, act, receipt)


class Careless(MemoryLedger):
    """Gives back another claim."""

    async def read(self, address: str) -> Contract:
        found = await super().read(address)
        return replace(found, claim=found.claim[:-1], claim_digest=hashlib.sha256(found.claim[:-1]).digest())


@pytest.mark.parametrize("wrong", [Forgetful, Generous, Careless])
async def test_a_ledger_that_does_not_keep_its_word_is_found_out(wrong: type[MemoryLedger], tmp_path: Path) -> None:
    with pytest.raises((AssertionError, HeadraceError)):
        await check_ledger(lambda path: wrong(), tmp_path, durable=False)


def test_the_generator_changes_each_part() -> None:
    document = {"a": "0x12", "b": {"c": 1}, "d": ["x", "y"]}
    other = {"a": "0x34", "b": {"c": 2}, "d": ["z"]}
    named = [what for what, _ in tampered(document, other)]
    assert len(named) == len(set(named))
    assert {"no a", "a of other evidence", "no b.c", "a shorter d", "something more"} <= set(named)
