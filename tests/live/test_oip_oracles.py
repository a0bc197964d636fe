"""Other people's clients get right answers: KServe's SDK, Triton's client, MLServer's batch client.

Each is installed into an environment of its own (they contradict each other and us), so this runs on demand and needs
PyPI the first time: ``pytest tests/live/test_oip_oracles.py --oracles``. The environments are kept in
``$HEADRACE_ORACLES``, by default ``headrace-oracles`` in the temporary directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import plant
from tests.running import Up, scrubbed

HOME = Path(os.environ.get("HEADRACE_ORACLES") or Path(tempfile.gettempdir()) / "headrace-oracles")
SCRIPTS = Path(__file__).parent / "oracles"


@pytest.fixture(scope="module")
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    if not request.config.getoption("--oracles"):
        pytest.skip("other people's clients are asked with --oracles")
    data = tmp_path_factory.mktemp("oracles") / "data"
    with plant.trained(data, plant.SPECS, "--open") as up:  # they know of no tokens
        yield up


def environment(name: str, *requirements: str) -> Path:
    """The folder of its programs."""
    folder = HOME / name
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, timeout=900)
        (folder / "done").touch()
    return folder / "bin"


def run(*command: str, cwd: Path | None = None) -> str:
    env = {name: value for name, value in scrubbed().items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def ours(up: Up, x: Any) -> list[Any]:
    """The plain JSON door's answer, which test_doors compares with the weights themselves."""
    shape = list(np.shape(x))
    body = {"inputs": [plant.tensor("x", shape, np.ravel(x).tolist())]}
    found = up.call("POST", "/v2/models/sun/infer", json=body).json()["outputs"][0]
    return np.reshape(found["data"], found["shape"]).tolist()  # type: ignore[no-any-return]


def check(up: Up, found: dict[str, Any], count: int) -> None:
    expected = ours(up, found["x"])
    assert len(found["answers"]) == count
    for answer in found["answers"]:
        np.testing.assert_allclose(answer, expected, rtol=1e-5)
    assert found["last"] == up.call("POST", "/v2/models/sun/infer", json={}).json()["outputs"][0]["data"]
    assert (found["live"], found["ready"], found["model"], found["nobody"]) == (True, True, True, False)


def test_kserve_client(up: Up) -> None:
    python = environment("kserve", "kserve==0.21.0") / "python"
    found = json.loads(run(str(python), str(SCRIPTS / "ask_kserve.py"), up.http, "sun").splitlines()[-1])
    check(up, found, 8)
    assert found["v1"] is True
    assert "expected [n, 24, 10]" in found["error"]


def test_triton_client(up: Up) -> None:
    python = environment("triton", "tritonclient[http]==2.73.0") / "python"
    found = json.loads(run(str(python), str(SCRIPTS / "ask_triton.py"), up.http, "sun").splitlines()[-1])
    check(up, found, 24)
    assert (found["server"], found["index"]) == ("headrace", ["next", "sun"])
    for error, status, words in zip(
        found["errors"],
        ("501", "400", "400", "404"),
        ("headrace apply", "expected [n, 24, 10]", "BYTES", "no version"),
        strict=True,
    ):
        assert error.startswith(f"[{status}]") and words in error


def test_mlserver_batch_client(up: Up, tmp_path: Path) -> None:
    program = environment("mlserver", "mlserver==1.7.1") / "mlserver"
    x = np.random.default_rng(4).random((3, 2, 24, 10))
    lines = [
        {"id": f"r{n}", "inputs": [plant.tensor("x", [2, 24, 10], one.ravel().tolist())]} for n, one in enumerate(x)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    address = up.http.removeprefix("http://")
    run(
        str(program),
        "infer",
        "-u",
        address,
        "-m",
        "sun",
        "-i",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--transport",
        "rest",
        cwd=tmp_path,
    )
    answers = {one["id"]: one for one in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())}
    for n, one in enumerate(x):
        output = answers[f"r{n}"]["outputs"][0]
        np.testing.assert_allclose(np.reshape(output["data"], output["shape"]), ours(up, one), rtol=1e-9)
