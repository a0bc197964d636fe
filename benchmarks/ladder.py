"""L1 of a large dataset: verified by the service over the store, against sha256sum of the same content, turn by turn.

    python -m benchmarks.ladder [--megabytes 1024] [--folder FOLDER]

Prints JSON: the best of three of either, and the median of the ratios of neighbouring turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from headrace.access import Principal
from headrace.assets import Dataset, Stored, new_id
from headrace.claims import Report
from headrace.services.sharing.requests import NewDataset
from headrace.services.sharing.service import SharingService
from headrace.services.verification.service import VerificationService
from headrace.stores.artifacts.files import FileArtifacts
from headrace.stores.database import open_database, sqlite_url
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers.memory import MemoryLedger

MIB = 2**20
TRIES = 3
ANN = Principal("acme", "ann", "user", frozenset({"admin"}))


async def registered(hub: SharingService, megabytes: int) -> Dataset:
    """A dataset of random bytes, recorded."""

    async def take() -> Stored:
        incoming = await hub.artifacts.receive("acme", new_id("up"))
        for _ in range(megabytes):
            await incoming.write(os.urandom(MIB))
        return await incoming.finish()

    made = await hub.register.dataset(ANN, NewDataset(name="bench"), "bench.bin", take)
    await hub.settled()
    return made


async def verified(service: VerificationService, id: str) -> float:
    """Seconds until the report."""
    began = time.perf_counter()
    said = [one async for one in service.verify(ANN, id, "L1")]
    assert isinstance(said[-1], Report)
    assert said[-1].level == "L1", said[-1]
    return time.perf_counter() - began


def summed(path: Path) -> float:
    """Seconds of sha256sum."""
    began = time.perf_counter()
    subprocess.run(["sha256sum", path], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


async def measure(folder: Path, megabytes: int) -> dict[str, float]:
    """All figures."""
    held: list[SharingService] = []
    engines = [
        open_database(sqlite_url(folder / f"{name}.db"), f"headrace.services.{name}")
        for name in ("sharing", "verification")
    ]
    ledger, store = MemoryLedger(), FileArtifacts(folder / "artifacts")
    service = VerificationService(engines[1], ledger, lambda: held[0], Keyring(folder / "keys"))
    async with service, SharingService(engines[0], store, notary=service, scratch=folder / "scratch") as hub:
        held.append(hub)
        made = await registered(hub, megabytes)
        async with hub.content(ANN, made.id, "read") as path:
            turns = [(await verified(service, made.id), summed(path)) for _ in range(TRIES)]
    for engine in engines:
        engine.dispose()
    return {
        "l1_s": round(min(ours for ours, _ in turns), 3),
        "sha256sum_s": round(min(theirs for _, theirs in turns), 3),
        "ratio": round(statistics.median(ours / theirs for ours, theirs in turns), 3),
        "megabytes": megabytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--megabytes", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.megabytes))))


if __name__ == "__main__":
    main()
