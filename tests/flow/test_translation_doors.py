"""`POST /translate/{id}` and `headrace translate` on a platform as a user has it; killed in the middle; as a service alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.test_serve import alone, headrace, token_of
from tests.running import Up, scrubbed
from tests.translating import line

pytestmark = pytest.mark.xdist_group("translation")


def printed(up: Up, *arguments: str, code: int = 0) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "headrace.cli", *arguments, "--url", up.http]
    env = scrubbed() | {"HEADRACE_TOKEN": up.token}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def models(up: Up) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.call("GET", "/models").json()["items"]
    return found


def test_the_door_the_command_and_a_kill_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "line.pt").write_bytes(line())
    with Up(tmp_path / "data") as up:
        original = json.loads(printed(up, "model", "add", str(tmp_path / "line.pt"), "--json"))["id"]
        _refusals(up, original)
        _killed(up, original)
    with Up(tmp_path / "data") as up:
        assert [one["id"] for one in models(up)] == [original], "a translation that was killed is none"
        assert not [*(up.data / "library" / "translation" / "runs").iterdir()]
        _translated(up, original)


def _refusals(up: Up, original: str) -> None:
    for path, body, status, words in (
        ("/translate/md_00000000000000000000", None, 404, "There is no model"),
        (f"/translate/{original}", {"opset": 3}, 400, "opset: "),
        (f"/translate/{original}", {"opsets": 17}, 400, "opsets: "),
        (f"/translate/{original}", {"input_shape": [0]}, 400, "input_shape.0: "),
        (f"/translate/{original}", None, 400, "the shape of its inputs is not known"),
    ):
        answer = up.call("POST", path, json=body)
        assert answer.status_code == status and words in answer.json()["error"], answer.text
    assert up.call("POST", f"/translate/{original}", content=b"x" * 2**17).status_code == 413
    headers = {"authorization": "Bearer no"}
    assert httpx.post(f"{up.http}/translate/{original}", headers=headers, trust_env=False).status_code == 401
    assert "is a dataset: what is translated are models" in printed(up, "translate", "ds_1", code=1)
    said = printed(up, "translate", original, code=1)
    assert said.startswith("headrace: it cannot be translated: the shape of its inputs is not known")
    assert "/translate/{id}" in up.call("GET", "/openapi/translation.json").text
    assert up.call("GET", "/docs/translation").status_code == 200


def _killed(up: Up, original: str) -> None:
    def ask() -> None:
        with pytest.raises(httpx.HTTPError):
            up.call("POST", f"/translate/{original}", json={"input_shape": [3]})

    thread = threading.Thread(target=ask)
    thread.start()
    _begun(up)
    up.kill()
    thread.join(30)


def _translated(up: Up, original: str) -> None:
    said = printed(up, "translate", original, "--input-shape", "3", "--opset", "15", "--name", "line in ONNX")
    assert re.match(rf"md_\w+: line in ONNX, translated from {original}\n", said)
    assert "the original: unverified: uploaded as it is" in said and "inputs: x (n, 3) float32" in said
    for words in (
        "38: none recorded, 5 edge cases, 33 made at random",
        "Mind: nothing recorded was compared",
        r"float32 kept",
        r"torchscript \(torch\), opset 15",
        "onnxruntime",
    ):
        assert re.search(words, said), said
    made = json.loads(
        printed(up, "translate", original, "--input-shape", "3", "--opset", "15", "--name", "line in ONNX", "--json")
    )
    assert said.startswith(made["id"]), "asked again for the same, it is the same"
    assert [one["state"] for one in models(up)] == ["translated", "uploaded"]
    assert made["translation"]["parity"]["constant"] == []
    shown = printed(up, "model", "show", made["id"])
    assert "38: none recorded" in shown and "Mind: nothing recorded was compared" in shown
    folder = up.data.parent / "got.onnx"
    printed(up, "model", "get", made["id"], "--output", str(folder))
    assert folder.stat().st_size == made["files"][0]["stored"]["size"]


SLOW = """
import os, pathlib, time
pathlib.Path(os.environ["HEADRACE_OUTPUT"], "w").write_text("w")
def headrace_model(folder, parameters):
    time.sleep(100)
"""


def test_a_platform_that_stops_says_so_to_whoever_waits(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(SLOW)
    up, answers = Up(tmp_path / "data"), list[httpx.Response]()
    job = json.loads(printed(up, "model", "train", str(tmp_path / "code"), "--watch", "--json"))
    thread = threading.Thread(target=lambda: answers.append(up.call("POST", f"/translate/{job['model']}")))
    thread.start()
    _begun(up)
    began = time.monotonic()
    up.process.terminate()
    assert up.process.wait(30) == 0 and time.monotonic() - began < 10
    thread.join(30)
    assert answers[0].status_code == 503 and "stopped with the platform" in answers[0].json()["error"]
    assert up.errors() == ""
    up.close()
    assert not [*(tmp_path / "data" / "library" / "translation" / "runs").iterdir()]


def _begun(up: Up) -> None:
    runs, deadline = up.data / "library" / "translation" / "runs", time.monotonic() + 30
    while not [*runs.glob("*/first")]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_sharing_and_translation_are_two_processes(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "line.pt"
    file.write_bytes(line())
    with (
        alone("sharing", data) as sharing,
        alone("translation", data, 0, "--sharing", sharing.url) as translation,
    ):
        token = token_of(translation)
        original = headrace("model", "add", str(file), "--url", sharing.url, token=token)["id"]
        made = headrace("translate", original, "--input-shape", "3", "--url", translation.url, token=token)
        assert headrace("model", "show", made["id"], "--url", sharing.url, token=token) == made
        assert (made["state"], made["parent"], made["company"]) == ("translated", original, "local")
        assert not [*(data / "library" / "fetched").rglob("*.pt")]
