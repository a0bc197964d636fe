"""Bundles on a real chain: from the embedded ledger to a machine that has nothing but the file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from headrace.errors import Revoked, Tampered
from headrace.services.verification.offline import examine
from headrace.trust.ledgers import Act
from headrace.trust.ledgers.embedded import EmbeddedLedger
from tests import tampering
from tests.bundled import KINDS, Made, model, signer
from tests.running import scrubbed

T = TypeVar("T")
ALONE = """
import sys

def watch(event, arguments):
    # nothing but files is touched, and nothing below the platform's directory
    if event.startswith(("socket.", "subprocess.")) and event != "socket.gethostname":
        raise SystemExit(f"it did {event}")
    if event == "open" and str(arguments[0]).startswith(FORBIDDEN):
        raise SystemExit(f"it opened {arguments[0]}")

FORBIDDEN = sys.argv.pop(1)
sys.addaudithook(watch)
from headrace.cli import main
main()
"""
"""The command line under a guard."""


class Chain:
    """An embedded ledger in a loop of its own, for what is not asynchronous."""

    name = "hub"

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._ledger = EmbeddedLedger(folder / "ledger", folder / "keys", folder / "master")
        self._wait(self._ledger.__aenter__())
        self.operator = self._wait(self._ledger.status()).operator

    def do(self, company: str, act: Act) -> tuple[str, str]:
        """Its transaction, and the contract."""
        (receipt,) = self._wait(self._ledger.submit(company, [act]))
        return receipt.transaction, receipt.contract

    def evidence(self, transaction: str) -> dict[str, Any]:
        """Of that transaction."""
        return self._wait(self._ledger.evidence(transaction))

    def close(self) -> None:
        """End its process."""
        self._wait(self._ledger.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The platform's data directory."""
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def chain(platform: Path) -> Iterator[Chain]:
    found = Chain(platform)
    yield found
    found.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_on_the_chain(kind: str, chain: Chain, tmp_path: Path) -> None:
    made = KINDS[kind](tmp_path, f"{kind.replace(' ', '-')}-company", ledger=chain)
    path = made.write()
    report = examine(path, made.pins)
    assert report.level == "L1" and report.chain.startswith("chain ")
    parts = tampering.parts_of(path)
    for _, changed in tampering.bytes_flipped(parts):
        path.write_bytes(tampering.packed(changed))
        with pytest.raises(Tampered):
            examine(path, made.pins)
    made.revoke("no longer right")
    with pytest.raises(Revoked, match="no longer right"):
        examine(made.write(), made.pins)


def test_parts_of_another_company_on_the_same_chain(chain: Chain, tmp_path: Path) -> None:
    mine, theirs = (model(tmp_path, company, ledger=chain) for company in ("one", "two"))
    count = 0
    for _, parts in tampering.swapped(tampering.parts_of(mine.write("a")), tampering.parts_of(theirs.write("b"))):
        (tmp_path / "c").write_bytes(tampering.packed(parts))
        count += 1
        with pytest.raises(Tampered):
            examine(tmp_path / "c", mine.pins)
    assert count > 10


def test_a_machine_with_nothing_but_the_file(chain: Chain, platform: Path, tmp_path: Path) -> None:
    """The whole command: no network, no process, nothing of the platform; in under a second."""
    made: Made = model(tmp_path, "maker", ledger=chain)
    path = made.write()
    environment = scrubbed() | {"HEADRACE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def verify(*more: str) -> tuple[subprocess.CompletedProcess[str], float]:
        command = [sys.executable, "-c", ALONE, str(platform), "verify", str(path), "--offline", "--json", *more]
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done, time.perf_counter() - begun

    unknown, _ = verify()
    assert unknown.returncode == 4 and "verified" not in unknown.stdout + unknown.stderr
    done, first = verify("--key", signer("maker").public.fingerprint)
    assert (done.returncode, json.loads(done.stdout)["level"]) == (0, "L1"), done.stderr
    seconds = min(first, verify("--key", signer("maker").public.fingerprint)[1])
    assert seconds < 1 or os.getloadavg()[0] > 2 * (os.cpu_count() or 1), f"{seconds:.2f} s"
