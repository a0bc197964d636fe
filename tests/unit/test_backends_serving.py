"""Runners: what the serving process does with an exported model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headrace.errors import CorruptState, MissingExtra, Unsupported
from headrace.models.backends import Servable, Shape
from headrace.services.learning import serving
from headrace.states import pack

SHAPE = Shape((2, 3), 2, per_target=True)


def test_rls_kernel_per_target() -> None:
    state = {"weights": np.array([[1.0], [2.0], [-1.0]]), "floor": 0.0}
    runner = serving.load(Servable("numpy", pack(state), "rls"), SHAPE)
    assert runner.predict(np.array([[[1.0, 1, 1], [0, 0, 1]]])).tolist() == [[2, 0]]


def test_rls_kernel_on_a_window() -> None:
    state = {"weights": np.arange(14.0).reshape(7, 2), "floor": None}
    runner = serving.load(Servable("numpy", pack(state), "rls"), Shape((2, 3), 2))
    assert runner.predict(np.ones((1, 2, 3))).tolist() == [[42, 49]]
    assert runner.predict(np.ones((0, 2, 3))).shape == (0, 2)


@pytest.mark.parametrize(
    "servable",
    [
        Servable("numpy", b"", "rls"),
        Servable("numpy", pack({}), "rls"),
        Servable("numpy", pack([1]), "rls"),
        Servable("numpy", pack({"weights": np.zeros((4, 1)), "floor": None}), "rls"),
        Servable("numpy", pack({"weights": "w", "floor": None}), "rls"),
        Servable("numpy", pack({"means": np.zeros((2, 2)), "overall": 0.0}), "hour-mean"),
        Servable("numpy", pack({"means": 3}), "hour-mean"),
        Servable("numpy", pack({"x": 1}), "persistence"),
        Servable("onnx", b"no model"),
        Servable("onnx", b""),
    ],
)
def test_damaged_exports_are_refused(servable: Servable) -> None:
    with pytest.raises(CorruptState, match=r"is damaged|does not load"):
        serving.load(servable, SHAPE)


@pytest.mark.parametrize("servable", [Servable("pickle", b""), Servable("numpy", pack({}), "tree")])
def test_unknown_exports_are_refused(servable: Servable) -> None:
    with pytest.raises(Unsupported, match="known: "):
        serving.load(servable, SHAPE)


def test_without_onnxruntime_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pip install 'headrace\[onnx\]'"):
        serving.load(Servable("onnx", b""), SHAPE)


OPENS = """
from pathlib import Path
from tests import graphs
from headrace.models.onnx_session import open_session
open_session(graphs.mean())
print([str(one) for one in Path.home().rglob("*") if one.is_file()])
"""


def test_onnx_runtime_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", OPENS],
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == "[]", found.stdout + found.stderr
