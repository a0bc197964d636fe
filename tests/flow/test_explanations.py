"""Why a forecast is as it is, asked at every door of a live platform."""

from __future__ import annotations

import asyncio
import json
import queue
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from headrace.services.learning.explanations import every_row
from headrace.services.learning.store import Store
from headrace.states import unpack
from tests import plant, sun
from tests.flow.test_mqtt_predictions import Client
from tests.plant import tensor
from tests.running import Up, scrubbed

pytestmark = pytest.mark.xdist_group("explanations")  # one platform for all of them
DAYS = 10
HOUR = 3_600_000
OWN = """\
import numpy as np
class Explainer:
    def explain(self, model, x, baseline):
        print("thinking")
        base, prediction = model.predict(np.stack([baseline, x]))
        return np.repeat(((prediction - base) / x.shape[1])[:, None], x.shape[1], axis=1)
"""
RAISES = "class Explainer:\n    def explain(self, model, x, baseline):\n        return x['power']\n"
SPECS = "---".join(
    [
        sun.spec(),
        sun.STREAM_SPEC,
        sun.spec("published") + "  serve: published\n",
        sun.spec("own") + "explain: {python: {file: own.py}}\n",
        sun.spec("raises") + "explain: {python: {file: raises.py}}\n",
        sun.spec("ridge", "{ridge: {floor: 0}}", "steps"),
        sun.spec("trees", "{hist-gb: {iterations: 10}}", "steps"),
        sun.spec("later").replace("initial: 6d", "initial: 300d"),
        sun.spec("net", "{torch: {epochs: 4, options: {hidden: 8, dense: 8}}}", "steps"),
    ]
).replace(
    "publish: {improvement: 0.01, minimum: 2}\n  serve: published",
    "publish: {improvement: 0.01, minimum: 2, serve: published}",
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("why") / "data") as up:
        answer = up.apply(SPECS, {"own.py": OWN, "raises.py": RAISES})
        assert answer.status_code == 200, answer.text
        plant.publish(up, sun.messages(DAYS))
        two = sun.messages(DAYS, seed=1)
        plant.publish(up, [("plant/two/reading", payload) for _, payload in two])
        up.caught_up()
        for name in ("sun", "next", "published", "own", "raises", "net", "ridge", "trees"):
            plant.wait_ready(up, name)
        yield up
        assert "Traceback" not in up.errors(), up.errors()
        assert up.stop() == 0


def ask(up: Up, model: str, body: Any = None, **parameters: Any) -> httpx.Response:
    return up.call("POST", f"/v2/models/{model}/explain", json={**(body or {}), "parameters": parameters})


def why(up: Up, model: str, **parameters: Any) -> dict[str, Any]:
    """The explanation of an issued forecast, as the page asks for it."""
    deadline = time.monotonic() + 10
    while (answer := up.call("GET", f"/api/models/{model}/explanation", params=parameters)).status_code == 503:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def adds_up(one: dict[str, Any], tolerance: float = 1e-5) -> None:
    table = np.array(one["contributions"])
    difference = np.array(one["prediction"]) - np.array(one["base"])
    assert table.shape == (len(one["targets"]), len(one["features"]))
    assert np.abs(table.sum(axis=1) - difference).max() <= tolerance * max(1e-9, float(np.abs(difference).max()))
    assert one["completeness"] <= one["tolerance"]


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, (answer.status_code, answer.text[:300])
    assert set(answer.json()) == {"error"}
    return str(answer.json()["error"])


def weights(up: Up, model: str, role: str, key: str = "plant/one") -> Any:
    (file,) = (up.data / "state").glob(f"{model}@*.db")
    store = Store(file)
    found = store.servable(key, role)
    store.close()
    assert found is not None
    return unpack(found[1])


def last(up: Up, model: str, key: str = "plant/one") -> Any:
    return up.call("POST", f"/v2/models/{model}/infer", json={"parameters": {"key": key}}).json()


def test_the_last_forecast_of_each_device(up: Up) -> None:
    answers = [why(up, "sun", key=key) for key in ("plant/one", "plant/two")]
    for key, one in zip(("plant/one", "plant/two"), answers, strict=True):
        forecast = last(up, "sun", key)
        assert (one["key"], one["id"], one["as_issued"]) == (key, forecast["id"], True)
        assert np.allclose(one["prediction"], forecast["outputs"][0]["data"], rtol=1e-9, atol=1e-6)
        assert (one["method"], one["baseline"], one["unit"], one["by"]) == ("linear", "profile", "W", "live")
        assert [feature["label"] for feature in one["features"]][:5] == [
            "yesterday, same hour", "power 23 h before", "power 25 h before", "2 days before, same hour",
            "mean of 7 days, same hour",
        ]  # fmt: skip
        adds_up(one)
    assert answers[0]["contributions"] != answers[1]["contributions"]
    assert answers[0]["weights"] != answers[1]["weights"]


def test_contributions_are_those_of_the_weights(up: Up) -> None:
    """w * x, computed here from what the worker stored, for inputs no floor touches."""
    x = np.random.default_rng(1).random((2, 24, 10)) * 0.2 + 0.6
    body = {"inputs": [tensor("x", [2, 24, 10], x.ravel().tolist())]}
    answer = ask(up, "sun", body, key="plant/one", baseline="zero", targets=[3, 12]).json()
    state = weights(up, "sun", "live")
    w = unpack(state["data"])["weights"][:, 0]
    outputs = {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer["outputs"]}
    predicted = (x[:, [2, 11]] @ w) * state["factor"] + state["offset"]
    assert (predicted > 0).all()
    assert outputs["contributions"].shape == (2, 2, 10) and len(outputs["features"]) == 10
    assert np.allclose(outputs["contributions"], x[:, [2, 11]] * w * state["factor"], rtol=1e-9)
    assert np.allclose(outputs["prediction"], predicted, rtol=1e-9)
    assert answer["parameters"]["targets"] == [3, 12] and answer["parameters"]["origin_ms"] is None


def test_ridge_on_a_window_and_the_hour_is_exact_and_named_by_time(up: Up) -> None:
    one = why(up, "ridge", key="plant/one")
    assert (one["method"], one["note"], one["baseline"]) == ("linear", "", "profile")
    labels = [feature["label"] for feature in one["features"]]
    assert (
        len(labels) == len(set(labels)) == 60
    )  # each place of the window once, though it stands in the row of every target
    assert labels[33:36] == ["power 3 h before", "power 2 h before", "power 1 h before"]
    assert [one["origin_ms"] - feature["time_ms"] for feature in one["features"][33:36]] == [3 * HOUR, 2 * HOUR, HOUR]
    assert all(feature["time_ms"] is None for feature in one["features"][36:])
    adds_up(one, 1e-9)
    x = np.random.default_rng(1).random((24, 60)) * 0.2 + 0.6
    body = {"inputs": [tensor("x", [1, 24, 60], x.ravel().tolist())]}
    answer = ask(up, "ridge", body, key="plant/one", baseline="zero").json()
    state = weights(up, "ridge", "live")
    solved = unpack(state["data"])
    found = {part["name"]: np.array(part["data"]).reshape(part["shape"]) for part in answer["outputs"]}
    clear = (x * solved["weights"]).sum(axis=1) + solved["constant"] > 0
    clear &= solved["constant"] > 0  # above the floor: what it takes away, it takes from all
    assert clear.sum() > 6
    exact = x * solved["weights"] * state["factor"]
    assert np.abs(found["contributions"][0] - exact)[clear].max() < 1e-12 * np.abs(exact).max() * 10


def test_trees_on_a_window_name_each_place_once(up: Up) -> None:
    one = why(up, "trees", key="plant/one")
    assert one["method"] == "sampling" and len(one["features"]) == 37 == len(one["contributions"][0])
    assert one["features"][35]["label"] == "power 1 h before"
    adds_up(one)


def test_a_window_in_the_rows_of_all_targets_is_one_feature_for_each_place() -> None:
    table = np.random.default_rng(0).random((2, 2, 5))
    named = {"x.window": ["a", "b", "c"], "x.calendar": ["d", "e"]}
    parts = {
        part: [{"label": label, "time_ms": None, "value": None} for label in names] for part, names in named.items()
    }
    found, features = every_row(table, parts)
    assert [one["label"] for one in features] == [*"abc", "d, step 1", "e, step 1", "d, step 2", "e, step 2"]
    assert np.allclose(found[:, :3], table[:, :, :3].sum(axis=1), atol=0)
    assert found[:, 3:].tolist() == table[:, :, 3:].reshape(2, -1).tolist()


def test_against_zero_and_against_the_mean_profile(up: Up) -> None:
    zero, profile = (why(up, "sun", key="plant/one", baseline=name) for name in ("zero", "profile"))
    assert zero["prediction"] == profile["prediction"]
    assert max(zero["base"]) == pytest.approx(0, abs=1e-6)
    assert max(profile["base"]) > 5000
    adds_up(zero), adds_up(profile)


def test_an_older_forecast_from_the_recorded_series(up: Up) -> None:
    forecasts = up.call("GET", "/api/models/sun?days=30&key=plant/one").json()["forecasts"]
    assert len(forecasts) == 2
    newest = why(up, "sun", key="plant/one", origin_ms=forecasts[-1]["origin_ms"])
    assert newest["as_issued"] and newest["note"] == ""
    old = why(up, "sun", key="plant/one", origin_ms=forecasts[0]["origin_ms"])
    assert old["id"] == forecasts[0]["id"] and not old["as_issued"]
    assert "has learnt since" in old["note"]
    adds_up(old)
    for origin in (5, 1, 2**60):
        answer = up.call("GET", f"/api/models/sun/explanation?origin_ms={origin}")
        assert answer.status_code in {400, 404}, answer.text


def test_the_inputs_found_again_are_those_it_saw(up: Up) -> None:
    """Derived from the recorded series in watts, and kept by the lane in scaled units: the same forecast."""
    from headrace.services.learning.explanations import evidence_of, recorded
    from headrace.services.learning.plan import Plan
    from headrace.services.learning.registry import Applied, Entered
    from headrace.services.learning.view import View
    from headrace.spec import parse

    (document,) = parse(sun.spec())
    (file,) = (up.data / "state").glob("sun@*.db")
    entered = Entered(Applied(document.plain), int(file.stem.rpartition("@")[2]), ".", Plan(document.spec))
    view = View(entered, up.data)
    evidence = asyncio.run(evidence_of(view, "plant/one"))
    rows = np.array([recorded(view, "plant/one", evidence["origin"] // 10**6)], dtype=np.float64)
    found = view.inputs.of(rows, np.array([evidence["origin"]]), view.scale("plant/one"))
    assert np.allclose(found[0], evidence["x"], atol=1e-12)
    assert asyncio.run(evidence_of(view, "plant/nine")) == {}
    view.close()


def test_what_is_served_is_what_is_explained(up: Up) -> None:
    live, published = why(up, "sun", key="plant/one"), why(up, "published", key="plant/one")
    forecast = last(up, "published")
    assert live["by"] == "live" and published["by"] == published["weights"] == forecast["parameters"]["by"]
    assert published["by"].startswith("sha256:") and published["weights"] != live["weights"]
    assert published["as_issued"]
    adds_up(published)


def test_v1_gives_one_explanation_for_each_instance(up: Up) -> None:
    history = [float(value) for value in np.arange(200) % 24 * 700]
    origin = sun.START // 10**6 + 10 * 24 * 3_600_000
    body = {"instances": [{"history": history, "origin_ms": origin}] * 2, "parameters": {"key": "plant/two"}}
    answer = up.call("POST", "/v1/models/sun:explain", json=body)
    first, second = answer.json()["explanations"]
    assert first == second and first["origin_ms"] == origin and first["key"] == "plant/two"
    predicted = up.call("POST", "/v1/models/sun:predict", json=body).json()["predictions"][0]
    assert np.allclose(first["prediction"], predicted, rtol=1e-9, atol=1e-6)
    adds_up(first)
    plain = up.call("POST", "/v1/models/sun:explain", json={"instances": [history]}).json()["explanations"]
    assert len(plain) == 1
    for empty in (b"", b'{"instances": []}'):
        (one,) = up.call("POST", "/v1/models/sun:explain", content=empty).json()["explanations"]
        assert one["as_issued"]


def test_a_stream_without_a_grid(up: Up) -> None:
    one = why(up, "next", key="plant/one")
    assert (one["baseline"], one["step_ms"], len(one["features"])) == ("zero", 0, 6)
    assert one["features"][-1]["label"] == "power of the newest reading" and one["as_issued"]
    adds_up(one)
    assert "use baseline zero" in refused(ask(up, "next", baseline="profile"), 400)
    older = up.call("GET", "/api/models/next?key=plant/one").json()["forecasts"][-3]["origin_ms"]
    answer = up.call("GET", f"/api/models/next/explanation?key=plant/one&origin_ms={older}")
    assert "the last forecast can be explained" in refused(answer, 501)


def test_a_network_by_deeplift_and_its_cross_checks(up: Up) -> None:
    for key in ("plant/one", "plant/two"):
        one = why(up, "net", key=key)
        assert (one["method"], one["baseline"]) == ("deeplift", "profile")
        assert one["completeness"] < 1e-9 and one["as_issued"]
        adds_up(one)
    features = one["features"]
    assert (features[0]["label"], features[-1]["label"]) == ("power 36 h before", "power 1 h before")
    assert features[-1]["time_ms"] == one["origin_ms"] - 3_600_000
    series = dict(up.call("GET", "/api/models/net?days=30&key=plant/two").json()["actual"])
    assert all(feature["value"] == pytest.approx(series[feature["time_ms"]], abs=0.1) for feature in features)
    gradients, sampled = (why(up, "net", key="plant/two", method=name) for name in ("integrated_gradients", "sampling"))
    flat = [np.ravel(found["contributions"]) for found in (one, gradients, sampled)]
    assert np.corrcoef(flat)[0].min() > 0.9
    assert gradients["tolerance"] == 0.1 and "50 points" in gradients["note"]
    adds_up(gradients, 0.1), adds_up(sampled)


def test_ones_own_explainer(up: Up) -> None:
    one = why(up, "own", key="plant/one")
    assert one["method"] == "python own.py" and one["tolerance"] == 0.01
    table = np.array(one["contributions"])
    assert np.allclose(table, table[:, :1])
    adds_up(one)
    assert why(up, "own", key="plant/one", method="linear")["method"] == "linear"


def test_ones_own_explainer_that_raises(up: Up) -> None:
    reason = refused(ask(up, "raises", key="plant/one"), 422)
    assert reason.startswith("No explanation: raises.py:3: IndexError: only integers"), reason
    assert reason.endswith("mend the explainer and apply it again.")
    assert why(up, "raises", key="plant/one", method="auto")["method"] == "linear"
    assert last(up, "raises")["outputs"][0]["shape"] == [1, 24]


def test_questions_that_have_no_answer(up: Up) -> None:
    for path in ("/v1/models/moon:explain", "/v2/models/moon/explain"):
        assert "moon" in refused(up.call("POST", path, json={"instances": []}), 404)
    refused(up.call("GET", "/api/models/moon/explanation"), 404)
    assert "plant/nine" in refused(ask(up, "sun", key="plant/nine"), 404)
    assert "later" in refused(ask(up, "later"), 503)
    refused(up.call("GET", "/api/models/later/explanation"), 503)
    refused(up.call("POST", "/v2/models/sun/versions/77/explain", json={}), 404)
    body = {"inputs": [tensor("x", [1, 3, 3], [0.0] * 9)]}
    assert "shape [1, 3, 3], expected [n, 24, 10]" in refused(ask(up, "sun", body), 400)
    many = {"inputs": [tensor("x", [17, 24, 10], [0.5] * 4080)]}
    assert "17 examples to explain, expected 1 to 16" in refused(ask(up, "sun", many), 400)
    assert "integrated_gradients" in refused(ask(up, "sun", method="deep"), 400)
    assert "looks into a network" in refused(ask(up, "sun", method="deeplift"), 501)
    assert "has no explainer of its own" in refused(ask(up, "sun", method="python"), 400)
    for wrong in (
        {"targets": [0]},
        {"targets": [25]},
        {"targets": ["1"]},
        {"baseline": "mean"},
        {"method": 5},
        {"key": 5},
    ):
        refused(ask(up, "sun", **wrong), 400)
    refused(up.call("POST", "/v1/models/sun:explain", json={"instances": [{"x": [1]}]}), 400)
    refused(up.call("POST", "/v2/models/sun/explain", content=b"{"), 400)


def test_announced(up: Up) -> None:
    assert "headrace_explain" in up.call("GET", "/v2").json()["extensions"]


@pytest.mark.parametrize("version", [4, 5])
def test_over_mqtt(up: Up, version: int) -> None:
    client = Client(up, version, f"why{version}")
    client.subscribe(f"headrace/explain/+/response/why{version}")
    client.subscribe("headrace/explain/sun/response/someone")

    def asked(model: str, body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        client.publish(f"headrace/explain/{model}", content)
        return json.loads(client.receive().payload)

    (one,) = asked("sun", b"")["explanations"]
    assert one["method"] == "linear" and one["as_issued"]
    v2 = asked("sun", {"parameters": {"key": "plant/two", "targets": [12]}})
    assert (v2["model_name"], v2["parameters"]["key"]) == ("sun", "plant/two")
    (v1,) = asked("sun", {"instances": [], "parameters": {"key": "plant/two", "targets": 12}})["explanations"]
    assert v1["contributions"][0] == v2["outputs"][0]["data"]
    assert "moon" in asked("moon", b"")["error"]
    assert "raises.py:3" in asked("raises", b"")["error"]
    assert "error" in asked("sun", b'{"instances": 5}')
    assert "name a step twice" in asked("sun", {"parameters": {"targets": [1] * 5000}})["error"]
    client.client.disconnect()
    client.client.loop_stop()


def test_an_answer_that_fits_in_no_packet_says_so(up: Up) -> None:
    mail = queue.Queue[bytes]()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "small", protocol=paho.MQTTv5)
    client.on_message = lambda _client, _data, message: mail.put(message.payload)
    client.on_subscribe = lambda *_: mail.put(b"")
    properties = Properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = 2000
    client.connect(*up.mqtt, properties=properties)
    client.loop_start()
    try:
        client.subscribe("headrace/+/+/response/small", 1)
        mail.get(timeout=5)
        client.publish("headrace/explain/sun", b"", 1)
        error = json.loads(mail.get(timeout=10))["error"]
        assert re.search(r"the answer is \d+,\d+ bytes and a packet has room for 1,\d\d\d; ask for less", error), error
        client.publish("headrace/explain/sun", b'{"parameters": {"targets": [12]}}', 1)
        assert json.loads(mail.get(timeout=10))["parameters"]["targets"] == [12]
        many = json.dumps({"instances": [[1.0] * 200] * 16})
        client.publish("headrace/predict/sun", many, 1)
        assert "the answer is" in json.loads(mail.get(timeout=10))["error"]
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_small_question_gets_no_large_answer(up: Up) -> None:
    for targets in ([1] * 500_000, [1, 2, 1], [*range(1, 25), 24]):
        begin = time.monotonic()
        error = refused(ask(up, "sun", targets=targets), 400)
        assert error == "targets name a step twice; name each of 1 to 24 once, or none for all."
        body = {"instances": [], "parameters": {"targets": targets}}
        assert refused(up.call("POST", "/v1/models/sun:explain", json=body), 400) == error
        assert time.monotonic() - begin < 2
    assert ask(up, "sun", targets=list(range(1, 25))).status_code == 200
    assert "1 to 24" in refused(ask(up, "sun", targets=list(range(1, 500_000))), 400)
    body = {"inputs": [tensor("x", [17, 24, 10], [0.5] * 17 * 240)]}
    assert "expected 1 to 16" in refused(ask(up, "sun", body), 400)


def command(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "headrace.cli", "explain", *arguments, "--url", up.http]
    return subprocess.run(line, capture_output=True, text=True, env=scrubbed(), timeout=60, check=False)


def test_the_command(up: Up) -> None:
    done = command(up, "net", "--key", "plant/one", "--target", "12")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("net for plant/one, 2023-11-24 11:00:00 (UTC), step 12 ahead, by the learning model")
    assert lines[1].startswith("forecast ") and "W for the baseline (profile)" in lines[1]
    assert lines[2].startswith("method deeplift, adds up within")
    assert "power" in done.stdout and ("+" * 24 in done.stdout or "-" * 24 in done.stdout)
    assert "the other 21" in done.stdout
    (plain,) = json.loads(command(up, "net", "--key", "plant/one", "--target", "12", "--json").stdout)["contributions"]
    assert len(plain) == 36
    missing = command(up, "moon")
    assert missing.returncode == 1 and "there is no model 'moon'" in missing.stderr.lower()


@pytest.mark.parametrize(
    ("written", "line", "message"),
    [
        ("explain: {depplift: {}}", 12, "did you mean 'deeplift'"),
        (
            "explain: {sampling: {pairs: 0}}",
            12,
            "explain.sampling.pairs: expected greater than or equal to 1|pairs: .*1, got 0",
        ),
        ("explain: deeplift", 12, "'deeplift' explains networks, and backend 'rls' is none"),
        ("explain: {python: {file: none.py}}", 12, "'none.py' was not found beside the spec"),
        ("explain: {python: {file: own.py, class: Other}}", 12, "expected a class 'Other'"),
        ("explain: {python: {file: empty.py}}", 12, "has no explain"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_line(up: Up, written: str, line: int, message: str) -> None:
    text = sun.spec("wrong").lstrip("\n") + written + "\n"
    assert len(text.splitlines()) == line
    answer = up.apply(text, {"own.py": OWN, "empty.py": "class Explainer:\n    pass\n"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].startswith(f"headrace.yaml:{line}: explain"), answer.json()
    assert re.search(message, answer.json()["error"]), answer.json()


def test_the_platform_itself_loads_no_torch(up: Up) -> None:
    """Only the explainer process and the network's own worker do."""
    why(up, "net", key="plant/one")
    maps = Path(f"/proc/{up.process.pid}/maps").read_text()
    assert "libtorch" not in maps
