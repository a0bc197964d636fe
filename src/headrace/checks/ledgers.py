"""What every ledger must do. ``make(path)`` opens one on a directory; a durable one opened again has all that it said."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

from headrace import claims
from headrace.errors import BadInput, Conflict, HeadraceError, Tampered, TooLarge, UnknownContract, Unsupported
from headrace.trust import evidence
from headrace.trust.ledgers import LONGEST, Act, Anchor, Deploy, Ledger, Receipt, Record, Revoke

Make: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Ledger]]
CLAIM = claims.canonical({"schema": "headrace/model/1", "name": "Wärmepumpe", "shape": [24, 3], "seed": 7})
RESULT = claims.canonical({"digest": f"sha256:{'5' * 64}", "metrics": {"rmse": 0.25}})
ROOT = hashlib.sha256(b"a batch").digest()
FOREIGN = ("", "x", "0x", "0x" + "0" * 40, "0x" + "f" * 64, "0x" + "zz" * 20, "../../log.db", "0X" + "1" * 40)
"""No contracts and no transactions."""


async def check_ledger(make: Make, path: Path, *, durable: bool) -> None:
    """Raises AssertionError with what went wrong.

    Args:
        path: an empty directory.
        durable: whether what was recorded outlives the object.
    """
    async with make(path) as ledger:
        await _accounts(ledger)
        deployed = await _read_back(ledger)
        await _once(ledger)
        await _owner(ledger, deployed.contract)
        await _kinds(ledger)
        await _anchors(ledger)
        await _order(ledger)
        await _unknown(ledger, deployed)
        await _bounds(ledger)
        await _at_once(ledger)
        await _evidence(ledger)
    if durable:
        await _again(make, path)


async def _accounts(ledger: Ledger) -> None:
    acme, other = await ledger.account("acme"), await ledger.account("other")
    assert acme != other, "two companies have one account"
    assert acme == await ledger.account("acme"), "a company's account is another when asked for again"
    assert acme.startswith("0x") and len(acme) == 42, f"{acme} is no address"


async def _read_back(ledger: Ledger) -> Receipt:
    """All that was claimed is there again."""
    [deployed] = await ledger.submit("acme", [Deploy("model", CLAIM)])
    found = await ledger.read(deployed.contract)
    assert (found.address, found.kind, found.claim) == (deployed.contract, "model", CLAIM), "the claim is another"
    assert found.claim_digest == hashlib.sha256(CLAIM).digest(), "the claim's digest is another"
    assert found.owner == await ledger.account("acme"), "the contract is of another account"
    assert found.deployed == deployed, "the contract was deployed elsewhere"
    assert (found.result, found.recorded, found.revoked) == (None, None, None), "a new contract has a result"
    recorded, revoked = await ledger.submit(
        "acme", [Record(deployed.contract, RESULT), Revoke(deployed.contract, "the data were wrong: ° and ✓")]
    )
    found = await ledger.read(deployed.contract)
    assert (found.result, found.recorded) == (RESULT, recorded), "the result is another"
    assert found.revoked == "the data were wrong: ° and ✓", "the reason is another"
    assert recorded.contract == revoked.contract == deployed.contract, "a call was of another contract"
    assert recorded.transaction != revoked.transaction, "two acts are one transaction"
    for claim in (b"", b"\0" * 31, b"\xff" * 32, bytes(range(256)) * 300):
        [receipt] = await ledger.submit("acme", [Deploy("dataset", claim)])
        found = await ledger.read(receipt.contract)
        assert (found.kind, found.claim) == ("dataset", claim), f"a claim of {len(claim)} bytes is another"
    return deployed


async def _once(ledger: Ledger) -> None:
    """The same act again is the same; another in its place is refused."""
    [first] = await ledger.submit("acme", [Deploy("model", b"once")])
    height = (await ledger.status()).height
    assert await ledger.submit("acme", [Deploy("model", b"once")] * 3) == [first] * 3, (
        "the same claim has two contracts"
    )
    assert (await ledger.status()).height == height, "an act was done twice"
    [theirs] = await ledger.submit("other", [Deploy("model", b"once")])
    assert theirs.contract != first.contract, "two companies share a contract"
    done: tuple[Act, Act] = (Record(first.contract, b"one"), Revoke(first.contract, "one"))
    other: tuple[Act, Act] = (Record(first.contract, b"two"), Revoke(first.contract, "two"))
    for act, change in zip(done, other, strict=True):
        receipts = await ledger.submit("acme", [act])
        await _raises(Conflict, ledger.submit("acme", [change]), f"{type(act).__name__} was done twice")
        assert await ledger.submit("acme", [act]) == receipts, "the same act done again has another receipt"
    found = await ledger.read(first.contract)
    assert (found.result, found.revoked) == (b"one", "one"), "what was refused is there"


async def _owner(ledger: Ledger, contract: str) -> None:
    [fresh] = await ledger.submit("acme", [Deploy("model", b"mine")])
    for act in (Record(fresh.contract, RESULT), Revoke(fresh.contract, "no")):
        await _raises(Conflict, ledger.submit("other", [act]), f"another account did {type(act).__name__}")
    found = await ledger.read(fresh.contract)
    assert (found.result, found.revoked) == (None, None), "what another account was refused is there"
    await _raises(Conflict, ledger.submit("other", [Record(contract, RESULT)]), "another account did what was done")


async def _kinds(ledger: Ledger) -> None:
    [dataset] = await ledger.submit("acme", [Deploy("dataset", b"kinds")])
    [model] = await ledger.submit("acme", [Deploy("model", b"kinds")])
    assert dataset.contract != model.contract, "a dataset and a model share a contract"
    await _raises(Conflict, ledger.submit("acme", [Record(dataset.contract, RESULT)]), "a dataset has a result")


async def _anchors(ledger: Ledger) -> None:
    first, second = await ledger.submit("acme", [Anchor(ROOT, 3), Anchor(ROOT, 4)])
    for receipt, count in ((first, 3), (second, 4)):
        found = await ledger.anchored(receipt.transaction)
        expected = (await ledger.account("acme"), ROOT, count, receipt)
        assert (found.owner, found.root, found.count, found.receipt) == expected, "a batch is another"
    assert await ledger.submit("acme", [Anchor(ROOT, 3)]) == [first], "the same batch was anchored twice"
    [theirs] = await ledger.submit("other", [Anchor(ROOT, 3)])
    assert (await ledger.anchored(theirs.transaction)).owner == await ledger.account("other"), "a batch is of another"
    await _raises(UnknownContract, ledger.read(first.contract), "the contract of the anchors is taken for an asset's")
    await _raises(UnknownContract, ledger.submit("acme", [Revoke(first.contract, "x")]), "anchors can be revoked")


async def _order(ledger: Ledger) -> None:
    """In order; what comes before a refused act is done, what comes after is not."""
    acts: list[Act] = [Deploy("model", b"order %d" % index) for index in range(5)]
    receipts = await ledger.submit("acme", acts)
    assert len({receipt.contract for receipt in receipts}) == 5, "receipts are missing, or of the same contract"
    assert [each.block for each in receipts] == sorted(each.block for each in receipts), "acts are out of order"
    for receipt, act in zip(receipts, acts, strict=True):
        assert isinstance(act, Deploy) and (await ledger.read(receipt.contract)).claim == act.claim, (
            "receipts are mixed"
        )
    [theirs] = await ledger.submit("other", [Deploy("model", b"theirs")])
    for wrong in (Revoke(theirs.contract, "x"), Record("0x" + "0" * 40, b""), Anchor(b"short", 1)):
        before, after = Deploy("model", f"before {wrong}".encode()), Deploy("model", f"after {wrong}".encode())
        await _raises(HeadraceError, ledger.submit("acme", [before, wrong, after]), f"{wrong} was done")
        height = (await ledger.status()).height
        await ledger.submit("acme", [before])
        assert (await ledger.status()).height == height, "an act before the refused one was not done"
        await ledger.submit("acme", [after])
        assert (await ledger.status()).height > height, "an act after the refused one was done"
    assert await ledger.submit("acme", []) == [], "nothing has a receipt"


async def _unknown(ledger: Ledger, deployed: Receipt) -> None:
    for name in FOREIGN:
        await _raises(UnknownContract, ledger.read(name), f"{name!r} is a contract")
        await _raises(UnknownContract, ledger.anchored(name), f"{name!r} is a batch")
        await _raises(UnknownContract, ledger.submit("acme", [Record(name, b"")]), f"{name!r} takes a result")
        await _raises(UnknownContract, ledger.submit("acme", [Revoke(name, "")]), f"{name!r} can be revoked")
        await _raises((UnknownContract, Unsupported), ledger.evidence(name), f"there is evidence of {name!r}")
    await _raises(UnknownContract, ledger.anchored(deployed.transaction), "a contract is taken for a batch")


async def _bounds(ledger: Ledger) -> None:
    height = (await ledger.status()).height
    long = b"x" * (LONGEST + 1)
    for act in (Deploy("model", long), Record("0x" + "0" * 40, long), Revoke("0x" + "0" * 40, long.decode())):
        await _raises(TooLarge, ledger.submit("acme", [act]), f"a {type(act).__name__} has no bound")
    for batch in (Anchor(ROOT[1:], 1), Anchor(ROOT, 0), Anchor(ROOT, 2**64)):
        await _raises(BadInput, ledger.submit("acme", [batch]), f"{batch} was anchored")
    assert (await ledger.status()).height == height, "what was refused is in the chain"
    [receipt] = await ledger.submit("acme", [Deploy("model", long[1:])])
    assert (await ledger.read(receipt.contract)).claim == long[1:], "the longest claim is another"


async def _at_once(ledger: Ledger) -> None:
    """Several callers: the same act is done once, and no receipt is another's."""
    same = await asyncio.gather(*(ledger.submit("acme", [Deploy("model", b"same")]) for _ in range(5)))
    assert len({receipt for [receipt] in same}) == 1, "the same act was done by two callers"
    companies = ["acme", "other", "third"] * 3
    claimed = [Deploy("dataset", b"%d" % index) for index in range(len(companies))]
    receipts = await asyncio.gather(
        *(ledger.submit(*each) for each in zip(companies, ([c] for c in claimed), strict=True))
    )
    for company, act, [receipt] in zip(companies, claimed, receipts, strict=True):
        found = await ledger.read(receipt.contract)
        assert (found.claim, found.owner) == (act.claim, await ledger.account(company)), "receipts are mixed"


async def _evidence(ledger: Ledger) -> None:
    """What convinces others, and nothing that was changed."""
    acts: list[Act] = [Deploy("model", b"proved"), Deploy("dataset", b"proved"), Anchor(ROOT, 7)]
    receipts = await ledger.submit("acme", acts)
    acts += [Record(receipts[0].contract, RESULT), Revoke(receipts[0].contract, "ö")]
    receipts += await ledger.submit("acme", acts[3:])
    try:
        documents = [await ledger.evidence(receipt.transaction) for receipt in receipts]
    except Unsupported:
        return
    status = await ledger.status()
    for act, receipt, document in zip(acts, receipts, documents, strict=True):
        facts = evidence.check(document, [status.operator])
        assert facts.act == act and facts.sender == await ledger.account("acme"), "evidence is of another act"
        found = Receipt(facts.transaction, facts.contract, facts.block, facts.block_hash)
        assert found == receipt, "evidence is of another transaction"
        assert facts.known and evidence.check(document, [status.genesis]).known, "a pinned signer is unknown"
        assert not evidence.check(document).known, "a signer is known that nobody pinned"
        assert (facts.genesis, facts.chain) == (status.genesis, status.chain), "evidence is of another chain"
        refused(json.dumps(document), ["sha256:" + "0" * 64], "evidence of another operator was believed")
    changed: list[tuple[str, str | bytes]] = [*tampered(documents[0], documents[1])]
    for document in (documents[2], documents[4]):
        changed += flipped(document)
    for what, text in changed:
        refused(text, (), f"evidence was believed with {what}")


async def _again(make: Make, path: Path) -> None:
    async with make(path) as ledger:
        account, before = await ledger.account("acme"), await ledger.status()
        [deployed] = await ledger.submit("acme", [Deploy("model", CLAIM)])
        assert (await ledger.status()).height == before.height, "an act was done twice by a ledger opened again"
        contract = await ledger.read(deployed.contract)
        [batch] = await ledger.submit("acme", [Anchor(ROOT, 3)])
    async with make(path) as ledger:
        assert await ledger.status() == before, "a ledger opened again is another chain"
        assert await ledger.account("acme") == account, "a company's account is another after opening again"
        assert await ledger.read(deployed.contract) == contract and contract.revoked, (
            "a contract changed by opening again"
        )
        assert (await ledger.anchored(batch.transaction)).root == ROOT, "a batch changed by opening again"
        await ledger.submit("acme", [Deploy("model", b"later")])
        assert (await ledger.status()).height == before.height + 1, "nothing can be recorded after opening again"


def refused(document: str | bytes, pins: Collection[str], otherwise: str) -> None:
    """Raises AssertionError unless the evidence raises Tampered."""
    try:
        found = evidence.check(document, pins)
    except Tampered:
        return
    raise AssertionError(f"{otherwise}: {found}")


def flipped(document: Mapping[str, Any], masks: Collection[int] = (1,)) -> Iterator[tuple[str, bytes]]:
    """A document's text with each byte changed in turn, and what was changed."""
    text = claims.canonical(document)
    for at in range(len(text)):
        for mask in masks:
            yield f"byte {at} changed", text[:at] + bytes([text[at] ^ mask]) + text[at + 1 :]


def tampered(document: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Documents with one field missing, more, of another type, or taken from another piece of evidence; and what was changed."""
    for name, value in document.items():
        yield f"no {name}", json.dumps({key: each for key, each in document.items() if key != name})
        if other[name] != value:
            yield f"{name} of other evidence", json.dumps({**document, name: other[name]})
        others: list[Any] = [None, 1, "", "0x", [], {}, [value], f"{value}0"]
        for wrong in others:
            if wrong != value:
                yield f"{name} = {str(wrong)[:20]}", json.dumps({**document, name: wrong})
        for inner in value if isinstance(value, dict) else ():
            rest = {key: each for key, each in value.items() if key != inner}
            yield f"no {name}.{inner}", json.dumps({**document, name: rest})
            yield f"{name}.{inner} as text", json.dumps({**document, name: {**rest, inner: str(value[inner]) + " "}})
        if isinstance(value, list) and value:
            yield f"a shorter {name}", json.dumps({**document, name: value[:-1]})
            yield f"a longer {name}", json.dumps({**document, name: [*value, value[-1]]})
            yield (
                f"{name} upside down",
                json.dumps({**document, name: [value[-1], *value[1:-1], value[0]][: len(value)]}),
            )
    yield "something more", json.dumps({**document, "more": 1})


async def _raises(
    kind: type[HeadraceError] | tuple[type[HeadraceError], ...], call: Awaitable[Any], otherwise: str
) -> None:
    try:
        await call
    except kind:
        return
    raise AssertionError(otherwise)
