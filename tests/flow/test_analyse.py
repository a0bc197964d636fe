"""`headrace analyse` as it is typed: on files, on a running platform's topics, and on a data directory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.examples.pv.publisher import Plan, midnight, post_history
from headrace.records import DAY
from tests import series
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("analyse")  # one platform for all of them
TOPIC = "plant/trio/reading"


def analyse(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", "analyse", *map(str, arguments)]
    env = scrubbed() | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=120, check=False, cwd=cwd)


def refused(*arguments: str | Path) -> str:
    """The one line on stderr; in this process, because there are many."""
    done = CliRunner().invoke(app, ["analyse", *map(str, arguments)])
    assert (done.exit_code, done.stdout) == (1, ""), done
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("analyse") / "data") as up:
        post_history(Plan(midnight("2018-11-08"), 14, 0), up.http, lambda _: None)  # a day is one message of 30 kB
        for index, moment in enumerate(series.times(60).tolist()):
            for device in "ab":
                body = {"ts": moment // 1_000_000, "temp": index % 24 + (device == "b"), "state": "on"}
                up.call("POST", f"/ingest/site/{device}/state", content=json.dumps(body).encode())
        up.call("POST", "/ingest/site/b/state", content=b"nonsense")
        up.call("POST", "/ingest/words", content=b'{"state": "on"}')
        up.caught_up()
        yield up


def test_a_file(tmp_path: Path) -> None:
    time = series.times(24 * 20)
    file = series.csv(tmp_path / "load.csv", {"time": series.iso(time), "kw": series.daily(time)})
    spec, html = tmp_path / "headrace.yaml", tmp_path / "page.html"
    done = analyse(file, "--spec", spec, "--html", html)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("file load.csv: 480 readings") and spec.read_text() in done.stdout.replace(
        " \n", "\n"
    )
    assert html.read_text().startswith("<!doctype html>")
    assert "is there already and is not overwritten" in refused(file, "--spec", spec)
    twice = [analyse(file, "--json").stdout for _ in range(2)]
    assert twice[0] == twice[1] and json.loads(twice[0])["suggestion"]["horizon"] == 24
    assert json.loads(twice[0])["spec"] == spec.read_text()


def test_a_topic_of_a_running_platform(up: Up, tmp_path: Path) -> None:
    spec = tmp_path / "headrace.yaml"
    done = analyse(TOPIC, "--url", up.http, "--timezone", "Etc/GMT+8", "--json", "--spec", spec)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["source"] == f"topic {TOPIC}" and found["device"] == "plant/trio"
    power = found["fields"][0]
    assert power["name"] == "power" and [one["period"] for one in power["seasons"]] == [DAY]
    assert power["sampling"]["readings"] == Plan(midnight("2018-11-08"), 14, 0).history_count()
    assert found["suggestion"]["horizon"] == 24 and "three_phase_power" in found["spec"]
    offline = analyse(TOPIC, "--data", up.data, "--timezone", "Etc/GMT+8", "--json")
    assert json.loads(offline.stdout) == found
    answer = up.apply(spec.read_text())
    assert answer.status_code == 200, answer.text
    up.caught_up()
    (model,) = up.overview()["models"]
    assert model["state"] in {"live", "collecting"} and model["keys"] == ["plant/trio"]


def test_devices_filters_and_what_could_not_be_read(up: Up) -> None:
    for where in (["--url", up.http], ["--data", str(up.data)]):
        found = json.loads(analyse("site/+/state", *where, "--json").stdout)
        assert found["devices"] == {"site/a": 60, "site/b": 60} and found["device"] == "site/a"
        assert any("1 of 121 messages could not be read" in note for note in found["notes"])
        other = json.loads(analyse("site/+/state", *where, "--json", "--device", "site/b", "--last", "1d").stdout)
        assert other["device"] == "site/b" and other["fields"][0]["sampling"]["readings"] == 25
        assert other["fields"][0]["quality"]["low"] == 1


def test_what_is_refused(up: Up, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert "empty.csv is empty" in refused(tmp_path / "empty.csv")
    assert "there is no file nothing.csv" in refused("nothing.csv")
    assert "Nothing has been received on topic 'nothing/here'" in refused("nothing/here", "--url", up.http)
    assert "Nothing has been received on topic 'nothing/#'" in refused("nothing/#", "--data", up.data)
    assert "sent no numbers" in refused("words", "--url", up.http)
    assert "neither a file here nor a topic" in refused("a#b", "--url", up.http)
    assert "no device 'c'; it has 'site/a'" in refused("site/a/state", "--device", "c", "--url", up.http)
    assert "is no data directory of Headrace" in refused("a/b", "--data", tmp_path)
    assert "no answer from http://127.0.0.1:9" in refused("a/b", "--url", "http://127.0.0.1:9")
    assert "expected an IANA name" in refused("a/b", "--timezone", "Mars/Olympus")
    assert "--last: expected a duration" in refused("a/b", "--last", "soon")


def test_a_file_wins_over_a_topic_of_its_name(tmp_path: Path) -> None:
    time = series.times(30)
    (tmp_path / "site").mkdir()
    series.csv(tmp_path / "site" / "a", {"time": series.iso(time), "kw": np.arange(30)})
    assert analyse("site/a", cwd=tmp_path).stdout.startswith("file a: 30 readings")


def test_whole_records_are_bounded(up: Up) -> None:
    answer = up.call("GET", f"/api/records/{TOPIC}?whole=1&offset=0&limit=1000").json()
    assert len(answer) == 14 and all(one["payload"] == "" and len(one["payload_base64"]) > 4096 for one in answer)
