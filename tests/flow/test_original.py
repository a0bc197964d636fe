"""The calls the chapter prints (4.4.4), typed with real JSON; without a ledger, and after a restart."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from headrace.assets import Environment
from headrace.errors import NoIsolation
from headrace.runners.container import ContainerRunner
from tests import runner_image
from tests.flow.test_original_client import model_terms, sha, until
from tests.running import Up

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "examples" / "02-share-and-verify" / "curl.sh"
pytestmark = pytest.mark.xdist_group("original")
DATASET = """
curl --request POST \\
--url http://<mlaas_model_sharing>/dataset/ \\
--header 'Content-Type: multipart/form-data' \\
--form model=@model \\
--form 'metadata={ "sample_dimension": "(500,500)", "sample_num": 606}'
"""
MODEL = """
curl --request POST \\
--url http://<mlaas_model_sharing>/model/ \\
--header 'Content-Type: multipart/form-data' \\
--form model=@model \\
--form 'metadata={ "model_params": { "sample_dimension": "(500, 500)", "params": "<json_params_initial_cond>"},
"data_params": { "dataset_id": "<dataset_id>"}}'
"""
METADATA = """
curl --request GET \\
--url http://<mlaas_model_sharing>/metadata/<model_id>
"""
DOWNLOAD = """
curl --request GET \\
--url http://<mlaas_model_sharing>/model/<model_id>
"""
TRANSLATE = """
curl --request POST \\
--url http://<mlaas_model_translation>/translate/<model_id>
"""
"""As printed, but for the spaces before backslashes, and quotes and braces that are no JSON."""
TRAIN = """
import json, os
from pathlib import Path
import numpy as np

def headrace_model(folder, parameters):
    from sklearn.linear_model import LinearRegression
    made, held = LinearRegression(), dict(np.load(folder / "line.npz", allow_pickle=False))
    made.coef_, made.intercept_ = held["coef"], held["intercept"]
    made.n_features_in_ = 1
    return made

def headrace_inputs(files, parameters):
    return np.loadtxt(files[0], delimiter=",", skiprows=1, ndmin=2)[:, :1]

if __name__ == "__main__":
    parameters = json.loads(Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
    x, y = np.loadtxt(os.environ["HEADRACE_DATA"], delimiter=",", skiprows=1).T
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (((x - x.mean()) ** 2).sum() + parameters["penalty"]))
    held = {"coef": np.array([[slope]]), "intercept": np.array([y.mean() - slope * x.mean()])}
    np.savez(Path(os.environ["HEADRACE_OUTPUT"], "line.npz"), **held)
"""
ROWS = "x,y\n0,1\n1,3\n2,5\n3,7\n"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("chapter") / "data", "--open", "--ledger", "memory") as found:
        yield found


def typed(up: Up, folder: Path, line: str, **words: str) -> bytes:
    """What a line of the chapter prints in a shell."""
    host = up.http.removeprefix("http://")
    words |= {"mlaas_model_sharing": host, "mlaas_model_translation": host}
    for word, value in words.items():
        line = line.replace(f"<{word}>", value)
    assert "<" not in line
    command = line.replace("curl ", "curl --silent --show-error --noproxy '*' ", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_the_lines_of_the_chapter(up: Up, tmp_path: Path) -> None:
    (tmp_path / "model").write_text(ROWS)
    dataset = json.loads(typed(up, tmp_path, DATASET))["dataset_id"]
    record = until(up, f"/datasets/{dataset}", statistics_state="done", anchoring="anchored")
    assert (record["samples"], record["media"], record["filename"]) == (4, "csv", "model"), "as it is, not as was said"
    said = json.loads(record["description"].removeprefix("as registered: "))
    assert said == {"sample_dimension": "(500,500)", "sample_num": 606}

    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("train.py", TRAIN)
    params = json.dumps({"penalty": 0.0}).replace('"', '\\"')
    made = json.loads(typed(up, tmp_path, MODEL, json_params_initial_cond=params, dataset_id=dataset))["model_id"]
    early = up.call("POST", f"/translate/{made}")
    assert early.status_code == 409, "rejected while its training job is not completed"
    model = until(up, f"/models/{made}", state="trained", anchoring="anchored")
    assert model["recipe"]["parameters"] == {"penalty": 0.0} and model["datasets"] == [dataset]

    content = typed(up, tmp_path, DOWNLOAD, model_id=made)
    assert f"sha256:{sha(content)}" == model["files"][0]["stored"]["sha256"]
    metadata = json.loads(typed(up, tmp_path, METADATA, model_id=made))
    assert metadata["model_params"]["res_hash"] == sha(content) and metadata["contract_address"] == model["contract"]
    said = up.call("GET", f"/contracts/{model['contract']}").json()
    assert said["result"]["digest"] == model["digest"] == metadata["record"]["digest"]

    translated = json.loads(typed(up, tmp_path, TRANSLATE, model_id=made))
    assert translated["id"] != made and translated["translation"]["of"] == made and translated["framework"] == "onnx"
    onnx = typed(up, tmp_path, DOWNLOAD, model_id=translated["id"])
    assert f"sha256:{sha(onnx)}" == translated["files"][0]["stored"]["sha256"]
    until(up, f"/models/{translated['id']}", anchoring="anchored")
    address = up.call("GET", f"/metadata/{translated['id']}").json()["contract_address"]
    read = up.call("GET", f"/contract/model_unverified/{address}")
    assert read.json()["hash"] == sha(onnx)


PROGRAM = """
import json, os, pathlib
parameters = json.loads(pathlib.Path(os.environ["HEADRACE_PARAMETERS"]).read_text())
data = pathlib.Path(os.environ["HEADRACE_DATA"]).read_bytes()
pathlib.Path(os.environ["HEADRACE_OUTPUT"], "weights.bin").write_bytes(data * parameters["times"])
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """One with a program `train`, one without."""
    folder = tmp_path_factory.mktemp("image")
    found = runner_image.with_program(folder, PROGRAM), runner_image.image(folder)
    try:
        ContainerRunner().check(Environment(image=found[0]))  # type: ignore[call-arg]
    except NoIsolation as error:
        pytest.skip(str(error))
    return found


def test_a_model_that_is_an_image_is_trained_in_it(up: Up, images: tuple[str, str]) -> None:
    dataset = up.call("POST", "/dataset", files={"model": ("a.csv", ROWS.encode())}).json()["dataset_id"]
    for image in images:
        id = up.call("POST", "/model", json=model_terms(dataset, image)).json()["model_id"]
        assert up.call("POST", f"/train/{id}", json={"times": [1]}).status_code == 400
        assert up.call("GET", f"/metadata/{id}").json()["state"] == "waiting", "nothing of what is refused is left"
        job = up.call("POST", f"/train/{id}", json={"times": 2}).json()["job_id"]
        ended = _ended(up, job)
        assert ended["runner"] == "container"
        if image == images[0]:
            assert ended["state"] == "done", up.call("GET", f"/jobs/{job}/log").text
            assert up.call("GET", f"/model/{id}").content == ROWS.encode() * 2
            found = up.call("GET", f"/metadata/{id}").json()["model_params"]
            assert found["train_image"] == image and found["res_hash"] == sha(ROWS.encode() * 2)
        else:
            assert ended["state"] == "failed" and "no program `train`" in up.call("GET", f"/jobs/{job}/log").text
            assert up.call("POST", f"/train/{id}").json()["job_id"] == job, "asked again, it is tried again"
            assert _ended(up, job)["attempt"] == 2


def _ended(up: Up, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (found := up.call("GET", f"/jobs/{job}").json())["state"] in {"queued", "running"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return dict(found)


def test_forms_that_cannot_be_used(up: Up) -> None:
    file = {"model": ("model", b"a\n1\n")}
    for path, form, words in (
        ("/dataset", {"metadata": (None, "{}")}, "the form has no part 'model' or"),
        ("/dataset/", {**file, "metadata": (None, "{'sample_num': 606}")}, "this is no JSON"),
        ("/dataset", {**file, "metadata": (None, "[]")}, "a JSON object is needed"),
        ("/dataset", {**file, "metadata": (None, json.dumps({"about": "x" * 5000}))}, "characters"),
        ("/dataset", {**file, "metadata": (None, '{"about": "\u202e"}')}, "description"),
        ("/dataset", {**file, "metadata": (None, '{"about": "\\ud800"}')}, "description"),
        ("/model/", {**file, "metadata": (None, "{}")}, "archive"),
        ("/model/", {**file, "metadata": (None, '{"model_params": {"params": "no"}}')}, "this is no JSON"),
        ("/model/", {**file, "metadata": (None, '{"model_params": {"params": {"a": [1]}}}')}, "parameters.a"),
        ("/model/", {"other": ("model", b"a")}, "a part 'other'"),
    ):
        answer = up.call("POST", path, files=form)
        assert answer.status_code == 400 and words in answer.json()["error"], answer.text
    for path, body in (
        ("/dataset", {"organization_id": "o"}),
        ("/dataset", {"organization_id": "o", "samples_dimension": "", "size": 1}),
        ("/model", {"model_params": {}, "data_params": {"dataset_id": "ds_0"}}),
        ("/contract/model", {}),
        ("/contract/other", {}),
    ):
        assert up.call("POST", path, json=body).status_code == 400, path
    assert up.call("POST", "/dataset", content=b"{" + b" " * 2**17).status_code == 413
    assert up.call("POST", "/contract/0x" + "1" * 40 + "/verify").status_code == 400, "no hash"
    assert up.call("DELETE", "/dataset/ds_0").status_code == 405
    assert up.call("GET", "/contract/dataset/0x12").status_code == 400


def test_two_contents_at_a_time_make_one_dataset(up: Up) -> None:
    terms = {"organization_id": "o" * 1000, "samples_dimension": "\u202e" * 1000, "hash": "d41d8cd9"}
    id = up.call("POST", "/dataset", json=terms).json()["dataset_id"]

    def fill(content: bytes) -> int:
        return up.call("PUT", f"/dataset/{id}", files={"dataset": ("a.csv", content)}).status_code

    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(fill, [b"a\n1\n", b"a\n2\n", b"a\n3\n"])) == [200, 409, 409]
    assert up.call("GET", f"/dataset/{id}").content in {b"a\n1\n", b"a\n2\n", b"a\n3\n"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_the_script_of_the_example(up: Up, tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_text(ROWS)
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("train.py", TRAIN)
    command = ["bash", str(SCRIPT), up.http, "line.csv", "code.zip", '{"penalty": 0.5}']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    model = re.findall(r"md_\w+", done.stdout)[0]
    translated = re.findall(r"translated (md_\w+)", done.stdout)[0]
    assert "as its contract says" in done.stdout and "recorded: this record existed" in done.stdout
    record = up.call("GET", f"/models/{model}").json()
    assert record["recipe"]["parameters"] == {"penalty": 0.5}
    assert f"sha256:{sha((tmp_path / f'{model}.download').read_bytes())}" == record["files"][0]["stored"]["sha256"]
    assert up.call("GET", f"/models/{translated}").json()["parent"] == model


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
def test_the_script_compares_several_files_and_says_what_is_missing(up: Up, tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_text(ROWS)
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(
            "train.py", f"{TRAIN}\nimport os\nopen(os.environ['HEADRACE_OUTPUT'] + '/more.txt', 'w').write('more')\n"
        )

    def script(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(SCRIPT), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    done = script(up.http, "line.csv", "code.zip", '{"penalty": 0.5}')
    model = re.findall(r"md_\w+", done.stdout)[0]
    assert "as its contract says" in done.stdout and (tmp_path / f"{model}.files" / "more.txt").read_text() == "more"
    assert "registered, 0 s" in done.stderr or "training, 0 s" in done.stderr
    assert script().stderr.startswith("usage: curl.sh URL") and script().returncode == 2
    gone = script("http://127.0.0.1:9", "line.csv", "code.zip")
    assert gone.returncode == 1 and "no answer from" in gone.stderr


def test_every_door_is_documented() -> None:
    told = set(re.findall(r"`(GET|POST|PUT) (/[\w/]*)", (ROOT / "docs" / "original.md").read_text()))
    shown = {(method, path.partition("/md_0")[0].rstrip("/")) for method, path in doors()}
    assert shown <= {(method, path.rstrip("/")) for method, path in told}


def test_what_was_deleted_waits_for_nothing(up: Up) -> None:
    id = up.call("POST", "/dataset", json={"organization_id": "o", "samples_dimension": ""}).json()["dataset_id"]
    assert up.call("PUT", f"/dataset/{id}", files={"dataset": ("a.csv", b"a\n1\n")}).is_success
    until(up, f"/datasets/{id}", anchoring="anchored")
    assert up.call("DELETE", f"/datasets/{id}").json() == {"deleted": id, "tombstone": False}
    for method in ("GET", "PUT"):
        answer = up.call(method, f"/dataset/{id}", files={"dataset": ("a.csv", b"a\n2\n")} if method == "PUT" else None)
        assert answer.status_code == 404, "its contract is of another content"


def test_a_revoked_contract_is_not_verified(up: Up) -> None:
    content = b"a\n1\n"
    id = up.call("POST", "/dataset", files={"model": ("a.csv", content)}).json()["dataset_id"]
    address = until(up, f"/datasets/{id}", anchoring="anchored")["contract"]
    path = f"/contract/{address}/verify?res_hash={sha(content)}"
    assert up.call("POST", path).json()["level"].startswith("recorded")
    assert up.call("POST", f"/datasets/{id}/revoke", json={"reason": "a broken meter"}).is_success
    deadline = time.monotonic() + 10
    while (answer := up.call("POST", path)).is_success and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer.status_code == 409 and "a broken meter" in answer.json()["error"]


def test_without_a_ledger_and_after_a_restart(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--open", "--ledger", "none") as up:
        terms = {"organization_id": "o", "samples_dimension": "(1,)"}
        dataset = up.call("POST", "/dataset", json=terms).json()["dataset_id"]
        model = up.call("POST", "/model", json=model_terms(dataset)).json()["model_id"]
        assert up.call("POST", "/contract/dataset", json=terms).status_code == 501, "no contract is said to be there"
        refused = up.call("POST", f"/train/{model}", json={})
        assert refused.status_code == 409 and f"{dataset} was registered without its content" in refused.json()["error"]
        up.kill()
    with Up(tmp_path / "data", "--open", "--ledger", "none") as up:
        found = up.call("GET", f"/dataset/{dataset}/metadata").json()
        assert found == {"dataset_id": dataset, "state": "waiting", "contract_address": "", "declared_in": "", **terms}
        assert up.call("PUT", f"/dataset/{dataset}/", files={"dataset": ("a.csv", b"a\n1\n")}).is_success
        assert up.call("GET", f"/dataset/{dataset}").content == b"a\n1\n"
        assert up.call("GET", f"/datasets/{dataset}").json()["anchoring"] == "off"
        assert up.call("GET", f"/metadata/{model}").json()["state"] == "waiting"


def doors() -> list[tuple[str, str]]:
    """Every operation of the door, from the code."""
    from headrace.original.door import create_app

    class Nothing:
        sharing = training = verification = None

    document: dict[str, Any] = create_app(Nothing()).openapi()  # type: ignore[arg-type]
    found = [(method.upper(), path) for path, doors in document["paths"].items() for method in doors]
    assert len(found) == 14
    return [(method, re.sub(r"\{\w+\}", "md_0", path)) for method, path in found]
