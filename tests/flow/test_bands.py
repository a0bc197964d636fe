"""Bands, what they were worth, and what the errors are like, as a client and a user at a terminal see them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests import plant, sun
from tests.plant import tensor
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("bands")  # one platform for all of them
MORE = 4
"""Days after those of `plant.trained`: time for bands to be scored."""
X = {"inputs": [tensor("x", [1, 24, 10], [0.5] * 240)]}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with plant.trained(tmp_path_factory.mktemp("bands") / "data") as up:
        plant.publish(up, sun.messages(plant.DAYS + MORE)[len(sun.messages(plant.DAYS)) :])
        up.caught_up()
        yield up
        assert "Traceback" not in up.errors(), up.errors()


def post(up: Up, path: str, body: Any, status: int = 200) -> httpx.Response:
    answer = up.call("POST", path, json=body)
    assert answer.status_code == status, answer.text
    return answer


def headrace(up: Up, *arguments: str, code: int = 0) -> str:
    line = [sys.executable, "-m", "headrace.cli", *arguments]
    env = scrubbed() | {"HEADRACE_URL": up.http}
    done = subprocess.run(line, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def test_v2_the_band_of_the_last_forecast_for_those_who_ask(up: Up) -> None:
    plain = post(up, "/v2/models/sun/infer", {}).json()
    assert [one["name"] for one in plain["outputs"]] == ["y"]
    about = plain["parameters"]
    assert (about["interval_nominal"], about["interval_days"]) == (0.9, 30)
    assert 0 <= about["interval_coverage"] <= 1 and about["interval_width"] > 0 and about["interval_n"] >= 24
    assert 0 < about["interval_active_n"] < about["interval_n"]
    assert not any(isinstance(value, dict | list | None) for value in about.values()), "parameters are single values"
    asked = {"outputs": [{"name": name} for name in ("high", "y", "low")]}
    answer = post(up, "/v2/models/sun/infer", asked).json()
    assert [(one["name"], one["shape"]) for one in answer["outputs"]] == [(n, [1, 24]) for n in ("high", "y", "low")]
    high, y, low = (np.array(one["data"]) for one in answer["outputs"])
    assert y.tolist() == plain["outputs"][0]["data"] and (low >= 0).all() and (low <= high).all()
    assert "'low'" in post(up, "/v2/models/sun/infer", {**X, "outputs": [{"name": "low"}]}, 400).json()["error"]


def test_v2_the_band_as_bytes(up: Up) -> None:
    asked = {"outputs": [{"name": "y"}, {"name": "low", "parameters": {"binary_data": True}}]}
    answer = post(up, "/v2/models/sun/infer", asked)
    size = int(answer.headers["inference-header-content-length"])
    y, low = json.loads(answer.content[:size])["outputs"]
    assert len(y["data"]) == 24 and low["parameters"] == {"binary_data_size": 24 * 8} and "data" not in low
    plain = post(up, "/v2/models/sun/infer", {"outputs": [{"name": "low"}]}).json()["outputs"]
    assert np.frombuffer(answer.content[size:], "<f8").tolist() == plain[0]["data"]


def test_coverage_and_residuals_of_a_model(up: Up) -> None:
    model = up.call("GET", "/api/models/sun?days=30").json()
    rows = model["coverage"]
    assert rows and set(rows[0]) == {
        "origin_ms", "n", "covered", "active", "active_covered", "width", "active_width",
    }  # fmt: skip
    scored = {one["origin_ms"] for one in model["scores"]}
    assert [row["origin_ms"] for row in rows] == sorted(scored)[-len(rows) :]
    assert all(0 <= row["covered"] <= row["n"] == 24 and row["width"] > 0 for row in rows)
    last = model["forecasts"][-1]["interval"]
    assert last["n"] == sum(row["n"] for row in rows)
    assert last["active"]["n"] == sum(row["active"] for row in rows)
    found = up.call("GET", "/api/models/sun/residuals").json()
    assert (found["name"], found["key"], found["unit"], found["days"]) == ("sun", "plant/one", "W", 30)
    truth = dict(map(tuple, model["actual"]))
    first = model["forecasts"][0]
    assert found["residuals"][0] == [first["origin_ms"], truth[first["origin_ms"]] - first["values"][0]]
    assert up.call("GET", "/api/models/next/residuals").status_code == 501
    assert up.call("GET", "/api/models/sun/residuals?key=nobody").status_code == 404


def test_predict_shows_the_band_and_what_it_was_worth(up: Up) -> None:
    lines = headrace(up, "predict", "sun").splitlines()
    assert lines[1].split() == ["from", "(UTC)", "forecast", "low", "high"]
    forecast, low, high = (float(text.replace(",", "")) for text in lines[14].split()[2:])
    assert 0 <= low <= high and forecast > 0
    worth = (
        r"90% band: held \d+% of the [\d,]+ outcomes of 30 days \(active hours: \d+% of [\d,]+\), mean width [\d,.]+ W"
    )
    assert re.fullmatch(worth, lines[-1]), lines[-1]
    assert "low" not in headrace(up, "predict", "next")


def test_diagnose(up: Up) -> None:
    text = headrace(up, "diagnose", "sun")
    lines = text.splitlines()
    assert lines[0].startswith("sun for plant/one: ") and lines[0].endswith("errors of the last 30 days")
    assert lines[1].split() == ["test", "statistic", "p", "at", "0.05"]
    assert [line.split()[0] for line in lines[2:5]] == ["Shapiro-Wilk", "Anderson-Darling", "D'Agostino-Pearson"]
    assert "normal" in lines[5] and len(lines) == 6
    found = json.loads(headrace(up, "diagnose", "sun", "--level", "0.01", "--json"))
    assert (found["level"], found["unit"], len(found["tests"])) == (0.01, "W", 3)
    assert f": {found['n']:,} errors" in lines[0] and found["n"] >= 48
    assert "record by record" in headrace(up, "diagnose", "next", code=1)
    assert "There is no model 'moon'" in headrace(up, "diagnose", "moon", code=1)


def test_a_scored_band_is_pushed_to_open_pages(up: Up) -> None:
    """Stands last: it moves the plant on by a day."""
    with httpx.stream("GET", f"{up.http}/api/events", timeout=20, trust_env=False, headers=up.headers) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: overview"
        while next(lines) != "event: forecast":  # the page knows everything up to here
            pass
        days = plant.DAYS + MORE
        plant.publish(up, sun.messages(days + 2)[len(sun.messages(days)) :])
        for line in lines:
            if line == "event: coverage":
                pushed = json.loads(next(lines).removeprefix("data: "))
                break
    assert (pushed["model"], pushed["key"]) == ("sun", "plant/one")
    assert pushed["coverage"] in up.call("GET", "/api/models/sun").json()["coverage"]
