"""A hub that records on a ledger kept in a file, in a process that kills itself at a chosen moment.

    python -m tests.recorder FOLDER before|after|never KIND

`before`: when an act of that kind is about to be submitted; `after`: when it is on the ledger, and nobody has been told.
Prints what the records say, once everything is settled.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.assets import Dataset
from headrace.trust import ledgers
from headrace.trust.ledgers import Act, Receipt
from headrace.trust.ledgers.memory import MemoryLedger
from tests.hub import ACME, Trainer, dataset, train
from tests.hub import recipe as registered
from tests.notary import Weather, house
from tests.snapshots import snapshot


class FileLedger(Weather):
    """A ledger that is there again after its process was killed: every act is a line of a file before it is answered."""

    def __init__(self, file: Path, when: str, kind: str) -> None:
        super().__init__(MemoryLedger())
        self._file, self._when, self._kind = file, when, kind

    async def replay(self) -> None:
        """What was done before."""
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                company, kind, fields = json.loads(line)
                given = {
                    name: bytes.fromhex(value[4:]) if _is_bytes(value) else value for name, value in fields.items()
                }
                await self.ledger.submit(company, [getattr(ledgers, kind)(**given)])

    async def submit(self, company: str, acts: Sequence[Act]) -> list[Receipt]:
        kinds = {type(act).__name__ for act in acts}
        self._die("before", kinds)
        height = (await self.ledger.status()).height
        found = await super().submit(company, acts)
        if (await self.ledger.status()).height > height:
            with self._file.open("a") as file:
                for act in acts:
                    fields = {name: getattr(act, name) for name in act.__slots__}
                    told = {n: f"hex:{v.hex()}" if isinstance(v, bytes) else v for n, v in fields.items()}
                    file.write(json.dumps([company, type(act).__name__, told]) + "\n")
        self._die("after", kinds)
        return found

    def _die(self, when: str, kinds: set[str]) -> None:
        if when == self._when and self._kind in kinds:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("hex:")


async def main(folder: Path, when: str, kind: str) -> None:
    """Register what is not there yet, and see it recorded."""
    ledger = FileLedger(folder / "ledger.jsonl", when, kind)
    await ledger.replay()
    noted, trainer = folder / "ids.json", Trainer()
    async with house(folder, ledger, trainer=trainer) as here:
        if not noted.exists():
            data = await dataset(here.hub, ACME, confidential=True)
            model = await registered(here.hub, ACME, datasets=[data.id])
            published = [await here.hub.snapshot("acme", snapshot(n), "pv", b"w%d" % n, {}) for n in range(3)]
            made = await train(here.hub, trainer, model.id, folder / "out")
            noted.write_text(json.dumps([data.id, made.id, *(one.id for one in published)]))
        await here.settled()
        ids = json.loads(noted.read_text())
        found = [await (here.hub.dataset if id.startswith("ds") else here.hub.model)(ACME, id) for id in ids]
        compared = [await here.notary.recorded(one) for one in found if isinstance(one, Dataset) or one.files]
        told = {one.id: [one.anchoring, one.contract] for one in found}
        print(json.dumps({"records": told, "compared": compared, "height": (await ledger.ledger.status()).height}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
