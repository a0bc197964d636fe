"""kill -9 around every act: nothing is recorded twice, nothing is lost, and nothing is said to be recorded that is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import scrubbed

ROOT = Path(__file__).parent.parent.parent


def run(folder: Path, when: str, kind: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what was printed."""
    command = [sys.executable, "-m", "tests.recorder", str(folder), when, kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=scrubbed(), cwd=ROOT, timeout=60)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


@pytest.mark.parametrize(
    ("when", "kind"),
    [("after", "Deploy"), ("after", "Record"), ("after", "Anchor")],
)
def test_killed_around_an_act(tmp_path: Path, when: str, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    assert run(folder, when, kind)[0] == -signal.SIGKILL
    if not (folder / "ids.json").exists():  # killed while things were still being registered: they are all that matters
        (folder / "ids.json").write_text(json.dumps(registered(folder)))
    code, found = run(folder, "never", "-")
    assert code == 0 and found["records"]
    assert {state for state, _ in found["records"].values()} == {"anchored"}
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    claims = [fields.get("claim") or fields.get("root") or fields.get("result") for _, _, fields in lines]
    assert len(claims) == len(set(claims)) == found["height"]
    assert sum(kind == "Deploy" for _, kind, _ in lines) <= 2


def registered(folder: Path) -> list[str]:
    """Ids in the hub's tables."""
    import sqlite3

    with sqlite3.connect(folder / "hub.db") as db:
        return [row[0] for row in db.execute("SELECT id FROM datasets UNION ALL SELECT id FROM models")]
