"""`headrace evaluate --model ID --dataset ID`: a registered model beside the others, on a registered dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.running import Up, scrubbed

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "02-train"
PERIODS = ("--train", "12d", "--validate", "4d")

pytestmark = pytest.mark.xdist_group("evaluate_registered")


class Site:
    """A platform and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"HEADRACE_HOME": str(folder / "home")}
        self.up = Up(folder / "data", **self.env)

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.cli", *map(str, words)]
        env = scrubbed() | self.env | {"HEADRACE_URL": self.up.http, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240, check=False)

    def made(self, *words: str | Path) -> Any:
        """The record a command printed."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([sys.executable, EXAMPLES / "hourly.py", folder], check=True, capture_output=True)
    made = Site(folder)
    yield made
    made.up.stop()


@pytest.fixture(scope="module")
def held_out(site: Site) -> str:
    return str(site.made("dataset", "add", site.folder / "held-out.csv")["id"])


def evaluated(site: Site, model: str, dataset: str, *more: str) -> dict[str, Any]:
    return site.made("evaluate", "--model", model, "--dataset", dataset, "--only", "ridge", *PERIODS, *more)


def figures(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in report["rows"]}


def test_a_model_trained_here_takes_part(site: Site, held_out: str) -> None:
    train = site.made("dataset", "add", site.folder / "train.csv")["id"]
    words = ("--entry", "train.py", "--data", train, "--set", "epochs=60", "--watch")
    done = site("model", "train", EXAMPLES / "sklearn", *words)
    assert done.returncode == 0, done.stderr + done.stdout
    model = site.made("model", "list")[0]
    report = evaluated(site, model["id"], held_out)
    rows = figures(report)
    assert set(rows) == {"hour-mean", "ridge", "sklearn"}
    assert rows["sklearn"]["n"] == rows["ridge"]["n"] > 1000
    assert 0.002 < rows["sklearn"]["mse"] < rows["hour-mean"]["mse"]
    assert any("was trained before and is only asked here" in note for note in report["notes"])
    assert not any("flatter" in note for note in report["notes"])
    assert evaluated(site, model["id"], held_out) == report  # the same bytes twice
    onnx_ = site.made("translate", model["id"], "--name", "sklearn")["id"]
    in_onnx = evaluated(site, onnx_, held_out)
    assert figures(in_onnx)["sklearn"]["mse"] == pytest.approx(rows["sklearn"]["mse"], rel=1e-4)
    assert not any("nothing is known" in note for note in in_onnx["notes"])
    own = evaluated(site, model["id"], train)
    assert any("trained on this very dataset" in note and "flatter" in note for note in own["notes"])
    short = evaluated(site, model["id"], held_out, "--history", "12")
    assert any("windows of 12 steps are too short" in note for note in short["notes"]), short["notes"]


def test_an_onnx_file_is_asked_directly(site: Site, held_out: str) -> None:
    last_day = np.zeros((36, 24), np.float32)
    last_day[12:36] = np.eye(24, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "persistence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 36])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 24])],
        [numpy_helper.from_array(last_day, "w")],
    )
    path = site.folder / "yesterday.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    model = site.made("model", "add", path)["id"]
    report = site.made("evaluate", "--model", model, "--dataset", held_out, "--only", "persistence", *PERIODS)
    rows = figures(report)
    assert rows["yesterday.onnx"]["mse"] == pytest.approx(rows["persistence"]["mse"], rel=1e-4)
    assert any("nothing is known of what yesterday.onnx was trained on" in note for note in report["notes"])


def test_what_cannot_be_asked_says_why(site: Site, held_out: str) -> None:
    path = site.folder / "notes.bin"
    path.write_bytes(b"no model at all")
    model = site.made("model", "add", path)["id"]
    report = evaluated(site, model, held_out)
    assert any("it has no single .onnx file, and no recipe" in note for note in report["notes"]), report["notes"]
    done = site("evaluate", "--model", "md_00000000000000000000", "--dataset", held_out)
    assert done.returncode == 1 and "There is no model 'md_00000000000000000000'" in done.stderr
    done = site("evaluate", "--dataset", held_out, "--data", site.folder / "train.csv")
    assert done.returncode == 1 and "give one of them" in done.stderr
    done = site("evaluate", "--model", model, "--dataset", held_out, "--drift")
    assert done.returncode == 1 and "does not learn" in done.stderr
