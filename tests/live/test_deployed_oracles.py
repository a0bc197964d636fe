"""Deployed models, judged by others: a second execution provider really computes, and other people's clients get right answers.

Each has an environment of its own (see test_oip_oracles.py): ``pytest tests/live/test_deployed_oracles.py --oracles``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace
from tests.flow.test_deploy import DATA, X, written
from tests.flow.test_transfer import put, register
from tests.live.test_oip_oracles import SCRIPTS, environment, run
from tests.running import Up, scrubbed
from tests.translating import WEIGHTS
from tests.unit.test_deployed import several

OURS = ("numpy<2.5", "msgspec", "pydantic", "pyyaml", "onnxruntime-openvino")
MORE, SUM = [[True, False], [False, True]], [[1.5, 4.0], [10.0, 4.0]]


@pytest.fixture(scope="module")
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """With a model of two inputs and two outputs, of three types."""
    _wanted(request)
    with Up(tmp_path_factory.mktemp("deployed") / "data", "--open") as up:  # they know of no tokens
        id = register(up.call, several(), "several.onnx")
        assert put(up.call, written("several", id)).json() == {"changes": {"several": "created"}}
        yield up


def _wanted(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--oracles"):
        pytest.skip("others are asked with --oracles")


def asked(up: Up, name: str, requirement: str) -> Any:
    python = environment(name, requirement) / "python"
    return json.loads(run(str(python), str(SCRIPTS / f"deployed_{name}.py"), up.http, "several").splitlines()[-1])


def test_triton_client(up: Up) -> None:
    found = asked(up, "triton", "tritonclient[http]==2.73.0")
    assert found["ready"] and found["metadata"]["platform"] == "onnxruntime_onnx"
    assert found["answers"] == [{"sum": ["FP16", SUM], "more": ["BOOL", MORE]}] * 2


def test_kserve_client(up: Up) -> None:
    found = asked(up, "kserve", "kserve==0.21.0")
    assert found["ready"] and found["answers"] == {"more": ["BOOL", MORE], "sum": ["FP16", SUM]}
    assert found["v1"] == [{"more": a, "sum": b} for a, b in zip(MORE, SUM, strict=True)]


def test_openvino_computes_what_the_cpu_does(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """OpenVINO's build of ONNX Runtime, asked as the platform's own process asks."""
    _wanted(request)
    python = environment("openvino", *OURS) / "python"
    (tmp_path / "net.onnx").write_bytes(DATA)
    env = scrubbed() | {"PYTHONPATH": os.fspath(Path(headrace.__file__).parent.parent)}
    command = [str(python), str(SCRIPTS / "ask_providers.py"), str(tmp_path / "net.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"openvino", "cpu"} <= set(found["here"])
    for wanted, provider in (("openvino,cpu", "openvino"), ("cpu", "cpu"), ("cuda,openvino", "openvino")):
        used, y = found["answers"][wanted]
        assert used == provider and np.allclose(y, X @ WEIGHTS, rtol=1e-5), found
