"""One suite for both embodiments of `Sharing`: in process, and the client over HTTP to a real server with its entrance."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from headrace.access import Principal
from headrace.assets import Job, Model, Parity, Snapshot, Translation
from headrace.errors import BadInput, Conflict, CorruptState, Forbidden, NotFound, Temporary
from headrace.listening import listen, served
from headrace.services.entrance import Entrance
from headrace.services.sharing import Sharing
from headrace.services.sharing.client import SharingClient
from headrace.services.sharing.http import create_app
from headrace.services.sharing.service import SharingService
from headrace.trust.identities.local import LocalIdentities
from tests.hub import ACME, BOLT, Trainer, dataset, grant, opened, recipe, train, uploaded

MIB = 2**20
pytestmark = pytest.mark.xdist_group("sharing-contract")


@dataclass
class House:
    """A hub, and `Sharing` as another service sees it."""

    hub: SharingService
    sharing: Sharing
    trainer: Trainer
    url: str = ""
    token_for: Callable[[Principal], str] = lambda who: ""


@contextlib.asynccontextmanager
async def remote(house: House, folder: Path) -> AsyncIterator[House]:
    """The same hub, asked over HTTP."""
    async with contextlib.AsyncExitStack() as stack:
        ids = await stack.enter_async_context(LocalIdentities(folder / "identity"))
        listener = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = Entrance(create_app(house.hub), ids, ids.sessions)
        await stack.enter_async_context(served(app, listener))

        def token_for(who: Principal) -> str:
            return ids.on_behalf(who, "training")

        client = await stack.enter_async_context(SharingClient(url, token_for, folder / "fetched"))
        yield replace(house, sharing=client, url=url, token_for=token_for)
        assert not [*(folder / "fetched").glob("*")]


@pytest.fixture(params=["here", "over HTTP"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    trainer = Trainer()
    async with opened(tmp_path, trainer=trainer) as hub:
        here = House(hub, hub, trainer)
        if request.param == "here":
            yield here
            return
        async with remote(here, tmp_path) as elsewhere:
            yield elsewhere


def job_of(house: House, model: Model, **changed: object) -> Job:
    return house.trainer.jobs[model.id].model_copy(update={"state": "running", **changed})


async def test_records_are_the_same(house: House) -> None:
    made, model = await dataset(house.hub, ACME), await recipe(house.hub, ACME, parameters={"rate": 0.5, "deep": True})
    assert await house.sharing.dataset(ACME, made.id) == made
    assert await house.sharing.model(ACME, model.id) == await house.hub.model(ACME, model.id)


async def test_what_he_may_not_know_of_is_not_there(house: House) -> None:
    made = await dataset(house.hub, ACME)
    for id in (made.id, "ds_0", "../x", "ds_%2e"):
        with pytest.raises(NotFound):
            await house.sharing.dataset(BOLT, id)
    with pytest.raises(NotFound):
        await house.sharing.check(BOLT, made.id, "read")
    with pytest.raises(NotFound):
        async with house.sharing.content(BOLT, made.id, "read"):
            pass


async def test_a_right_is_told(house: House) -> None:
    made = await dataset(house.hub, ACME)
    await grant(house.hub, ACME, made.id, "bolt", "train")
    await house.sharing.check(BOLT, made.id, "train")
    with pytest.raises(Forbidden, match="has not granted"):
        await house.sharing.check(BOLT, made.id, "read")


async def test_contents_arrive_and_go_again(house: House) -> None:
    data = bytes(range(256)) * 4096 * 5
    made = await dataset(house.hub, ACME, data)
    await grant(house.hub, ACME, made.id, "bolt", "train")
    async with house.sharing.content(BOLT, made.id, "train") as path:
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    with pytest.raises(Forbidden):
        async with house.sharing.content(BOLT, made.id, "read"):
            pass
    model = await recipe(house.hub, ACME, b"PK the code")
    async with house.sharing.code(ACME, model.id) as path:
        assert path.read_bytes() == b"PK the code"
    with pytest.raises(NotFound):
        async with house.sharing.code(BOLT, model.id):
            pass
    used = [entry.action for entry in await house.hub.audit(ACME) if entry.company == "bolt" and entry.allowed]
    assert used == ["train"]


async def test_damaged_contents_are_not_given(house: House, tmp_path: Path) -> None:
    made = await dataset(house.hub, ACME, b"x" * 3 * MIB)
    (file,) = [
        path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and path.stat().st_size == 3 * MIB
    ]
    file.chmod(0o600)
    file.write_bytes(b"x" * 2 * MIB + b"y" * MIB)
    with pytest.raises((CorruptState, Temporary)):
        async with house.sharing.content(ACME, made.id, "train"):
            pass


async def test_a_result_is_taken_in_whole_and_once(house: House, tmp_path: Path) -> None:
    model = await recipe(house.hub, ACME)
    job = job_of(house, model)
    await house.sharing.began(job)
    assert (await house.sharing.model(ACME, model.id)).state == "training"
    output = tmp_path / "output"
    (output / "deep").mkdir(parents=True)
    (output / "w.bin").write_bytes(b"w" * 2 * MIB)
    (output / "deep" / "b.bin").write_bytes(b"b")
    found = {"metrics": {"loss": 0.5, "n": 3}, "framework": "torch"}
    made = await house.sharing.trained(job, output, ["w.bin", "deep/b.bin"], found)
    assert made == await house.sharing.trained(job, output, ["w.bin", "deep/b.bin"], found)
    assert (made.state, made.metrics, made.framework) == ("trained", {"loss": 0.5, "n": 3}, "torch")
    async with house.sharing.content(ACME, model.id, "train") as folder:
        assert (folder / "deep" / "b.bin").read_bytes() == b"b"
        assert (folder / "w.bin").stat().st_size == 2 * MIB
    other = await recipe(house.hub, ACME)
    (tmp_path / "secret").write_bytes(b"secret")
    (output / "link").symlink_to(tmp_path / "secret")
    for odd in ("../secret", "link", "deep", "nothing"):
        with pytest.raises((BadInput, NotFound)):
            await house.sharing.trained(job_of(house, other), output, [odd], found)


async def test_measures_and_verdicts_stay(house: House, tmp_path: Path) -> None:
    model, data = await recipe(house.hub, ACME), await dataset(house.hub, ACME)
    await train(house.hub, house.trainer, model.id, tmp_path / "output")
    measured = job_of(house, model, kind="evaluate", dataset=data.id)
    made = await house.sharing.evaluated(measured, {"mae": 1.5})
    assert made.metrics[data.id] == {"job": measured.id, "mae": 1.5}
    assert (await house.sharing.judged(model.id, "never", "two runs differ")).reproducible == "never"
    assert (await house.sharing.judged(model.id, "reproduced", "")).reproducible == "never"


async def test_a_translation_is_registered_once(house: House, tmp_path: Path) -> None:
    original = await uploaded(house.hub, ACME)
    (tmp_path / "model.onnx").write_bytes(b"onnx" * 5 * MIB)  # more than a body may have
    parity = Parity(inputs=3, real=1, edge=1, made=1, worst=0.1, mean=0.05, scale=2.0, tolerance=0.5)
    said = Translation(
        of=original.id, digest=original.digest, framework="torch", exporter="torchscript", opset=17,
        dtypes="float32 kept", versions={"torch": "2"}, parity=parity,
    )  # fmt: skip
    found = {"input_shape": [3], "output_shape": [2], "parameters": 6, "metadata": {"inputs": [{"name": "x"}]}}

    async def register(who: Principal = ACME, name: str = "", translation: Translation = said) -> Model:
        return await house.sharing.translated(who, original.id, translation, tmp_path / "model.onnx", found, name)

    made = await register()
    assert (made.state, made.parent, made.company, made.translation) == ("translated", original.id, "acme", said)
    assert (made.name, made.input_shape, made.metadata) == ("net (ONNX)", [3], {"inputs": [{"name": "x"}]})
    assert [file.path for file in made.files] == ["model.onnx"] and made.files[0].stored.size == 20 * MIB
    assert await register() == made == await house.sharing.model(ACME, made.id)
    assert (await register(name="mine")).name == "mine"
    with pytest.raises(NotFound):
        await register(BOLT)
    await grant(house.hub, ACME, original.id, "bolt", "read")
    with pytest.raises(Forbidden):
        await register(BOLT)
    await grant(house.hub, ACME, original.id, "bolt", "derive")
    assert (await register(BOLT)).company == "bolt"
    with pytest.raises(Conflict, match="not the model any more"):
        await register(translation=said.model_copy(update={"digest": "sha256:other"}))


async def test_a_translation_of_a_held_model_is_held(house: House, tmp_path: Path) -> None:
    data = await dataset(house.hub, BOLT)
    await grant(house.hub, BOLT, data.id, "acme", "train")
    model = await recipe(house.hub, ACME, datasets=[data.id])
    await train(house.hub, house.trainer, model.id, tmp_path / "out")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    original = await house.hub.model(BOLT, model.id)
    parity = Parity(inputs=1, real=1, edge=0, made=0, worst=0.0, mean=0.0, scale=42.0, tolerance=0.5)
    said = Translation(
        of=model.id, digest=original.digest, framework="torch", exporter="torchscript", opset=17,
        dtypes="float32 kept", versions={}, parity=parity,
    )  # fmt: skip
    made = await house.sharing.translated(ACME, model.id, said, tmp_path / "model.onnx", {"parameters": 6})
    assert (made.held_for, made.files, made.digest, made.parameters) == (["bolt"], [], "", None)
    assert made.translation is None and "42.0" not in made.model_dump_json(), "its certificate tells of the data"
    with pytest.raises(Forbidden, match="held until they release it"):
        async with house.sharing.content(ACME, made.id, "read"):
            pass
    assert (await house.sharing.model(BOLT, made.id)).translation == said
    await house.hub.granting.release(BOLT, made.id)
    free = await house.sharing.model(ACME, made.id)
    assert free.translation == said and free.held_for == [] and free.parameters == 6


async def test_its_doors_are_for_services_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub, remote(House(hub, hub, Trainer()), tmp_path) as house:
        made = await dataset(hub, ACME)
        async with LocalIdentities(tmp_path / "identity") as ids, httpx.AsyncClient(base_url=house.url) as http:
            asked = f"/internal/assets/{made.id}/rights/read"
            person = {"authorization": f"Bearer {ids.install_token}"}
            assert (await http.get(asked, headers=person)).status_code == 403
            assert (await http.get(asked)).status_code == 401
            service = {"authorization": f"Bearer {house.token_for(ACME)}"}
            assert (await http.get(asked, headers=service)).json() == {"allowed": True}


async def test_a_service_that_is_away_is_temporary(tmp_path: Path) -> None:
    async with SharingClient("http://127.0.0.1:9", lambda who: "x", tmp_path) as sharing:
        with pytest.raises(Temporary, match="does not answer"):
            await sharing.dataset(ACME, "ds_1")


async def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as hub, remote(House(hub, hub, Trainer()), tmp_path) as house:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        headers = {"authorization": f"Bearer {house.token_for(ACME)}"}
        async with httpx.AsyncClient(base_url=house.url, headers=headers) as http:
            answer = await http.put(f"/internal/jobs/jb_{'0' * 20}/output", params={"path": "w"}, content=b"w" * MIB)
            assert answer.status_code == 507 and "No space left" in answer.json()["error"]
            for odd in ("../w", "/etc/w", "a/../../w", ""):
                answer = await http.put(f"/internal/jobs/jb_{'0' * 20}/output", params={"path": odd}, content=b"w")
                assert answer.status_code == 404, odd
        assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]


async def test_translations_and_snapshots_are_taken_in(house: House, tmp_path: Path) -> None:
    original = await uploaded(house.hub, ACME, b"w" * 3 * MIB)
    parity = Parity(inputs=1, real=1, edge=0, made=0, worst=0.0, mean=0.0, scale=1.0, tolerance=1e-5)
    said = Translation(
        of=original.id, digest=original.digest, framework="torch", exporter="t", opset=17, dtypes="", versions={"torch": "2"},
        parity=parity,
    )  # fmt: skip
    (tmp_path / "m.onnx").write_bytes(b"onnx" * MIB)
    made = await house.sharing.translated(ACME, original.id, said, tmp_path / "m.onnx", {"parameters": 7})
    assert (made.state, made.parent, made.parameters, made.translation) == ("translated", original.id, 7, said)
    again = await house.sharing.translated(ACME, original.id, said, tmp_path / "m.onnx", {"parameters": 7})
    assert again.id == made.id
    async with house.hub.content(ACME, made.id, "read") as path:
        assert path.read_bytes() == b"onnx" * MIB
    with pytest.raises(NotFound):
        await house.sharing.translated(BOLT, original.id, said, tmp_path / "m.onnx", {})
    learned = Snapshot(
        model="pv", generation="g", spec="s", published_ms=1, first_position=0, last_position=9, records=9, root="r",
        environment="e",
    )  # fmt: skip
    published = await house.sharing.snapshot("acme", learned, "pv", b"weights", {"framework": "rls"})
    assert (published.company, published.state, published.snapshot) == ("acme", "snapshot", learned)
    assert (await house.sharing.snapshot("acme", learned, "pv", b"weights", {})).id == published.id
    left = house.hub.scratch.rglob("up_*") if house.hub.scratch else ()
    assert not list(left)
