"""Killed anywhere: what is visible afterwards is whole, what was promised is done, what is not visible is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.assets import Model, Stored
from headrace.errors import HeadraceError
from headrace.services.sharing.fence import Page
from headrace.services.sharing.service import SharingService
from headrace.stores.artifacts.files import FileArtifacts
from tests.hub import ACME, Inspector, Trainer, dataset, opened, read, recipe, train, uploaded


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Mortal:
    """Counts the steps that write, and dies at one of them: before it, or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hub: SharingService, trainer: Trainer) -> None:
        self.steps, self.deadly, self.dead = 0, 0, False
        self._wrap(monkeypatch, hub._hub.book, "write")
        self._wrap(monkeypatch, hub.artifacts, "receive")
        self._wrap(monkeypatch, hub.artifacts, "delete")
        self._wrap(monkeypatch, hub.artifacts, "discard")
        self._wrap(monkeypatch, trainer, "submit")
        self._wrap_incoming(monkeypatch, hub)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, what: Any, name: str) -> None:
        real = getattr(what, name)

        async def step(*args: Any, **named: Any) -> Any:
            self.tick()
            found = await real(*args, **named)
            self.tick()
            return found

        monkeypatch.setattr(what, name, step)

    def _wrap_incoming(self, monkeypatch: pytest.MonkeyPatch, hub: SharingService) -> None:
        receive = hub.artifacts.receive

        async def received(*args: Any) -> Any:
            incoming = await receive(*args)
            self._wrap(monkeypatch, incoming, "finish")
            return incoming

        monkeypatch.setattr(hub.artifacts, "receive", received)

    def tick(self) -> None:
        """One step more; the dead take none."""
        self.steps += 1
        if self.dead or self.steps == self.deadly:
            self.dead = True
            raise Killed


async def _consistent(folder: Path, trainer: Trainer) -> tuple[int, int]:
    """Open what a killed hub left; every record is whole, every promise kept, every orphan gone."""
    async with opened(folder, trainer=trainer, inspect=Inspector(samples=1)) as hub:
        await hub.settled()
        datasets, models = await hub.page(ACME, "dataset", Page()), await hub.page(ACME, "model", Page())
        needed = set()
        for one in datasets:
            assert await read(hub, ACME, one.id) and one.statistics_state == "done"  # type: ignore[union-attr]
            needed.add(one.stored.sha256)  # type: ignore[union-attr]
        for model in models:
            assert isinstance(model, Model)
            needed |= {file.stored.sha256 for file in model.files}
            if model.recipe is not None:
                needed.add(model.recipe.code.sha256)
                assert trainer.jobs[model.id].id == model.job
            if model.state in {"trained", "uploaded"}:
                assert [await read(hub, ACME, model.id, file.path) for file in model.files]
        assert set(await hub.artifacts.list("acme")) == needed
        return len(datasets), len(models)


async def _dataset(hub: SharingService, trainer: Trainer, folder: Path) -> None:
    await dataset(hub, ACME)


async def _uploaded(hub: SharingService, trainer: Trainer, folder: Path) -> None:
    await uploaded(hub, ACME)


async def _trained(hub: SharingService, trainer: Trainer, folder: Path) -> None:
    made = await recipe(hub, ACME)
    await train(hub, trainer, made.id, folder / "out", a=b"1", b=b"2")


async def _deleted(hub: SharingService, trainer: Trainer, folder: Path) -> None:
    made = await dataset(hub, ACME)
    await hub.removing.delete(ACME, made.id)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the dead close no files
@pytest.mark.parametrize("work", [_dataset, _uploaded, _trained, _deleted])
async def test_killed_at_any_step(tmp_path: Path, work: Callable[..., Any]) -> None:
    total, seen = 1, set()
    deadly = 0
    while deadly <= total:
        folder, trainer = tmp_path / f"at-{deadly}", Trainer()
        with pytest.MonkeyPatch.context() as patch:
            async with opened(folder, trainer=trainer, inspect=Inspector()) as hub:
                for task in hub._tasks:
                    task.cancel()  # the steps of one request are counted, no others
                mortal = Mortal(patch, hub, trainer)
                mortal.deadly = deadly
                with contextlib.suppress(Killed):
                    await work(hub, trainer, folder)
                total = mortal.steps if deadly == 0 else total
                patch.undo()
                mortal.dead = True
        seen.add(await _consistent(folder, trainer))
        deadly += 1
    assert total >= 4
    assert len(seen) == 2 or (work is _deleted and seen == {(0, 0), (1, 0)}), seen  # nothing, or all of it


CHILD = """
import asyncio, sys
from pathlib import Path
from tests.hub import *

async def main(folder):
    trainer, n = Trainer(), 0
    async with opened(folder, trainer=trainer, inspect=Inspector(samples=1)) as hub:
        while True:
            n += 1
            made = await dataset(hub, ACME, str(n).encode() * 1000)
            model = await recipe(hub, ACME, str(n).encode())
            print(made.id, model.id, flush=True)
            await train(hub, trainer, model.id, folder / "out", a=str(n).encode())
            if n % 3 == 0:
                await hub.removing.delete(ACME, made.id)

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_killed_for_real_in_the_middle_of_it(tmp_path: Path) -> None:
    """Several kill -9 at odd moments, each followed by a start that finds everything whole."""
    answered: list[str] = []
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "hub")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])},
        )
        assert child.stdout is not None
        for _ in range(3 + 2 * round_):
            answered.append(await asyncio.to_thread(child.stdout.readline))
        await asyncio.sleep(0.013 * round_)
        child.send_signal(signal.SIGKILL)
        answered += child.stdout.read().splitlines()
        child.stdout.close()
        child.wait()
        async with opened(tmp_path / "hub", trainer=Trainer(), inspect=Inspector(samples=1)) as hub:
            await hub.settled()
            needed: set[str] = set()
            models = await hub.page(ACME, "model", Page(limit=1000))
            datasets = await hub.page(ACME, "dataset", Page(limit=1000))
            for one in datasets:
                assert await read(hub, ACME, one.id) and one.statistics_state == "done"  # type: ignore[union-attr]
                needed.add(one.stored.sha256)  # type: ignore[union-attr]
            for model in models:
                assert isinstance(model, Model) and model.job and model.recipe
                needed |= {model.recipe.code.sha256, *(file.stored.sha256 for file in model.files)}
                if model.state == "trained":
                    assert await read(hub, ACME, model.id)
            assert set(await hub.artifacts.list("acme")) == needed
            known = {one.id for one in [*datasets, *models]}
            gone = {entry.asset for entry in await hub.audit(ACME, 1000) if entry.action == "delete"}
            said = {id for line in answered for id in line.split()}
            assert said <= known | gone  # whatever was answered is there


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as hub:

        def full(*_: object) -> Stored:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("headrace.stores.artifacts.folder.Folder.place", full)
        with pytest.raises(HeadraceError, match="Nothing was stored"):
            await dataset(hub, ACME)
        monkeypatch.undo()
        assert await hub.page(ACME, "dataset", Page()) == []
        assert isinstance(hub.artifacts, FileArtifacts) and await hub.artifacts.list("acme") == []
