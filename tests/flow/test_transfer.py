"""Online models that start from a registered model: whose weights they may take, and that a replay needs nobody for them."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from headrace.errors import BadInput, BadSpec, Conflict, Forbidden, NotFound, TooLarge, UnknownAsset
from headrace.library import weights_of
from headrace.models.backends import Shape
from headrace.models.backends.saved import safetensors
from headrace.models.backends.torch import Torch
from headrace.records import DAY
from headrace.replaying import replay
from headrace.services.gateway.mqtt.publisher import publish_all
from headrace.services.learning.plan import Plan, default_features, make_contender
from headrace.spec import Plug, parse
from headrace.states import digest
from tests import hub as hubs
from tests import sun
from tests.flow.test_cli import good
from tests.flow.test_crash import result
from tests.flow.test_tenancy import SPEC, TOPIC, Company, reading, until
from tests.hub import ACME, BOLT, Trainer, opened
from tests.running import Up

MIB = 2**20
WEIGHTS = safetensors({"weights": np.array([[0.0, 0.0, 0.0, 42.0]])})
"""Of RLS on three values: always 42."""
STILL = "{torch: {options: {hidden: 6, dense: 5}, epochs: 1, steps: 0, lr: 1.0e-30}}"
"""Learns nothing: what it publishes first is what it started from."""


def register(call: Any, data: bytes, name: str = "net.safetensors") -> str:
    """The id of an uploaded model."""
    files = {"metadata": (None, json.dumps({"name": "net"}), "application/json"), "file": (name, data)}
    answer: httpx.Response = call("POST", "/models", files=files)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def put(call: Any, text: str) -> httpx.Response:
    """`headrace apply`."""
    answer: httpx.Response = call("PUT", "/api/specs", json={"text": text, "file": "my.yaml", "files": {}})
    return answer


def error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


# -- whose weights


async def test_a_foreign_model_is_unknown_and_a_grant_to_read_is_not_one_to_derive(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        model = await hubs.uploaded(hub, ACME, WEIGHTS)
        assert await weights_of(hub, ACME, model.id, MIB) == (digest(WEIGHTS), WEIGHTS)
        with pytest.raises(UnknownAsset):
            await weights_of(hub, BOLT, model.id, MIB)
        grant = await hubs.grant(hub, ACME, model.id, "bolt", "read")
        with pytest.raises(Forbidden, match="has not granted 'bolt' to derive"):
            await weights_of(hub, BOLT, model.id, MIB)
        derive = await hubs.grant(hub, ACME, model.id, "bolt", "derive")
        assert (await weights_of(hub, BOLT, model.id, MIB))[1] == WEIGHTS
        audit = [entry.action for entry in await hub.audit(ACME) if entry.company == "bolt" or entry.subject == "bob"]
        assert "derive" in audit
        for one in (grant, derive):
            await hub.granting.revoke(ACME, one)
        with pytest.raises(UnknownAsset):
            await weights_of(hub, BOLT, model.id, MIB)


async def test_a_held_model_gives_nobody_a_start_until_it_is_released(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path / "hub", trainer=trainer) as hub:
        data = await hubs.dataset(hub, ACME)
        await hubs.grant(hub, ACME, data.id, "bolt", "train")
        model = await hubs.recipe(hub, BOLT, datasets=[data.id])
        await hubs.train(hub, trainer, model.id, tmp_path / "out", **{"m.safetensors": WEIGHTS, "metrics.json": b"{}"})
        for who in (BOLT, ACME):
            with pytest.raises(Forbidden, match="was trained on data of acme and is held until they release it"):
                await weights_of(hub, who, model.id, MIB)
        await hub.granting.release(ACME, model.id)
        assert (await weights_of(hub, BOLT, model.id, MIB))[1] == WEIGHTS


async def test_what_has_no_weights_to_give_says_why(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path / "hub", trainer=trainer) as hub:
        model = await hubs.recipe(hub, ACME)
        with pytest.raises(Conflict, match="has no weights to start from: it is"):
            await weights_of(hub, ACME, model.id, MIB)
        await hubs.train(hub, trainer, model.id, tmp_path / "a", **{"model.pt": b"\x80", "metrics.json": b"{}"})
        with pytest.raises(
            BadInput, match=r"0 .safetensors files and one is needed \(it has metrics.json, model.pt\); have"
        ):
            await weights_of(hub, ACME, model.id, MIB)
        two = await hubs.recipe(hub, ACME)
        await hubs.train(hub, trainer, two.id, tmp_path / "b", **{"a.safetensors": WEIGHTS, "b.safetensors": WEIGHTS})
        with pytest.raises(BadInput, match=r"has 2 \.safetensors files"):
            await weights_of(hub, ACME, two.id, MIB)
        await hubs.grant(hub, ACME, model.id, "bolt", "derive")
        await hub.removing.delete(ACME, model.id)
        with pytest.raises(NotFound, match="was deleted"):
            await weights_of(hub, ACME, model.id, MIB)


async def test_oversized_weights_are_refused_with_the_setting_that_raises_the_limit(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        model = await hubs.uploaded(hub, ACME, WEIGHTS)
        with pytest.raises(TooLarge, match=r"over the limit of 40 bytes; .* `LibrarySettings.parent_bytes`"):
            await weights_of(hub, ACME, model.id, 40)
        with pytest.raises(UnknownAsset, match="no model 'ds_"):
            await weights_of(hub, ACME, (await hubs.dataset(hub, ACME)).id, MIB)


def test_companies_start_from_what_they_are_granted_in_their_sandbox(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        acme, bolt = Company(up, "acme"), Company(up, "bolt")
        id = register(acme.call, WEIGHTS)
        text = SPEC + f"parent: {id}\n"
        assert id in error(put(bolt.call, text), 404) and id in error(put(up.call, text), 404)
        assert bolt.get("/api/specs") == []
        grant = {"asset": id, "grantee": "bolt", "right": "read"}
        assert acme.call("POST", "/grants", json=grant).status_code == 201
        assert "derive" in error(put(bolt.call, text), 403)
        assert acme.call("POST", "/grants", json={**grant, "right": "derive"}).status_code == 201
        for company in (acme, bolt):
            answer = put(company.call, text).json()
            assert answer == {
                "changes": {"room": "created"},
                "parents": {"room": {"id": id, "digest": digest(WEIGHTS)}},
            }
            for minute in range(3):
                company.call("POST", f"/ingest/{TOPIC}", content=reading(minute, 7)).raise_for_status()
            until(lambda c=company: c.call("POST", "/v2/models/room/infer", json={}).is_success, "a forecast")  # type: ignore[misc]
            found = company.call("POST", "/v2/models/room/infer", json={}).json()["outputs"][0]["data"]
            assert found == [42.0], "its first forecast, before it has learnt anything, is the parent's"
        assert up.stop() == 0


def test_what_is_no_parent_is_refused_on_its_line(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        small = register(up.call, safetensors({"weights": np.zeros((1, 3))}))
        pickled = register(up.call, b"\x80\x04\x95", "net.pt")
        messages = {
            small: "tensor 'weights': expected F64 [1, 4], found F64 [1, 3]",
            pickled: "Pickles (.pt, .pkl) are never opened here",
        }
        for id, message in messages.items():
            for dry in ("", "?dry_run=1"):
                body = {"text": SPEC + f"parent: {id}\n", "file": "my.yaml", "files": {}}
                said = error(up.call("PUT", f"/api/specs{dry}", json=body), 400)
                assert said.startswith(f"my.yaml:9: parent: {id} cannot be started from: ") and message in said
        assert "md_" in error(put(up.call, SPEC + f"parent: md_{'0' * 20}\n"), 404)
        assert up.call("GET", "/api/specs").json() == []
        assert up.stop() == 0


def test_the_command_line_says_what_a_model_starts_from(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        id = register(up.call, WEIGHTS)
        file = tmp_path / "my.yaml"
        file.write_text(SPEC + f"parent: {id}\n")
        assert f"+parent: {id}" in good(up, "diff", "-f", str(file))
        said = good(up, "apply", "-f", str(file))
        assert said == f"room: created, starts from {id} ({digest(WEIGHTS)[:19]})\n"
        assert good(up, "diff", "-f", str(file)) == "room: unchanged\n"
        assert up.stop() == 0


# -- a replay asks nobody


def test_killed_and_rebuilt_from_the_log_alone_without_the_parents(tmp_path: Path) -> None:
    data = tmp_path / "data"
    weights = Torch(Torch.Params(options={"hidden": 6, "dense": 5}), Shape((36, 1), 24), seed=9).weights()
    linear = make_contender(Plan(parse(sun.spec())[0].spec), Plug(name="rls"), default_features("rls", 24))
    row = np.full((1, linear.shape.input[1]), 0.1)
    up = Up(data)
    net, line = register(up.call, weights), register(up.call, safetensors({"weights": row}))
    moon = sun.spec("moon", STILL, "steps") + f"parent: {net}\nshadow: sun\n"
    child = sun.spec("child") + f"parent: {line}\n"
    assert put(up.call, "---".join([sun.spec(), moon, child])).json()["parents"].keys() == {"moon", "child"}
    asyncio.run(publish_all("127.0.0.1", up.mqtt[1], sun.messages(9), window=200, client_id="dev"))
    (shown,) = [one for one in up.caught_up()["models"] if one["name"] == "moon"]
    assert shown["parent"] == {"id": net, "digest": digest(weights)}
    assert shown["snapshot"] == digest(weights), "it publishes what it started from, bit for bit"
    for id in (net, line):
        assert up.call("DELETE", f"/models/{id}").is_success and up.call("GET", f"/models/{id}").status_code == 404
    assert put(up.call, child).json()["changes"] == {"child": "unchanged"}, "what the log has, nobody is asked for"
    assert line in error(put(up.call, child + "seed: 1\n"), 404), "a change is a new start, and its parent is gone"
    assert up.call("POST", "/api/models/moon/promote").is_success
    up.kill()
    up = Up(data)
    up.caught_up()
    assert up.stop() == 0
    before = result(data)
    assert sorted(before) == ["child", "sun"] and all(one["predictions"] for one in before.values())
    for name in ("state", "code", "objects", "library"):
        shutil.rmtree(data / name)
    for file in data.glob("registry.db*"):
        file.unlink()
    up = Up(data)
    (shown,) = [one for one in up.caught_up()["models"] if one["name"] == "sun"]
    assert shown["parent"]["id"] == net and shown["snapshot"] == digest(weights)
    assert up.stop() == 0
    assert result(data) == before
    _replayed(data, child, line)


def _replayed(data: Path, child: str, id: str) -> None:
    """`headrace replay` takes weights from the models in service, or says that it asks nobody else."""
    (found,) = replay(child, "my.yaml", {}, data=data, last=30 * DAY)
    assert any("forecasts are the served ones, bit for bit" in note for note in found["notes"]), found
    with pytest.raises(BadSpec, match="a replay asks no library: apply the candidate as a `shadow` instead"):
        replay(child.replace(id, "md_" + "0" * 20), "my.yaml", {}, data=data, last=30 * DAY)
