"""Where a job runs: an image in podman, everything else in the sandbox; or, on one's own machine and only there, without any."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.assets import Environment
from headrace.errors import NoIsolation
from headrace.runners.container import ContainerRunner
from tests import runner_image
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("runner-choice")
CODE = """
import json, os, pathlib
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
(out / "weights").write_bytes(b"w")
(out / "metrics.json").write_text(json.dumps({"seen": int(os.path.exists(%r))}))
"""
NAMELESS = "localhost/nothing@sha256:" + "0" * 64


def headrace(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", *arguments, "--url", up.http]
    return subprocess.run(line, capture_output=True, text=True, env=scrubbed(), timeout=90, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Code that looks whether it can see this file of ours."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "train.py").write_text(CODE % __file__)
    return folder


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("choice") / "data") as up:
        yield up
        assert up.stop() == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = runner_image.image(tmp_path_factory.mktemp("image"))
    try:
        ContainerRunner().check(Environment(image=found))  # type: ignore[call-arg]
    except NoIsolation as error:
        pytest.skip(str(error))
    return found


def newest(up: Up) -> dict[str, Any]:
    found: dict[str, Any] = up.call("GET", "/jobs?limit=1").json()["items"][0]
    return found


def test_an_image_runs_in_a_container_the_rest_in_the_sandbox(up: Up, folder: Path, image: str) -> None:
    for more, runner in ((["--image", image], "container"), ([], "local")):
        done = headrace(up, "model", "train", str(folder), "--watch", *more)
        assert done.returncode == 0, done.stderr
        job = newest(up)
        assert (job["state"], job["runner"], job["metrics"]) == ("done", runner, {"seen": 0})
    made = up.call("GET", f"/models/{job['model']}").json()
    assert made["environment"]["isolation"] == "bubblewrap"
    refused = headrace(up, "model", "train", str(folder), "--image", NAMELESS)
    assert refused.returncode == 1 and "nothing is pulled" in refused.stderr


def test_a_trained_model_is_run_again(up: Up, folder: Path) -> None:
    """The routes of its jobs are under /models, where the rest is the hub's."""
    done = headrace(up, "model", "train", str(folder), "--watch")
    assert done.returncode == 0, done.stderr
    model = newest(up)["model"]
    again = headrace(up, "model", "reproduce", model, "--watch")
    assert again.returncode == 0 and "done in" in again.stdout, again.stderr
    job = newest(up)
    assert (job["kind"], job["state"]) == ("reproduce", "done")
    assert up.call("GET", f"/models/{model}").json()["reproducible"] == "reproduced"
    assert "started" in headrace(up, "job", "events", job["id"]).stdout
    assert up.call("POST", "/models/md_0/reproduce").status_code == 404
    assert up.call("GET", f"/models/{model}/reproduce").status_code == 405


def test_without_podman_an_image_is_refused_with_the_fix(folder: Path, tmp_path: Path) -> None:
    with Up(tmp_path / "data", PATH=str(tmp_path)) as up:
        done = headrace(up, "model", "train", str(folder), "--image", NAMELESS)
        assert done.returncode == 1 and "there is no podman" in done.stderr and "apt-get install" in done.stderr
        assert up.call("GET", "/models").json()["items"] == up.call("GET", "/jobs").json()["items"] == []
        done = headrace(up, "model", "train", str(folder), "--watch")
        assert done.returncode == 0 and newest(up)["runner"] == "local", done.stderr
        assert up.stop() == 0


def test_without_a_sandbox_only_alone_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--unsafe-no-sandbox") as up:
        assert "WARNING: --unsafe-no-sandbox" in up.errors()
        added = up.call("POST", "/companies", json={"name": "acme", "admin": "root"})
        assert added.status_code == 409 and "--unsafe-no-sandbox" in added.json()["error"]
        assert [one["name"] for one in up.call("GET", "/companies").json()] == ["local"]
        (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")
        made = headrace(up, "dataset", "add", str(tmp_path / "a.csv"))
        assert made.returncode == 0, made.stderr
        done = headrace(up, "model", "train", str(folder), "--watch")
        assert done.returncode == 0, done.stderr
        job = newest(up)
        assert (job["runner"], job["metrics"]) == ("unsafe", {"seen": 1})
        assert "no sandbox at all" in headrace(up, "job", "show", job["id"]).stdout
        assert up.call("GET", f"/models/{job['model']}").json()["environment"]["isolation"] == "none"
        (dataset,) = up.call("GET", "/datasets").json()["items"]
        assert (dataset["statistics_state"], dataset["media"], dataset["samples"]) == ("done", "csv", 2)
        assert up.stop() == 0
    with Up(tmp_path / "two") as up:
        assert up.call("POST", "/companies", json={"name": "acme", "admin": "root"}).status_code == 201
        assert up.stop() == 0
    for data, more, why in (("two", [], "several companies"), ("data", ["--host", "0.0.0.0"], "--host")):
        with pytest.raises(RuntimeError, match=why):
            Up(tmp_path / data, "--unsafe-no-sandbox", *more)
