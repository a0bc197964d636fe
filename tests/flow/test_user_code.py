"""A user's own step and network on a live platform: they may be wrong in every way, and only their own model suffers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import plant, sun
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("user_code")  # one platform for all of them
DAYS = 9


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("user") / "data") as up:
        assert up.apply(sun.spec()).status_code == 200
        plant.publish(up, sun.messages(DAYS))
        up.caught_up()
        plant.wait_ready(up, "sun")
        yield up
        assert up.stop() == 0


def step(body: str, *, top: str = "", state: str = "return {}") -> str:
    """A step whose `apply` does something on the way; `body` starts on line 7."""
    return f"""\
{top or "import sys"}
class Step:
    def __init__(self, params, context): self.params, self.seen = params, 0
    def state(self): {state}
    def load(self, state): ...
    def apply(self, rows):
        {body}
        return rows
"""


def own(name: str, backend: str = "{rls: {floor: 0}}") -> str:
    return sun.spec(name, backend).replace("transform:\n", f"transform:\n  - python: {{file: {name}.py}}\n")


def command(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`headrace ...` against the platform."""
    line = [sys.executable, "-m", "headrace.cli", *arguments, "--url", up.http]
    return subprocess.run(line, capture_output=True, text=True, env=scrubbed(), timeout=60, check=False)


def apply(up: Up, folder: Path, name: str, source: str) -> subprocess.CompletedProcess[str]:
    """`headrace apply -f` of a spec with its step beside it."""
    (folder / f"{name}.py").write_text(source)
    (folder / f"{name}.yaml").write_text(own(name))
    return command(up, "apply", "-f", str(folder / f"{name}.yaml"))


def model(up: Up, name: str) -> dict[str, Any]:
    return next(one for one in up.overview()["models"] if one["name"] == name)


def wait(up: Up, name: str, *states: str, timeout: float = 30) -> dict[str, Any]:
    """Until a model is in one of these states."""
    deadline = time.monotonic() + timeout
    while (found := model(up, name))["state"] not in states or (found["lag"] and found["state"] == "live"):
        assert time.monotonic() < deadline, (found, up.errors())
        time.sleep(0.1)
    return found


def others_go_on(up: Up) -> None:
    assert model(up, "sun")["state"] == "live"
    assert plant.infer(up, "sun", history=[1.0] * 200)[0] == 200


def test_a_step_of_ones_own(up: Up, tmp_path: Path) -> None:
    body = "rows.columns['power'] = rows.columns['power'] * 2"
    done = apply(up, tmp_path, "twice", step(body))
    assert (done.returncode, done.stdout) == (0, "twice: created\n"), done.stderr
    wait(up, "twice", "live")
    plain, twice = (
        up.call("POST", f"/v2/models/{name}/infer", json={}).json()["outputs"][0] for name in ("sun", "twice")
    )
    assert [round(2 * value, 3) for value in plain["data"]] == [round(value, 3) for value in twice["data"]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no such phase')", "bad.py:7: ValueError: no such phase (log positions"),
        ("return 5", "bad.py: apply() must return headrace.records.Rows, got int. (log positions"),
        ("sys.exit(3)", "bad.py:7: SystemExit: 3 (log positions"),
    ],
)
def test_a_step_that_fails_stops_its_model_and_says_where(up: Up, tmp_path: Path, body: str, reason: str) -> None:
    assert apply(up, tmp_path, "bad", step(body)).returncode == 0
    failed = wait(up, "bad", "failed")
    assert failed["detail"].startswith(reason), failed["detail"]
    assert failed["detail"].endswith("; mend it and `headrace apply` again")
    assert up.call("GET", "/v2/models/bad/ready").status_code == 503
    others_go_on(up)
    assert "bad" in command(up, "get").stdout
    assert apply(up, tmp_path, "bad", step("self.seen += 1")).stdout == "bad: changed\n"
    wait(up, "bad", "live")
    assert command(up, "delete", "bad").stdout == "bad: deleted\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (step("pass", state="return {'when': object()}"), "TypeError: a state may not hold a object (saving at"),
        (step("pass", state="raise KeyError('x')"), "odd.py:4: KeyError: 'x' (saving at"),
        (step("pass", top="raise OSError('no file')"), "odd.py:1: OSError: no file. (log positions"),
    ],
    ids=["unpackable", "state", "import"],
)
def test_states_and_imports_that_fail(up: Up, tmp_path: Path, source: str, reason: str) -> None:
    assert apply(up, tmp_path, "odd", source).returncode == 0
    failed = wait(up, "odd", "failed")
    assert reason in failed["detail"], failed["detail"]
    others_go_on(up)
    assert command(up, "delete", "odd").returncode == 0


def test_what_a_step_prints_goes_to_stderr_and_what_it_reads_is_empty(up: Up, tmp_path: Path) -> None:
    body = (
        "print('{\"died\": 1}'); print('loud', sys.stdin.read(1) == ''); sys.stdout.flush();"
        " __import__('os').write(1, b'raw bytes\\xff\\n'); __import__('os').system('echo a child; cat')"
    )
    assert apply(up, tmp_path, "loud", step(body)).returncode == 0
    wait(up, "loud", "live")
    errors = up.errors()
    assert "loud True" in errors and "raw bytes" in errors and "a child" in errors
    assert command(up, "delete", "loud").returncode == 0
    others_go_on(up)


@pytest.mark.slow
def test_a_step_that_never_returns_is_shown_as_busy_and_can_be_replaced(up: Up, tmp_path: Path) -> None:
    assert apply(up, tmp_path, "loop", step("while True: pass")).returncode == 0
    busy = wait(up, "loop", "busy", timeout=30)
    assert "without a pause" in busy["detail"]
    others_go_on(up)
    assert apply(up, tmp_path, "loop", step("pass")).stdout == "loop: changed\n"
    wait(up, "loop", "live")
    assert command(up, "delete", "loop").returncode == 0


NET = """\
import torch
class Net(torch.nn.Module):
    def __init__(self, shape, horizon, width=8):
        super().__init__()
        self.inner = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(shape[0] * shape[1], width), torch.nn.ReLU(), torch.nn.Linear(width, horizon))
    def forward(self, x):
        return self.inner(x)
"""


@pytest.mark.slow
def test_a_network_of_ones_own(up: Up, tmp_path: Path) -> None:
    """Trained in its worker by torch, answered by ONNX Runtime in a process that never loads torch."""
    pytest.importorskip("torch")
    (tmp_path / "my_net.py").write_text(NET)
    text = sun.spec("net", "{torch: {module: my_net.py:Net, options: {width: 4}, epochs: 2}}", "steps")
    (tmp_path / "net.yaml").write_text(text)
    done = command(up, "apply", "-f", str(tmp_path / "net.yaml"))
    assert (done.returncode, done.stdout) == (0, "net: created\n"), done.stderr
    wait(up, "net", "live")
    plant.wait_ready(up, "net")
    shape = up.call("GET", "/v2/models/net").json()["inputs"][0]["shape"]
    assert shape == [-1, 36, 1]
    question = {"inputs": [plant.tensor("x", [2, 36, 1], [0.5] * 72)]}
    before = up.call("POST", "/v2/models/net/infer", json=question).json()["outputs"][0]
    assert before["shape"] == [2, 24] and before["data"][:24] == before["data"][24:]
    lesson = {"inputs": [*question["inputs"], plant.tensor("y", [2, 24], [9000.0] * 48)]}
    assert up.call("POST", "/v2/models/net/learn", json=lesson).json()["applied"] is True
    assert up.call("POST", "/v2/models/net/infer", json=question).json()["outputs"][0]["data"] != before["data"]
    assert "libtorch" not in Path(f"/proc/{up.process.pid}/maps").read_text()
    assert command(up, "delete", "net").returncode == 0


@pytest.mark.slow
def test_a_network_that_fails_says_where(up: Up, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "my_net.py").write_text(NET.replace("return self.inner(x)", "return self.outer(x)"))
    (tmp_path / "net.yaml").write_text(sun.spec("net", "{torch: {module: my_net.py:Net}}"))
    assert command(up, "apply", "-f", str(tmp_path / "net.yaml")).returncode == 0
    assert wait(up, "net", "failed")["detail"].startswith("my_net.py:8: my_net.py:Net does not run with input (36, 1)")
    assert command(up, "delete", "net").returncode == 0
