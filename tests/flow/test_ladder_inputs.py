"""What goes into a training is looked at before it is trained again; on a real chain, whose own files are changed as well."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headrace.errors import HeadraceError
from headrace.trust.ledgers.embedded import EmbeddedLedger
from tests.hub import ACME, taking
from tests.ladders import Standing, changed, flip, standing
from tests.notary import Weather, impatient


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@contextlib.asynccontextmanager
async def chained(folder: Path) -> AsyncIterator[Standing]:
    """A house on a real chain over the data in a folder."""
    async with (
        EmbeddedLedger(folder / "ledger", folder / "chain keys", folder / "master") as chain,
        standing(folder / "house", Weather(chain)) as found,
    ):
        await chain.status()
        yield found


async def test_what_was_changed_after_the_training(tmp_path: Path) -> None:
    async with standing(tmp_path / "house") as on:
        data, model = await on.trained()
        code = on.content(model.recipe.code.sha256) if model.recipe else Path()
        flip(code, 3)
        assert list(await on.failing(model.id, "L2")) == ["code"]
        flip(code, 3)
        content = on.content(data.stored.sha256)
        flip(content)
        failed = await on.failing(model.id, "L2")
        assert list(failed) == ["inputs"] and data.id in failed["inputs"] and "files" in failed["inputs"]
        flip(content)
        claim = on.column("SELECT claim FROM contracts WHERE asset = ?", data.id)
        on.index("UPDATE contracts SET claim = ? WHERE asset = ?", claim.replace(b"plant", b"other"), data.id)
        failed = await on.failing(model.id, "L2")
        assert list(failed) == ["inputs"] and f"{data.id}: contract" in failed["inputs"]
        on.index("UPDATE contracts SET claim = ? WHERE asset = ?", claim, data.id)
        other = await taking(on.here.hub, "acme", b"a,b\n9,9\n")()
        on.record(data.id, lambda record: record["stored"].update(other.model_dump()))
        values = other.sha256, other.root, other.size, data.id
        on.hub("UPDATE files SET sha256 = ?, root = ?, size = ? WHERE asset = ?", *values)
        failed = await on.failing(model.id, "L2")
        assert list(failed) == ["claim"] and data.id in failed["claim"]
        assert list(await on.failing(data.id)) == ["claim"]
        on.record(data.id, lambda record: record["stored"].update(data.stored.model_dump()))
        on.hub("UPDATE files SET sha256 = ?, root = ?, size = ? WHERE asset = ?",
               data.stored.sha256, data.stored.root, data.stored.size, data.id)  # fmt: skip
        assert (await on.verify(model.id, "L2"))[0].level == "L2"


async def test_on_a_real_chain_and_with_sklearn(tmp_path: Path) -> None:
    """A recipe with scikit-learn up to L2, its weights gone; one that is not deterministic."""
    code = """import os, pathlib, csv
import numpy as np
from sklearn.linear_model import SGDRegressor
rows = np.array(list(csv.reader(open(os.environ["HEADRACE_DATA"])))[1:], float)
model = SGDRegressor(random_state=int(os.environ["SEED"])).fit(rows[:, :1], rows[:, 1])
np.savez(pathlib.Path(os.environ["HEADRACE_OUTPUT"]) / "w.npz", coef=model.coef_, intercept=model.intercept_)
"""
    async with chained(tmp_path) as on:
        _, model = await on.trained(code)
        report, _ = await on.verify(model.id, "L2")
        assert report.level == "L2" and report.chain.startswith("chain ") and "single-operator" in report.says
        evidence = next(one for one in report.checks if one.name == "evidence")
        assert evidence.detail.startswith("2 signed, in a log of")
        for file in model.files:
            on.content(file.stored.sha256).unlink()
        report, _ = await on.verify(model.id, "L2")
        assert (report.level, report.checks[-1].state) == ("L0", "passed") and model.digest in report.checks[-1].detail


LEDGER: dict[str, tuple[str, str]] = {
    "entry's transaction": ("log.db", "UPDATE entries SET raw = substr(raw, 1, length(raw) - 1) || x'00'"),
    "entry's block": ("log.db", "UPDATE entries SET block = block + 1"),
    "entry's contract": ("log.db", "UPDATE entries SET contract = '0x0000000000000000000000000000000000000001'"),
    "entry's time": ("log.db", "UPDATE entries SET time = time + 1"),
    "entry's hash": ("log.db", "UPDATE entries SET hash = zeroblob(32)"),
    "last entries": ("log.db", "DELETE FROM entries WHERE idx >= (SELECT max(idx) FROM entries)"),
    "chain's genesis": ("log.db", "UPDATE genesis SET header = x'00'"),
    "chain's nodes": ("state.db", "UPDATE nodes SET value = substr(value, 1, length(value) - 1) || x'00'"),
}
"""Rows of the ledger's own files: all that are there are changed."""


@pytest.mark.parametrize("name", LEDGER)
async def test_rows_of_the_ledger(tmp_path: Path, name: str) -> None:
    from tests.hub import dataset

    async with chained(tmp_path) as on:
        data = await dataset(on.here.hub, ACME)
        await on.here.settled()
        assert (await on.verify(data.id))[0].level == "L1"
    file, sql = LEDGER[name]
    changed(tmp_path / "ledger" / file, sql)
    with contextlib.suppress(HeadraceError):  # it is refused when it is opened, or nothing is reached
        async with chained(tmp_path) as on:
            report, _ = await on.verify(data.id)
            if name == "chain's nodes":  # they are a cache of the log, and are made again
                assert report.level in {"none", "L1"}
            else:
                assert report.level == "none", report
