"""What online models publish: registered once each, with the root of the log, whatever dies in between; and made again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from headrace.access import LOCAL
from headrace.assets import Model, Snapshot
from headrace.errors import Temporary, WrongEnvironment
from headrace.models.backends.parent import read
from headrace.models.backends.saved import safetensors
from headrace.records import DAY
from headrace.services.learning import rederiving as rederiving_module
from headrace.services.learning import registrar as registrar_module
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.parents import Parent
from headrace.services.learning.rederiver import Gone, Word, rederive
from headrace.services.learning.rederiving import Rederiving, judge
from headrace.services.learning.registrar import Registrar, environment_of
from headrace.services.learning.registry import Entered
from headrace.services.learning.store import generation_file
from headrace.services.learning.view import View
from headrace.services.sharing.fence import Page
from headrace.services.sharing.service import SharingService
from headrace.states import digest
from headrace.streams.logs import open_reader
from headrace.streams.logs.sqlite import SqliteLog
from tests import hub as hubs
from tests import online, sun

HERE = {"digest": "sha256:" + "e" * 64, "python": "3", "packages": {"a": "1"}}
ANN = hubs.person(LOCAL)


def answers(environment: dict[str, Any]) -> Callable[[Isolation], Awaitable[dict[str, Any]]]:
    """Instead of `environment_of`."""

    async def found(_: Isolation) -> dict[str, Any]:
        return environment

    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks what is installed here: that takes seconds."""
    for module in (registrar_module, rederiving_module):
        monkeypatch.setattr(module, "environment_of", answers(HERE))
    monkeypatch.setattr(registrar_module, "POLL", 0.05)
    monkeypatch.setattr(registrar_module, "PAUSE", (0.05, 0.05))
    monkeypatch.setattr(registrar_module, "REST", 0.0)


class Away:
    """A hub that is away as long as it is told."""

    def __init__(self, hub: SharingService) -> None:
        self.hub, self.away, self.asked = hub, False, 0

    def __call__(self) -> Any:
        self.asked += 1
        if self.away:
            raise Temporary(detail="it is starting")
        return self.hub


@asynccontextmanager
async def registering(data: Path, entered: Entered, hub: Callable[[], Any]) -> AsyncIterator[Registrar]:
    """A registrar over what a platform left on its disk."""
    made = Registrar(LOCAL, data, lambda: open_reader(data), hub, TRUSTED)
    made.open()
    view = View(entered, data)
    assert view.store is not None
    try:
        made.entered(entered)
        made.start(lambda: [view])
        yield made
    finally:
        await made.stop()
        made.close()
        view.close()


async def snapshots(hub: SharingService, *, deleted: bool = False) -> list[Model]:
    """The oldest first."""
    found = await hub.page(ANN, "model", Page(snapshots=True, deleted=deleted, limit=1000))
    return [one for one in reversed(found) if isinstance(one, Model) and one.snapshot is not None]


def said(model: Model) -> tuple[str, int, str]:
    assert model.snapshot is not None
    return model.snapshot.key, model.snapshot.published_ms, model.files[0].stored.sha256


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    for _ in range(int(seconds / 0.05)):
        found = condition()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError


async def all_there(hub: SharingService, data: Path, **more: Any) -> list[Model]:
    """The snapshots, as soon as they are all the store says; each once."""
    truth = sorted(online.published(data))

    async def there() -> bool:
        return set(truth) <= {said(one) for one in await snapshots(hub, **more)}

    await until(there)
    found = await snapshots(hub, **more)
    assert sorted(map(said, found)) == truth and len(set(truth)) == len(truth) > 1
    return found


def independent_root(data: Path, first: int, last: int) -> tuple[str, int]:
    """The root as anybody would make it who has the file of the log and RFC 6962, section 2.1."""
    query = (
        "SELECT position, name, part, off, key, received, time, headers, payload FROM records JOIN streams"
        " ON streams.id = records.stream WHERE position BETWEEN ? AND ? ORDER BY position"
    )
    with contextlib.closing(sqlite3.connect(data / "log.db")) as db:
        rows = db.execute(query, (first, last)).fetchall()
    keys = ("position", "topic", "partition", "offset", "key", "received", "time", "headers", "payload")
    leaves = []
    for row in rows:
        plain = dict(zip(keys, row, strict=True))
        plain |= {name: base64.b64encode(plain[name]).decode() for name in ("headers", "payload")}
        text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()
        leaves.append(hashlib.sha256(b"\0" + text).digest())

    def tree(nodes: list[bytes]) -> bytes:
        if len(nodes) == 1:
            return nodes[0]
        half = 1 << (len(nodes) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + tree(nodes[:half]) + tree(nodes[half:])).digest()

    return f"sha256:{tree(leaves).hex()}", len(rows)


# -- registered


async def test_each_is_registered_once_with_the_root_of_the_log(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    async with hubs.opened(tmp_path / "hub") as hub, registering(data, entered, lambda: hub) as registrar:
        found = await all_there(hub, data)
        await asyncio.sleep(0.3)
        assert registrar.registered == len(await snapshots(hub)), "nothing is told twice"
        model = found[-1]
        about = model.snapshot
        assert about is not None and (about.model, about.generation, about.first_position) == ("sun", "1", 1)
        assert (about.root, about.records) == independent_root(data, 1, about.last_position)
        assert about.environment == model.fingerprint == HERE["digest"] and "packages" not in model.environment
        assert (model.framework, model.input_shape, model.output_shape) == ("rls", [6, 10], [6])
        assert model.parameters == 10 and model.metadata["decision"]["reason"] and "network" not in model.metadata
        weights = await hubs.read(hub, ANN, model.id)
        assert digest(weights) == model.files[0].stored.sha256 and read(weights)["weights"].size == 10
        assert not await hub.page(ANN, "model", Page()), "they are hidden unless they are asked for"
        assert len(await hub.page(ANN, "model", Page(online="sun", limit=1000))) == len(found)
        assert not await hub.page(ANN, "model", Page(online="moon"))


async def test_nothing_is_lost_while_the_hub_is_away_and_nothing_is_there_twice_after_a_restart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    async with hubs.opened(tmp_path / "hub") as hub:
        away = Away(hub)
        away.away = True
        async with registering(data, entered, away):
            await until(lambda: away.asked >= 3)
        assert not await snapshots(hub)
        away.away = False
        for _ in range(3):  # stopped in the middle
            async with registering(data, entered, away):
                await asyncio.sleep(0.1)
        async with registering(data, entered, away):
            first = await all_there(hub, data)
        (data / "snapshots.db").unlink()
        async with registering(data, entered, away) as registrar:
            await until(lambda: registrar.registered >= len(first))
        assert [one.id for one in await snapshots(hub)] == [one.id for one in first]


async def test_the_root_goes_on_where_it_was_and_when_the_log_is_trimmed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec(), days=8)
    async with hubs.opened(tmp_path / "hub") as hub:
        async with registering(data, entered, lambda: hub) as registrar:
            before = await all_there(hub, data)
            await until(lambda: registrar.reached() > 8 * 144)  # what is hashed may go
        log = SqliteLog(data, clock=lambda: sun.START + 401 * DAY)
        await log.append(sun.entries(online.DAYS)[8 * 144 :])
        root, _ = independent_root(data, 1, log.end())
        await log.trim(800)
        assert log.start() == 800
        online.learn(data, entered, log)
        async with registering(data, entered, lambda: hub):
            found = await all_there(hub, data)
        newest = found[-1].snapshot
        assert newest is not None and (newest.first_position, newest.last_position) == (1, log.end())
        assert (newest.root, newest.records) == (root, log.end())
        await log.aclose()
        assert len(found) > len(before)
        back = again(data, tmp_path, found[-1])
        assert back.verdict == "impossible" and "kept from position 800 on" in back.says


async def test_of_many_only_the_newest_keep_their_weights(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    count = len(online.published(data))
    async with hubs.opened(tmp_path / "hub", snapshots_kept=3) as hub:
        async with registering(data, entered, lambda: hub):
            found = await all_there(hub, data, deleted=True)
        kept = await snapshots(hub)
        assert [one.id for one in kept] == [one.id for one in found[-3:]]
        assert all(one.deleted_ms is not None for one in found[: count - 3])
        contents = {one.files[0].stored.sha256 for one in kept}
        assert set(await hub.artifacts.list(LOCAL)) == contents
        again = await Rederiving(data, TRUSTED).replay(found[0], None, lambda done: None)
        assert again.verdict == "re-derived" and again.digest == said(found[0])[2], (
            "its weights are gone, and come back"
        )


async def test_a_generation_that_goes_is_read_to_its_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    truth = sorted(online.published(data))
    path = generation_file(data, "sun", entered.generation)
    made = Registrar(LOCAL, data, lambda: open_reader(data), lambda: pytest.fail("asked"), TRUSTED)
    made.open()
    made.entered(entered)
    made.parting(path)
    path.unlink()
    made.close()
    async with hubs.opened(tmp_path / "hub") as hub:
        made = Registrar(LOCAL, data, lambda: open_reader(data), lambda: hub, TRUSTED)
        made.open()
        made.start(list)
        try:

            async def there() -> bool:
                return sorted(map(said, await snapshots(hub))) == truth

            await until(there)
        finally:
            await made.stop()
            made.close()


async def test_a_reason_that_is_none_of_ours_is_not_registered(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    with contextlib.closing(sqlite3.connect(generation_file(data, "sun", entered.generation))) as db:
        db.execute("UPDATE decisions SET reason = ? WHERE snapshot <> ''", ("r" * 150_000,))
        db.commit()
    async with hubs.opened(tmp_path / "hub") as hub, registering(data, entered, lambda: hub):
        await asyncio.sleep(0.5)
        assert not await snapshots(hub)
    with contextlib.closing(sqlite3.connect(data / "snapshots.db")) as db:
        assert db.execute("SELECT count(*) FROM due").fetchone() == (0,)


async def test_what_may_not_be_registered_today_waits_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registrar_module, "PAGE", 2)
    monkeypatch.setattr(registrar_module, "DUE", 4)
    data, now = tmp_path / "data", [1_700_000_000_000]
    entered = await online.learned(data, online.spec())
    truth = sorted(online.published(data))
    ann = hubs.ACME
    made = Registrar("acme", data, lambda: open_reader(data), lambda: hub, TRUSTED)
    async with hubs.opened(tmp_path / "hub", clock=lambda: now[0], registrations=len(truth) - 7) as hub:
        made.open()
        view = View(entered, data)
        made.entered(entered)
        made.start(lambda: [view])
        try:
            await until(lambda: made.registered == len(truth) - 7)
            await asyncio.sleep(0.3)
            assert (made.registered, made._book.waiting()) == (len(truth) - 7, 4)
            now[0] += 25 * 3_600_000
            await until(lambda: made.registered == len(truth))
        finally:
            await made.stop()
            made.close()
            view.close()
        found = await hub.page(ann, "model", Page(snapshots=True, limit=1000))
        assert sorted(said(one) for one in found if isinstance(one, Model)) == truth
    assert capsys.readouterr().err.count("snapshots of 'acme' wait until tomorrow: Your company has registered") == 1


async def test_shadows_are_not_registered(tmp_path: Path) -> None:
    from headrace.services.learning.registrar import registers

    entered = await online.learned(tmp_path / "a", online.spec(more="shadow: moon\n"))
    assert online.published(tmp_path / "a") and not registers(entered)


# -- made again


async def registered(tmp_path: Path, data: Path, entered: Entered) -> list[Model]:
    async with hubs.opened(tmp_path / "hub") as hub, registering(data, entered, lambda: hub):
        return await all_there(hub, data)


@pytest.mark.parametrize(
    ("backend", "days", "which"), [("{rls: {floor: 0}}", online.DAYS, (0, 7, -1)), (online.DEEP, 5, (-1,))]
)
async def test_the_log_gives_the_same_weights_again(
    tmp_path: Path, backend: str, days: int, which: tuple[int, ...]
) -> None:
    data = tmp_path / "data"
    models = await registered(tmp_path, data, await online.learned(data, online.spec(backend=backend), days))
    rederiving, told = Rederiving(data, TRUSTED), list[float]()
    for model in (models[place] for place in which):
        found = await rederiving.replay(model, None, told.append)
        assert found.verdict == "re-derived", found
        assert model.snapshot is not None
        assert (found.digest, found.root) == (model.files[0].stored.sha256, model.snapshot.root)
    assert told[0] == 0.0 and max(told) <= 1.0 and len(told) > 20


def flip(data: Path, position: int) -> None:
    """One bit of one payload, in the file of the log."""
    with contextlib.closing(sqlite3.connect(data / "log.db", isolation_level=None)) as db:
        ((payload,),) = db.execute("SELECT payload FROM records WHERE position = ?", (position,)).fetchall()
        changed = payload[:-3] + bytes([payload[-3] ^ 1]) + payload[-2:]
        db.execute("UPDATE records SET payload = ? WHERE position = ?", (changed, position))


def again(
    data: Path, folder: Path, model: Model, environment: str = HERE["digest"], weights: bytes | None = None
) -> Any:
    """A replay in this process, and what is to be thought of it."""
    said, words = model.snapshot, list[Word]()
    assert said is not None
    task = Rederiving(data, TRUSTED).task(said)
    with contextlib.closing(open_reader(data)) as log:
        try:
            rederive(log, task, folder, words.append)
        except Gone as error:
            words.append(Word(gone=str(error)))
    return judge(model, [word for word in words if word.done is None], environment, weights)


async def test_a_flipped_bit_in_the_log_and_other_weights_are_noticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    model = (await registered(tmp_path, data, await online.learned(data, online.spec())))[-1]
    assert model.snapshot is not None

    def replay(**changed: Any) -> Any:
        return again(data, tmp_path, model.model_copy(update=changed))

    assert replay().verdict == "re-derived"
    stored = model.files[0].stored.model_copy(update={"sha256": "sha256:" + "0" * 64})
    other = [model.files[0].model_copy(update={"stored": stored})]
    found = replay(files=other)
    assert found.verdict == "failed" and "gives other weights, in the same environment" in found.says
    spec = model.snapshot.model_copy(update={"spec": "sha256:" + "0" * 64})
    assert "not the one it was learned with" in replay(snapshot=spec).says
    never = model.snapshot.model_copy(update={"published_ms": 7})
    assert "published nothing at that decision" in replay(snapshot=never).says
    nobody = model.snapshot.model_copy(update={"model": "moon"})
    assert "no spec of 'moon'" in replay(snapshot=nobody).says
    beyond = model.snapshot.model_copy(update={"last_position": 10**6})
    assert replay(snapshot=beyond).verdict == "impossible"
    flip(data, 700)
    found = await Rederiving(data, TRUSTED).replay(model, None, lambda done: None)
    assert found.verdict == "failed" and "Merkle root differs" in found.says and not found.digest


async def test_another_environment_may_be_a_little_off_and_no_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec())
    async with hubs.opened(tmp_path / "hub") as hub, registering(data, entered, lambda: hub):
        model = (await all_there(hub, data))[-1]
        weights = await hubs.read(hub, ANN, model.id)

    def against(made: bytes | None) -> Any:
        stored = model.files[0].stored.model_copy(update={"sha256": digest(made or b"gone")})
        files = [model.files[0].model_copy(update={"stored": stored})]
        return again(data, tmp_path, model.model_copy(update={"files": files}), "sha256:other", made)

    exact = read(weights)["weights"]
    near = against(safetensors({"weights": exact * (1 + 1e-7)}))
    assert near.verdict == "within tolerance" and 0 < near.worst < 1e-6 and "1e-03 may be" in near.says
    far = against(safetensors({"weights": exact * 1.5}))
    assert far.verdict == "failed" and far.worst > 0.1
    assert against(safetensors({"weights": np.zeros(3)})).verdict == "failed"
    assert against(b"no weights").verdict == "failed"
    assert "cannot be compared" in against(None).says
    same = against(weights)
    assert same.verdict == "re-derived" and "although in another environment" in same.says


async def test_who_learned_in_two_environments_learned_in_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    entered = await online.learned(data, online.spec(), days=8)
    async with hubs.opened(tmp_path / "hub") as hub:
        async with registering(data, entered, lambda: hub):
            await all_there(hub, data)
        log = SqliteLog(data, clock=lambda: sun.START + 401 * DAY)
        await log.append(sun.entries(online.DAYS)[8 * 144 :])
        online.learn(data, entered, log)
        await log.aclose()
        monkeypatch.setattr(registrar_module, "environment_of", answers(HERE | {"digest": "sha256:new"}))
        async with registering(data, entered, lambda: hub):
            found = await all_there(hub, data)
    first, last = found[0].snapshot, found[-1].snapshot
    assert first is not None and first.environment == HERE["digest"]
    assert last is not None and last.environment == f"{HERE['digest']} sha256:new"


async def test_a_model_with_a_parent_is_made_again_and_stands_in_the_lineage(tmp_path: Path) -> None:
    data, start = tmp_path / "data", safetensors({"weights": np.full((1, 10), 0.1)})
    async with hubs.opened(tmp_path / "hub") as hub:
        above = await hubs.uploaded(hub, ANN, start)
        text = online.spec(more=f"parent: {above.id}\n")
        parent = Parent(above.id, digest(start), start)
        entered = await online.learned(data, text, parents={"sun": parent})
        async with registering(data, entered, lambda: hub):
            model = (await all_there(hub, data))[-1]
        assert model.parent == above.id
        drawn = await hub.lineage(ANN, model.id)
        kinds = {node.id: (node.kind, node.name) for node in drawn.nodes}
        made_of = sorted(kinds[source] for source, target in drawn.edges if target == model.id)
        assert made_of == [("model", "net"), ("recipe", "sun"), ("stream", "plant/+/reading")]
        assert kinds[model.id] == ("snapshot", model.name)
        below = await hub.lineage(ANN, above.id)
        assert model.id in {node.id for node in below.nodes}
    found = again(data, tmp_path, model)
    assert found.verdict == "re-derived", found


def test_the_words_of_a_snapshot_are_enough_to_make_it_again() -> None:
    """No field that the replay needs may leave the record unnoticed."""
    needed = {
        "model",
        "key",
        "generation",
        "published_ms",
        "first_position",
        "last_position",
        "root",
        "records",
        "spec",
    }
    assert needed <= Snapshot.model_fields.keys()


async def test_a_platform_that_stops_does_not_wait_for_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the environment and is cancelled leaves no process; what does not answer is said, and asked again."""
    monkeypatch.setattr(registrar_module, "_here", {})
    monkeypatch.setattr(registrar_module, "QUESTION", "import time; time.sleep(60)")
    asking = asyncio.create_task(environment_of(TRUSTED))
    while not (children := psutil.Process().children()):
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert asking.cancelled() and not any(child.is_running() for child in children)
    monkeypatch.setattr(registrar_module, "ASKED", 0.1)
    for code in ("import time; time.sleep(60)", "raise SystemExit(1)", "print('{}')"):
        monkeypatch.setattr(registrar_module, "QUESTION", code)
        with pytest.raises(WrongEnvironment, match="does not say what is installed"):
            await environment_of(TRUSTED)
    assert not psutil.Process().children()
