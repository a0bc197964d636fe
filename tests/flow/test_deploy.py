"""Registered ONNX models at the inference doors of a platform as a user has it: applied, asked, granted, damaged, started again."""

from __future__ import annotations

import io
import json
import re
import shlex
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from headrace.errors import BadInput, Conflict, Forbidden, TooLarge, UnknownAsset
from headrace.library import onnx_of
from headrace.services.sharing.requests import NewModel
from headrace.states import digest
from tests import graphs
from tests import hub as hubs
from tests.flow.test_mqtt_predictions import client
from tests.flow.test_tenancy import SPEC, Company
from tests.flow.test_transfer import error, put, register
from tests.flow.test_translation_doors import printed
from tests.hub import ACME, BOLT, Trainer, opened
from tests.running import Up
from tests.translating import WEIGHTS, line, linear

MIB = 2**20
X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = (X @ WEIGHTS).tolist()
FLAT = (X @ WEIGHTS).ravel().tolist()
DATA = bytes(linear().SerializeToString())


def written(name: str, model: str, more: str = "") -> str:
    return f"kind: Deployment\nmetadata: {{name: {name}}}\nmodel: {model}\n{more}"


def infer(call: Any, name: str, x: Any = X, version: str = "", **more: Any) -> httpx.Response:
    """V2, one input x."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}], **more}
    answer: httpx.Response = call("POST", f"/v2/models/{name}{version}/infer", json=body)
    return answer


# -- whose models


async def test_whoever_may_read_a_model_may_deploy_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as hub:
        model = await hubs.uploaded(hub, ACME, DATA)
        assert await onnx_of(hub, ACME, model.id, MIB) == (digest(DATA), DATA)
        with pytest.raises(UnknownAsset):
            await onnx_of(hub, BOLT, model.id, MIB)
        await hubs.grant(hub, ACME, model.id, "bolt", "read")
        assert await onnx_of(hub, BOLT, model.id, MIB) == (digest(DATA), DATA)
        with pytest.raises(TooLarge, match=r"over the limit of 40 bytes; .* `DeployedSettings.bytes`"):
            await onnx_of(hub, ACME, model.id, 40)
        for name, data, said in (
            ("net.pt", b"\x80", "has 0 .onnx files and one is needed .*; `headrace translate md_"),
            ("net.onnx", b"what", "is no protobuf message, which is not served|which is not served"),
            ("net.onnx", graphs.endless(), "is an ONNX model with a graph within its graph, which is not served"),
        ):
            take = hubs.taking(hub, "acme", data)
            other = await hub.register.model(ACME, NewModel(name="net"), name, take)
            with pytest.raises(BadInput, match=said):
                await onnx_of(hub, ACME, other.id, MIB)


async def test_what_is_held_or_not_trained_yet_is_not_deployed(tmp_path: Path) -> None:
    trainer = Trainer()
    async with opened(tmp_path / "hub", trainer=trainer) as hub:
        data = await hubs.dataset(hub, ACME)
        await hubs.grant(hub, ACME, data.id, "bolt", "train")
        model = await hubs.recipe(hub, BOLT, datasets=[data.id])
        with pytest.raises(Conflict, match="has no files to deploy: it is registered; apply this once it is trained"):
            await onnx_of(hub, BOLT, model.id, MIB)
        files = {"a.onnx": DATA, "metrics.json": b"{}"}
        await hubs.train(hub, trainer, model.id, tmp_path / "out", **files)
        with pytest.raises(Forbidden, match="was trained on data of acme and is held until they release it"):
            await onnx_of(hub, BOLT, model.id, MIB)
        await hub.granting.release(ACME, model.id)
        assert (await onnx_of(hub, BOLT, model.id, MIB))[1] == DATA


# -- on a platform


def test_a_model_is_deployed_asked_and_taken_out_again(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        id = register(up.call, DATA, "net.onnx")
        _refused(up, id)
        text = written("line", id, "providers: [cuda, cpu]\n") + "---" + SPEC
        dry = up.call("PUT", "/api/specs?dry_run=1", json={"text": text, "file": "a", "files": {}}).json()
        changes = {"line": "created", "room": "created"}
        assert dry == {"changes": changes} and up.call("GET", "/api/deployments").json() == []
        assert put(up.call, text).json() == {"changes": changes}
        assert put(up.call, text).json() == {"changes": dict.fromkeys(changes, "unchanged")}
        _doors(up, id)
        _clashes(up, id)
        _mqtt(up)
        up.kill()
    with Up(tmp_path / "data") as up:
        assert infer(up.call, "line").json()["outputs"][0]["data"] == FLAT
        assert up.call("DELETE", "/api/specs/line").json() == {"deleted": "line"}
        assert up.call("GET", "/v2/models/line").status_code == 404
        assert up.call("GET", "/v2/models").json() == {"models": ["room"]}
        assert not [*(up.data / "deployments").iterdir()]
        assert "Traceback" not in up.errors()


def _refused(up: Up, id: str) -> None:
    """One that is wrong, and nothing takes effect."""
    good = written("good", id)
    for more, status, said in (
        (written("bad", "md_" + "0" * 20), 404, "There is no model 'md_0"),
        (written("bad", id, "providers: [azure]\n"), 400, "my.yaml:8: providers.0: the provider 'azure' sends"),
        (written("bad", register(up.call, b"\x80", "a.pt")), 400, "my.yaml:7: model: md_"),
        (SPEC.replace("backend: rls", "backend: rsl"), 400, "backend: There is no backend 'rsl'"),
    ):
        assert said in error(put(up.call, good + "---\n" + more), status)
    assert up.call("GET", "/api/deployments").json() == [] and up.call("GET", "/api/specs").json() == []
    assert not [*up.data.glob("deployments/*.json")]


def _doors(up: Up, id: str) -> None:
    assert up.call("GET", "/v2/models").json() == {"models": ["line", "room"]}
    about = up.call("GET", f"/v2/models/line/versions/{id}").json()
    assert about == {
        "name": "line",
        "versions": [id],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "parameters": {"provider": "cpu"},
    }
    for path in ("/v2/models/line/ready", "/v1/models/line"):
        assert up.call("GET", path).json() == {"name": "line", "ready": True}
    (index, _) = up.call("POST", "/v2/repository/index").json()
    assert index == {"name": "line", "version": id, "state": "READY", "reason": ""}
    answer = infer(up.call, "line", id="7").json()
    assert answer == {
        "model_name": "line",
        "model_version": id,
        "id": "7",
        "parameters": {"model": id, "provider": "cpu"},
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": FLAT}],
    }
    assert infer(up.call, "line", version=f"/versions/{id}").is_success
    assert infer(up.call, "line", version="/versions/1").status_code == 404
    binary = infer(up.call, "line", parameters={"binary_data_output": True})
    place = int(binary.headers["inference-header-content-length"])
    assert np.array_equal(np.frombuffer(binary.content[place:], "<f4").reshape(2, 2), Y)
    assert json.loads(binary.content[:place])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert up.call("POST", "/v1/models/line:predict", json={"instances": X.tolist()}).json() == {"predictions": Y}
    assert "FP32 [n, 3]" in error(up.call("POST", "/v1/models/line:predict", json={"instances": []}), 400)
    assert "has no last forecast" in error(up.call("POST", "/v2/models/line/infer"), 400)
    for path in (
        "/v2/models/line/learn",
        "/v2/models/line/feedback",
        "/v2/models/line/explain",
        "/v1/models/line:explain",
    ):
        assert "is a deployed model" in error(up.call("POST", path, json={"instances": [[1]]}), 501)
    assert "is not explained" in error(up.call("GET", "/api/models/line/explanation"), 501)
    assert 'headrace_predictions_total{company="local",model="line"}' in up.call("GET", "/metrics").text
    (listed,) = up.call("GET", "/api/deployments").json()
    assert (listed["answers"], listed["provider"], listed["state"], listed["applied_by"]) == (
        4,
        "cpu",
        "ready",
        "install",
    )


def _clashes(up: Up, id: str) -> None:
    taken = error(put(up.call, written("room", id)), 400)
    assert (
        taken
        == "my.yaml:2: metadata.name: 'room' is an online model; choose another name, or `headrace delete room` first"
    )
    taken = error(put(up.call, SPEC.replace("name: room", "name: line")), 400)
    assert "my.yaml:3: metadata.name: 'line' is deployed; choose another name" in taken


def _mqtt(up: Up) -> None:
    with client(up, 5, "answers/me") as device:
        assert device.ask("line", {"instances": X.tolist()}) == {"predictions": Y}
        assert "has no last forecast" in device.ask("line", b"")["error"]
        two = {"id": "q", "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": X.ravel().tolist()}]}
        assert device.ask("line", two)["outputs"][0]["data"] == FLAT


def test_companies_deploy_what_they_are_granted_in_their_sandbox(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        acme, bolt = Company(up, "acme"), Company(up, "bolt")
        id, huge = register(acme.call, DATA, "net.onnx"), register(bolt.call, graphs.huge(), "huge.onnx")
        assert id in error(put(bolt.call, written("line", id)), 404)
        grant = {"asset": id, "grantee": "bolt", "right": "read"}
        assert acme.call("POST", "/grants", json=grant).status_code == 201
        assert put(bolt.call, written("line", id) + "---\n" + written("huge", huge)).json() == {
            "changes": {"line": "created", "huge": "created"}
        }
        found = infer(bolt.call, "line")
        assert found.is_success and found.json()["outputs"][0]["data"] == FLAT, (found.text, up.errors())
        for other in (acme.call, up.call):
            assert infer(other, "line").status_code == 404
            assert other("GET", "/v2/models").json() == {"models": []}
            assert other("GET", "/api/deployments").json() == []
        assert acme.call("PUT", "/api/specs", "vic", json={"text": written("line", id)}).status_code == 403
        _endless(up, bolt)
        assert put(acme.call, written("line", id)).is_success
        metrics = up.call("GET", "/metrics").text
        assert 'company="bolt",model=""' in metrics and 'model="line"' not in metrics
        folder = up.data / "companies" / "bolt" / "deployments"
        assert (folder.stat().st_mode & 0o777) == 0o700
        assert acme.call("DELETE", f"/models/{id}").is_success
        assert infer(bolt.call, "line").is_success, "what is deployed is a copy, as a download is"


def _endless(up: Up, bolt: Company) -> None:
    """While a model computes for ever the platform answers, and those of its company when its time is over."""
    answers = list[httpx.Response]()
    asking = threading.Thread(
        target=lambda: answers.append(infer(bolt.call, "huge", np.zeros((1, 24, 10), np.float32)))
    )
    asking.start()
    time.sleep(1)
    for path in ("/v2/health/ready", "/v2/models", "/api/deployments"):
        begin = time.monotonic()
        assert bolt.get(path) and up.call("GET", "/api/overview").is_success and time.monotonic() - begin < 2
    assert infer(bolt.call, "line").is_success
    asking.join(20)
    assert "was not answered within 10 s and its process was ended" in error(answers[0], 504)


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "line.pt").write_bytes(line())
    with Up(tmp_path / "data") as up:
        original, id = _walk(up, tmp_path)
        said = printed(up, "deploy", id, "--provider", "cuda", "--provider", "cpu")
        takes = "takes x FP32 (n, 3); gives y FP32 (n, 2); computed on cpu\n"
        assert said.startswith(f"line-pt-onnx: created\n{takes}"), said
        listed = printed(up, "deployments")
        assert id in listed and "x FP32 (n, 3)" in listed
        assert printed(up, "get", "line-pt-onnx").startswith("kind: Deployment\nmetadata:\n  name: line-pt-onnx\n")
        spec = tmp_path / "two.yaml"
        spec.write_text(written("line-pt-onnx", id) + "---" + SPEC)
        said = printed(up, "diff", "-f", str(spec))
        assert "line-pt-onnx: changed" in said and "-- cuda" in said and "room: created" in said
        assert printed(up, "apply", "-f", str(spec)) == "line-pt-onnx: changed\nroom: created\n"
        assert all(words in printed(up, "get") for words in ("room", "deployed", "line-pt-onnx"))
        printed(up, "delete", "line-pt-onnx")
        assert printed(up, "deployments").startswith("no model is deployed; `headrace deploy ID` takes one")
        assert "(headrace deploy):4: model: " in printed(up, "deploy", original, code=1)


def _walk(up: Up, folder: Path) -> tuple[str, str]:
    """Translate, deploy, ask, line by line as docs/translation.md has it: the ids of the original and of the translation."""
    text = (Path(__file__).parent.parent.parent / "docs" / "translation.md").read_text()
    found = re.search(r"## Translate, deploy, ask\n.*?```bash\n(.*?)```", text, re.DOTALL)
    assert found is not None
    ids, said = list[str](), ""
    for step in found[1].splitlines():
        words = shlex.split(step, comments=True)
        if words[0] == "curl":
            sent, path = json.loads(words[words.index("-d") + 1]), words[3].removeprefix("http://127.0.0.1:8080")
            answer = up.call("POST", path, json=sent).raise_for_status().json()
            parity = up.call("GET", f"/models/{ids[1]}").json()["translation"]["parity"]
            assert np.allclose(answer["predictions"], own(line()), rtol=0, atol=parity["tolerance"])
            continue
        told = {"line.pt": str(folder / "line.pt"), "md_...": ids[-1] if ids else ""}
        said = printed(up, *(told.get(word, word) for word in words[1:]))
        ids += re.findall(r"^md_[0-9a-f]{20}", said)
        assert words[1] != "deploy" or "takes x FP32 (n, 3); gives y FP32 (n, 2); computed on cpu" in said
    assert said == "line: deleted\n" and len(ids) == 2
    return ids[0], ids[1]


def own(data: bytes) -> Any:
    """What the original itself says."""
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(data))(torch.from_numpy(X)).numpy()  # type: ignore[no-untyped-call]
