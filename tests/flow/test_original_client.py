"""The original platform's own client, `mlaas-sdk` 1.0.1, unmodified and in an environment of its own, against an open platform.

It looks at no status and at little of what comes back, so what each of its calls did is asserted on the wire, on the server's
records, on the chain, and on the bytes that are downloaded.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.trust.ledgers.embedded import EmbeddedLedger
from tests.running import Up, scrubbed
from tests.wire import Call, Wire

pytestmark = pytest.mark.xdist_group("original")
SDK = "mlaas-sdk==1.0.1"
HOME = Path(os.environ.get("HEADRACE_ORACLES") or Path(tempfile.gettempdir()) / "headrace-oracles")
ASK = Path(__file__).parent.parent / "live" / "oracles" / "ask_mlaas.py"
DATA = b"hour,kw\n0,1.5\n1,2.5\n2,3.5\n"
WEIGHTS = b"weights of a training that ran elsewhere"
TRAIN = """
import json, os
from pathlib import Path
parameters = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
rows = Path(os.environ["HEADRACE_DATA"]).read_text().splitlines()[1:]
mean = sum(float(row.split(",")[1]) for row in rows) / len(rows)
Path(os.environ["HEADRACE_OUTPUT"], "weights.json").write_text(json.dumps({"mean": mean, "scale": parameters["scale"]}))
"""


class Sdk:
    """The client in its own process."""

    def __init__(self, python: Path, wire: Wire) -> None:
        self._wire = wire
        command, pipe = [str(python), str(ASK), wire.url], subprocess.PIPE
        env = {name: value for name, value in scrubbed().items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, text=True)

    def ask(self, client: str, call: str, *arguments: Any) -> tuple[dict[str, Any], Call]:
        """(what it answered or raised, what went over the wire)."""
        assert self._process.stdin is not None and self._process.stdout is not None
        before = len(self._wire.calls)
        self._process.stdin.write(json.dumps([client, call, arguments]) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert len(self._wire.calls) == before + 1, "each of its calls is one request"
        return found, self._wire.calls[-1]

    def close(self) -> None:
        """It ends with its input."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def python() -> Path:
    """Python with the client; without a way to get it a laptop skips, and CI fails."""
    folder = HOME / "mlaas-sdk"
    try:
        if not (folder / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pip = [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", SDK]
            subprocess.run(pip, check=True, timeout=300, capture_output=True)
            (folder / "done").touch()
    except subprocess.SubprocessError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{SDK} cannot be installed here ({error}): it needs PyPI once")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    pytest.importorskip("eth", reason="the embedded ledger needs the extra: pip install 'headrace[chain]'")
    with Up(tmp_path_factory.mktemp("original") / "data", "--open", HEADRACE_LEDGER="embedded") as found:
        yield found


@pytest.fixture(scope="module")
def wire(up: Up) -> Iterator[Wire]:
    with Wire(up.http.removeprefix("http://")) as found:
        yield found


@pytest.fixture(scope="module")
def sdk(python: Path, wire: Wire) -> Iterator[Sdk]:
    found = Sdk(python, wire)
    yield found
    found.close()
    assert all("authorization" not in call.headers for call in wire.calls), "it knows of no tokens"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def until(up: Up, path: str, **wanted: Any) -> dict[str, Any]:
    """A record, as soon as it says this."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = up.call("GET", path).json()
        if all(found[name] == value for name, value in wanted.items()):
            return found
        assert time.monotonic() < deadline and found.get("state") != "failed", found
        time.sleep(0.05)


def on_chain(up: Up, which: str) -> dict[str, Any]:
    """`headrace contract`."""
    command = [sys.executable, "-m", "headrace.cli", "contract", which, "--json", "--url", up.http]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=scrubbed())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def dataset_terms(**more: Any) -> dict[str, Any]:
    return {"organization_id": "acme", "samples_dimension": "(2,)", **more}


def model_terms(dataset: str, image: str = "registry.example/train:1") -> dict[str, Any]:
    params = {"developer_id": "ada", "organization_id": "acme", "train_image": image}
    return {"model_params": params, "data_params": {"dataset_id": dataset}}


UNVERIFIED = {"developer_id": "ada", "organization_id": "acme", "hash": sha(WEIGHTS)}


def full(kind: str, terms: dict[str, Any]) -> dict[str, Any]:
    """The same as the client shows it, with what it was not told."""
    if kind == "model":
        return {**terms, "model_params": {"res_hash": None, **terms["model_params"]}}
    return {**({"size_bytes": None} if kind == "dataset" else {}), "hash": None, **terms}


@pytest.fixture(scope="module")
def dataset(up: Up, sdk: Sdk) -> str:
    """A dataset that the client registered and whose bytes came in the only way they can: by another program."""
    terms = dataset_terms(size_bytes=len(DATA), hash=sha(DATA))
    found, call = sdk.ask("sharing", "add_dataset", {"DatasetContract": terms})
    id: str = found["answer"]
    assert (call.method, call.path, call.status) == ("POST", "/dataset", 201)
    said = on_chain(up, up.call("GET", f"/dataset/{id}/metadata").json()["declared_in"])
    assert said["claim"]["declared"] == terms and said["claim"]["of"] == id and said["kind"] == "dataset"
    assert up.call("GET", f"/datasets/{id}").status_code == 404, "nothing is a dataset that has no content"

    found, call = sdk.ask("sharing", "get_dataset", id)
    assert call.status == 409 and f"--form dataset=@FILE http://HOST:PORT/dataset/{id}" in call.answer.decode()
    assert "error" in json.loads(base64.b64decode(found["answer"]["bytes"])), "it takes the refusal for the dataset"

    wrong = up.call("PUT", f"/dataset/{id}", files={"dataset": ("plant.csv", DATA + b"3,4.5\n")})
    assert wrong.status_code == 409 and "was announced with the digest" in wrong.json()["error"]
    assert up.call("GET", f"/datasets/{id}").status_code == 404
    assert up.call("PUT", f"/dataset/{id}", files={"dataset": ("plant.csv", DATA)}).json() == {"dataset_id": id}
    assert up.call("PUT", f"/dataset/{id}", files={"dataset": ("plant.csv", DATA)}).status_code == 409
    return id


def test_a_dataset(up: Up, sdk: Sdk, dataset: str) -> None:
    record = until(up, f"/datasets/{dataset}", anchoring="anchored")
    assert record["stored"]["sha256"] == f"sha256:{sha(DATA)}" and record["samples"] == 3
    said = on_chain(up, dataset)
    assert said["address"] == record["contract"] and said["claim"]["sha256"] == record["stored"]["sha256"]
    found, call = sdk.ask("sharing", "get_dataset", dataset)
    assert base64.b64decode(found["answer"]["bytes"]) == DATA and call.status == 200
    found, _ = sdk.ask("blockchain", "read_contract", "dataset", record["contract"])
    assert found["answer"]["hash"] == sha(DATA) and found["answer"]["size_bytes"] == len(DATA)


def test_a_model_that_is_trained_here(up: Up, sdk: Sdk, dataset: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("train.py", TRAIN)
    terms = {"model_params": {"params": {"scale": 2}}, "data_params": {"dataset_id": dataset}}
    form = {"model": ("mean.zip", packed.getvalue()), "metadata": (None, json.dumps(terms))}
    id = up.call("POST", "/model/", files=form).json()["model_id"]
    found, call = sdk.ask("training", "train_model", id, {"scale": 2})
    assert found == {"answer": None} and call.status == 202, call.answer
    model = until(up, f"/models/{id}", state="trained", anchoring="anchored")
    assert json.loads(call.answer)["job_id"] == model["job"], "a model has one training, whoever asks for it"
    assert up.call("GET", f"/jobs/{model['job']}").json()["state"] == "done"
    assert len(up.call("GET", f"/jobs?model={id}").json()["items"]) == 1
    _, call = sdk.ask("training", "train_model", id, {"scale": 3})
    assert call.status == 409 and b"registered with" in call.answer

    found, call = sdk.ask("sharing", "get_model", id)
    weights = base64.b64decode(found["answer"]["bytes"])
    assert json.loads(weights) == {"mean": 2.5, "scale": 2} and call.status == 200
    found, call = sdk.ask("sharing", "get_model_metadata", id)
    assert found["answer"]["model_params"]["res_hash"] == sha(weights)
    assert found["answer"]["data_params"]["dataset_id"] == dataset
    address = json.loads(call.answer)["contract_address"]
    assert address == model["contract"]
    said = on_chain(up, address)
    assert said["result"]["digest"] == model["digest"] and said["recorded"]["contract"] == address
    found, _ = sdk.ask("blockchain", "read_contract", "model", address)
    assert found["answer"]["model_params"]["res_hash"] == sha(weights)
    for hash, status in ((sha(weights), 200), (model["digest"], 200), (sha(b"other"), 409), ("", 409)):
        found, call = sdk.ask("blockchain", "verify_contract", address, hash)
        assert found == {"answer": None} and call.status == status, (hash, call.answer)


def test_a_model_by_its_image_and_its_weights(up: Up, sdk: Sdk, dataset: str, tmp_path: Path) -> None:
    terms = model_terms(dataset)
    found, call = sdk.ask("sharing", "add_model", {"ModelContract": terms})
    id = found["answer"]
    assert call.status == 201 and up.call("GET", f"/models/{id}").status_code == 404
    assert on_chain(up, up.call("GET", f"/metadata/{id}").json()["declared_in"])["claim"]["declared"] == terms
    found, call = sdk.ask("sharing", "get_model_metadata", id)
    assert found["answer"] == full("model", terms) and json.loads(call.answer)["state"] == "waiting"
    found, call = sdk.ask("training", "train_model", id, {"epochs": 2})
    assert found == {"answer": None}, "it does not notice"
    assert call.status >= 400 and json.loads(call.answer)["error"], call.answer
    assert up.call("GET", f"/jobs?model={id}").json()["items"] == [], "refused, so nothing is queued"
    _, call = sdk.ask("sharing", "get_model", id)
    assert call.status == 409 and f"--form model=@FILE http://HOST:PORT/model/{id}" in call.answer.decode()

    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    found, call = sdk.ask("sharing", "update_model", id, str(tmp_path / "model.bin"))
    assert found == {"answer": None} and (call.method, call.status) == ("PUT", 200), call.answer
    model = until(up, f"/models/{id}", state="uploaded", anchoring="anchored")
    assert model["files"][0]["stored"]["sha256"] == f"sha256:{sha(WEIGHTS)}" and model["recipe"] is None
    found, _ = sdk.ask("sharing", "get_model", id)
    assert base64.b64decode(found["answer"]["bytes"]) == WEIGHTS
    found, _ = sdk.ask("sharing", "get_model_metadata", id)
    assert found["answer"]["model_params"] == {**terms["model_params"], "res_hash": sha(WEIGHTS)}
    (tmp_path / "model.bin").write_bytes(b"others")
    _, call = sdk.ask("sharing", "update_model", id, str(tmp_path / "model.bin"))
    assert call.status == 409 and up.call("GET", f"/model/{id}").content == WEIGHTS
    _, call = sdk.ask("training", "train_model", id, {})
    assert call.status == 409 and b"no recipe" in call.answer


def test_a_model_trained_elsewhere(up: Up, sdk: Sdk, tmp_path: Path) -> None:
    found, call = sdk.ask("sharing", "add_model_unverified", {"ModelContractUnverified": UNVERIFIED})
    id = found["answer"]
    assert (call.path, call.status) == ("/model/unverified", 201)
    _, call = sdk.ask("training", "train_model", id, {})
    assert call.status == 409 and b"trained elsewhere" in call.answer
    (tmp_path / "model.bin").write_bytes(b"not these")
    _, call = sdk.ask("sharing", "update_model", id, str(tmp_path / "model.bin"))
    assert call.status == 409 and up.call("GET", f"/models/{id}").status_code == 404
    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    _, call = sdk.ask("sharing", "update_model", id, str(tmp_path / "model.bin"))
    model = until(up, f"/models/{id}", state="uploaded", anchoring="anchored")
    found, _ = sdk.ask("blockchain", "read_contract", "model_unverified", model["contract"])
    assert found["answer"]["hash"] == sha(WEIGHTS) and on_chain(up, id)["claim"]["kind"] == "model_unverified"


@pytest.mark.parametrize("kind", ["dataset", "model", "model_unverified"])
def test_contracts_of_all_three_kinds(up: Up, sdk: Sdk, dataset: str, kind: str) -> None:
    terms: dict[str, Any] = {
        "dataset": dataset_terms(hash=sha(DATA), size_bytes=len(DATA)),
        "model": model_terms(dataset),
        "model_unverified": UNVERIFIED,
    }[kind]
    name = {"dataset": "DatasetContract", "model": "ModelContract"}.get(kind, "ModelContractUnverified")
    found, call = sdk.ask("blockchain", "deploy_contract", kind, {name: terms})
    address = found["answer"]
    assert call.status == 201 and call.path == f"/contract/{kind}"
    said = on_chain(up, address)
    assert said["address"] == address and said["claim"]["declared"] == terms
    assert said["claim"]["schema"] == "headrace/declared/1", "what nobody looked into is called so"
    assert said["owner"] == up.call("GET", "/ledger").json()["account"]
    found, _ = sdk.ask("blockchain", "read_contract", kind, address)
    assert found["answer"] == full(kind, terms)
    other = "model" if kind == "dataset" else "dataset"
    found, call = sdk.ask("blockchain", "read_contract", other, address)
    assert call.status == 404 and found == {"raised": "ValidationError"}
    says = terms.get("hash")
    _, call = sdk.ask("blockchain", "verify_contract", address, says or sha(WEIGHTS))
    assert call.status == (200 if says else 409), call.answer
    _, call = sdk.ask("blockchain", "verify_contract", address, sha(b"wrong"))
    assert call.status == 409 and json.loads(call.answer)["error"]


def test_what_it_gets_wrong_is_refused_on_the_wire(up: Up, sdk: Sdk) -> None:
    found, call = sdk.ask("sharing", "add_model", {"ModelContract": model_terms("ds_" + "0" * 20)})
    assert call.status == 404 and found == {"raised": "KeyError"}
    for client, name, arguments in (
        ("sharing", "get_model", ["md_" + "0" * 20]),
        ("sharing", "get_dataset", ["ds_" + "0" * 20]),
        ("training", "train_model", ["md_" + "0" * 20, {}]),
        ("blockchain", "verify_contract", ["0x" + "1" * 40, "00"]),
    ):
        assert sdk.ask(client, name, *arguments)[1].status == 404, name


async def test_the_chain_alone_says_the_same(up: Up, dataset: str) -> None:
    """The last one: it stops the platform, and reads its ledger without it."""
    found = up.call("GET", f"/dataset/{dataset}/metadata").json()
    contracts = {one: on_chain(up, found[one]) for one in ("contract_address", "declared_in")}
    assert contracts["contract_address"]["address"] != contracts["declared_in"]["address"]
    assert up.stop() == 0
    async with EmbeddedLedger(up.data / "ledger", up.data / "keys") as ledger:
        for said in contracts.values():
            read = await ledger.read(said["address"])
            assert json.loads(read.claim) == said["claim"] and read.owner == said["owner"]
            assert read.deployed.transaction == said["deployed"]["transaction"]
