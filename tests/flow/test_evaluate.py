"""`headrace evaluate` as a user starts it: several processes, a platform to send to, and Ctrl-C in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.running import Up, scrubbed


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headrace.cli", "evaluate", *arguments]


def test_a_report_is_sent_and_kept(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        asked = command("--only", "ridge", "--periods", "2", "--json", "--push", up.http)
        done = subprocess.run(asked, capture_output=True, text=True, env=scrubbed(), timeout=120, check=True)
        made = json.loads(done.stdout)
        assert done.stderr == f"sent to {up.http}/api/reports/rolling-trio\n"
        (listed,) = up.call("GET", "/api/reports").json()
        kept = up.call("GET", "/api/reports/rolling-trio").json()
        assert listed["title"] == kept["title"] == made["title"] and listed["kind"] == "rolling"
        for part in ("columns", "rows", "notes", "figures"):
            assert kept[part] == made[part], part
        assert kept["received_ms"] > up.overview()["started_ms"] and "details" not in kept
        files = sorted(path.name for path in (tmp_path / "data" / "reports").iterdir())
        assert files == ["rolling-trio.json"]
    refused = subprocess.run(asked, capture_output=True, text=True, env=scrubbed(), timeout=120, check=False)
    assert refused.returncode == 1 and "is it up?" in refused.stderr and json.loads(refused.stdout) == made


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_file_and_no_process(tmp_path: Path, sent: signal.Signals) -> None:
    files = ("--html", str(tmp_path / "a.html"), "--csv", str(tmp_path / "a.csv"))
    process = subprocess.Popen(
        command("--jobs", "2", *files), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=scrubbed()
    )
    children: list[psutil.Process] = []
    for _ in range(200):
        children = psutil.Process(process.pid).children(recursive=True)
        if len(children) >= 2:
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    assert len(children) >= 2 and process.returncode == 130, (process.returncode, err)
    assert b"Traceback" not in err and out == b""
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == [] and list(tmp_path.iterdir()) == []


def test_help_stays_quick_and_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'duckdb'}"
    code = f"import sys, headrace.evaluation.command; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=scrubbed(), check=True)
    assert found.stdout == "[]\n"
