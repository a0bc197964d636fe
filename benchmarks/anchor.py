"""What anchoring costs, against the least it could: a signature and one transaction on the same kind of chain, durable.

    python -m benchmarks.anchor --count 100

The least: the same machine in this process, the same signed transaction, written into SQLite (FULL) when its block is made; no
log, no proofs, no process of its own, nothing that is done once. Both deploy the contract of a claim of 700 bytes, in turn, in
the same folder. Then claims one by one, each as an anchor of its own, against as many under one Merkle root. The last line
printed is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figures import summary
from headrace import merkle
from headrace.trust.contracts import calldata
from headrace.trust.evm import store as stores
from headrace.trust.evm.accounts import Accounts
from headrace.trust.evm.machine import Machine, genesis
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Anchor, Deploy
from headrace.trust.ledgers.embedded import EmbeddedLedger

CLAIM = b"x" * 690
CHAIN = 5
FEW, WARM = 5, 3
"""Batches; what is done before the clock runs."""


class Least:
    """A chain and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._store = stores.Store(folder / "least.db")
        self._store._db.execute("PRAGMA synchronous=FULL")
        self._machine = Machine(self._store, CHAIN, genesis(bytes(32), 1))
        self._accounts = Accounts(Keyring(folder / "keys"))
        self._sender = self._accounts.address("acme")

    def deploy(self, claim: bytes) -> None:
        """On the disk when this returns."""
        nonce = self._machine.nonce(self._sender)
        raw = self._accounts.sign("acme", nonce, None, calldata(Deploy("model", claim)), CHAIN)
        self._machine.mine([raw], int(time.time()))
        self._machine.keep()

    def close(self) -> None:
        self._store.close()


async def versions(ledger: EmbeddedLedger, least: Least, count: int) -> tuple[list[float], list[float]]:
    """Seconds of a version, the least and ours, in turn."""
    first: list[float] = []
    second: list[float] = []
    for index in range(count + WARM):
        claim = CLAIM + b"%010d" % index
        start = time.perf_counter()
        least.deploy(claim)
        middle = time.perf_counter()
        await ledger.submit("acme", [Deploy("model", claim)])
        end = time.perf_counter()
        if index >= WARM:
            first.append(middle - start)
            second.append(end - middle)
    return first, second


async def batches(ledger: EmbeddedLedger, count: int, size: int) -> tuple[float, float]:
    """Claims a second: one by one, and `size` under one root, proofs included."""
    claims = [CLAIM + b"a%09d" % index for index in range(count)]
    start = time.perf_counter()
    for claim in claims:
        await ledger.submit("acme", [Anchor(merkle.root([merkle.leaf(claim)]), 1)])
    single = count / (time.perf_counter() - start)
    start = time.perf_counter()
    for batch in range(FEW):
        leaves = [merkle.leaf(CLAIM + b"b%d/%d" % (batch, index)) for index in range(size)]
        await ledger.submit("acme", [Anchor(merkle.root(leaves), size)])
        for index in range(size):
            merkle.path(leaves, index)
    return single, FEW * size / (time.perf_counter() - start)


async def many(ledger: EmbeddedLedger, count: int) -> float:
    """Contracts a second when one call brings them all."""
    start = time.perf_counter()
    await ledger.submit("acme", [Deploy("model", CLAIM + b"c%09d" % index) for index in range(count)])
    return count / (time.perf_counter() - start)


async def compare(folder: Path, count: int, size: int) -> dict[str, object]:
    """All figures."""
    least = Least(folder)
    async with EmbeddedLedger(folder / "ledger", folder / "keys") as ledger:
        start = time.perf_counter()
        await ledger.status()
        started = time.perf_counter() - start
        fresh = _memory(ledger)
        first, second = await versions(ledger, least, count)
        single, batch = await batches(ledger, count, size)
        together = await many(ledger, count)
        height, resident = (await ledger.status()).height, _memory(ledger)
    least.close()
    disk = sum(path.stat().st_size for path in (folder / "ledger").iterdir())
    return {
        "count": count,
        "least": summary(first),
        "version": summary(second),
        "ratio of medians": round(sorted(second)[count // 2] / sorted(first)[count // 2], 2),
        "claims_per_s": {"single": round(single, 1), "batch": round(batch, 1), "size": size},
        "contracts_per_s_in_one_call": round(together, 1),
        "start_s": round(started, 2),
        "rss_mb": {"fresh": round(fresh, 1), "used": round(resident, 1)},
        "blocks": height,
        "disk_kb_per_block": round(disk / height / 1000, 1),
    }


def _memory(ledger: EmbeddedLedger) -> float:
    assert ledger.process is not None
    return float(psutil.Process(ledger.process).memory_info().rss / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where; on the disk the platform will use")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=100, help="claims of a batch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(asyncio.run(compare(Path(folder), options.count, options.size))))


if __name__ == "__main__":
    main()
