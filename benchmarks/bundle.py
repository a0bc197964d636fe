"""What verifying a bundle offline costs: the whole command on a small one, and on a large one beside ``sha256sum``.

    python -m benchmarks.bundle --megabytes 1024

The bundles are of models on an embedded ledger. The command is a process of its own each time, with its pin given; the least of
some tries is taken, of the large ones in turn. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from headrace import merkle
from headrace.assets import Model, OutputFile, Stored
from headrace.claims import canonical, claim_of, digest_of, signed
from headrace.services.verification.bundles import Source, write
from headrace.services.verification.sayings import Saying
from headrace.services.verification.signing import Signer, signer
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Deploy
from headrace.trust.ledgers.embedded import EmbeddedLedger

MIB = 2**20
TRIES = 3


def stored(path: Path, megabytes: float) -> Stored:
    """Random bytes in a file; never whole in memory, or the commands started from here would seem to take that much."""
    tree, whole, size = merkle.Tree(), hashlib.sha256(), 0
    with path.open("wb") as file:
        for _ in range(math.ceil(megabytes)):
            piece = os.urandom(int(min(megabytes, 1) * MIB))
            file.write(piece)
            tree.update(piece)
            whole.update(piece)
            size += len(piece)
    return Stored(size=size, sha256=merkle.named(whole.digest()), root=merkle.named(tree.root()))


async def bundled(ledger: EmbeddedLedger, key: Signer, path: Path, content: Stored) -> float:
    """Make the bundle of a model with one file, beside it; seconds it took to write."""
    file = OutputFile(path="weights.bin", stored=content)
    model = Model(
        id="md_bench", company="acme", name="bench", created_ms=1, created_by="bench", state="uploaded",
        files=[file], digest=digest_of([file]),
    )  # fmt: skip
    claim = canonical(signed(claim_of(model), key.public.fingerprint))
    (receipt,) = await ledger.submit("acme", [Deploy("model", claim)])
    evidence = await ledger.evidence(receipt.transaction)
    start = time.perf_counter()
    write(path.with_suffix(".bundle"), {"claim": Saying(claim, evidence)}, [Source(file, path)], key)
    return time.perf_counter() - start


def seconds(command: Sequence[object]) -> tuple[float, float]:
    """Of a command that has to succeed; and MB of memory it took at most."""
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return time.perf_counter() - start, usage.ru_maxrss / 1000


async def measure(folder: Path, megabytes: int) -> dict[str, float]:
    """All figures."""
    keys = Keyring(folder / "keys", folder / "master")
    key = signer(keys, "acme")
    small, large = folder / "small", folder / "large"
    contents = stored(small, 0.001), stored(large, megabytes)
    async with EmbeddedLedger(folder / "ledger", folder / "keys", folder / "master") as ledger:
        await bundled(ledger, key, small, contents[0])
        made = await bundled(ledger, key, large, contents[1])
    verify = [sys.executable, "-m", "headrace.cli", "verify", "--offline", "--key", key.public.fingerprint]
    quick = [seconds([*verify, small.with_suffix(".bundle")]) for _ in range(TRIES)]
    turns = [(seconds([*verify, large.with_suffix(".bundle")]), seconds(["sha256sum", large])) for _ in range(TRIES)]
    return {
        "small_s": round(min(quick)[0], 3),
        "large_s": round(min(ours[0] for ours, _ in turns), 3),
        "sha256sum_s": round(min(theirs[0] for _, theirs in turns), 3),
        "made_s": round(made, 3),
        "peak_mb": round(max(ours[1] for ours, _ in turns), 1),
        "megabytes": megabytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--megabytes", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), options.megabytes))))


if __name__ == "__main__":
    main()
