"""What the README tells a newcomer to type works as typed."""

from __future__ import annotations

import json
import math
import re
import shlex
import time
from pathlib import Path

import pytest

from headrace.records import MINUTE
from tests.running import Up

README = (Path(__file__).parent.parent.parent / "README.md").read_text()


def block(title: str) -> str:
    """The first code block after a heading or sentence."""
    found = re.search(re.escape(title) + r".*?```bash\n(.*?)```", README, re.DOTALL)
    assert found is not None, title
    return found[1]


def heredoc(text: str) -> str:
    found = re.search(r"<<'YAML'\n(.*?)\nYAML\n", text, re.DOTALL)
    assert found is not None
    return found[1]


def data_of(line: str) -> str:
    words = shlex.split(line, comments=True)
    return words[words.index("-d") + 1]


def test_make_targets_of_the_two_commands_exist() -> None:
    makefile = (Path(__file__).parent.parent.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", block("## Two commands"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_your_own_topic(tmp_path: Path) -> None:
    """The ten lines, with three days of readings sent at once instead of waited for."""
    text = block("## Your own topic")
    (reading,) = [line for line in text.splitlines() if "/ingest/" in line]
    with Up(tmp_path / "mydata") as up:
        assert up.call("POST", "/ingest/site/pump7", content=data_of(reading)).status_code == 200
        understood = up.call("GET", "/api/topics/site%2Fpump7").json()
        assert set(understood["devices"][0]["fields"]) == {"temp", "flow"}
        now = time.time_ns() // (10 * MINUTE) * 10 * MINUTE
        history = [
            {"ts": (now - i * MINUTE) // 10**6, "temp": 21 + math.sin(i / 200), "flow": 3.2}
            for i in range(3 * 1440, 1, -1)
        ]
        assert up.call("POST", "/ingest/site/pump8", content=json.dumps(history)).status_code == 200
        assert up.apply(heredoc(text)).json() == {"changes": {"pump-temp": "created"}}
        up.caught_up()
        key = {"parameters": {"key": "site/pump8"}}
        forecast = up.call("POST", "/v2/models/pump-temp/infer", json=key).json()
        assert len(forecast["outputs"][0]["data"]) == 6
        assert all(19.5 < value < 22.5 for value in forecast["outputs"][0]["data"])
        (asked,) = [line for line in block("Ask for predictions").splitlines() if "instances" in line]
        deadline = time.monotonic() + 20
        while (answer := up.call("POST", "/v1/models/pump-temp:predict", content=data_of(asked))).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert len(answer.json()["predictions"][0]) == 6, answer.text


@pytest.mark.parametrize("command", re.findall(r"headrace ([a-z]+)", README.split("## Where next")[0]))
def test_every_command_named_exists(command: str) -> None:
    from typer.main import get_command

    from headrace.cli import app

    known = set(getattr(get_command(app), "commands", {}))
    assert command in known or command not in {
        "up",
        "apply",
        "inspect",
        "predict",
        "quarantine",
        "get",
        "diff",
        "delete",
    }
