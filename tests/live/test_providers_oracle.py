"""A second execution provider really computes: OpenVINO's build of ONNX Runtime, in an environment of its own (`--oracles`)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import headrace
from tests.flow.test_deploy import DATA, X
from tests.live.test_oip_oracles import SCRIPTS, environment
from tests.running import scrubbed
from tests.translating import WEIGHTS

OURS = ("numpy<2.5", "msgspec", "pydantic", "pyyaml", "onnxruntime-openvino")


def test_openvino_computes_what_the_cpu_does(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--oracles"):
        pytest.skip("other builds of ONNX Runtime are asked with --oracles")
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
