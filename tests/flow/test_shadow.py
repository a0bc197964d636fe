"""A candidate runs beside the model in service on the inverter's record, is compared, replayed and promoted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.examples.pv import phases, publisher
from headrace.records import CONTROL, DAY
from headrace.spec import plain_documents
from headrace.streams.logs import open_reader
from tests import plant
from tests.flow.test_crash import result
from tests.flow.test_mqtt_predictions import Client
from tests.running import Up, free_port, scrubbed

pytestmark = pytest.mark.xdist_group("shadow")  # one platform for all of them
DAYS = 50
TOPIC = "plant/trio/reading"
SERVED = next(
    document
    for document in plain_documents(files("headrace.examples.pv").joinpath("headrace.yaml").read_text())
    if document["metadata"]["name"] == "pv-rls"
)
BROKEN = """\
class Step:
    def __init__(self, params, context): self.seen = 0
    def apply(self, rows):
        self.seen += len(rows)
        if self.seen > 3000: raise ValueError("a candidate's mistake")
        return rows
    def state(self): return {"seen": self.seen}
    def load(self, state): self.seen = state["seen"]
"""


def spec(name: str, **changes: Any) -> str:
    """The example's model with other fields."""
    return yaml.safe_dump({**SERVED, "metadata": {"name": name}, **changes}, sort_keys=False)


PLAIN = spec("plain", backend="hour-mean", shadow="pv-rls")
"""One that forecasts something else."""
SAME = spec("same", shadow="pv-rls")
FAILS = spec("fails", shadow="pv-rls", transform=[{"python": {"file": "broken.py"}}, *SERVED["transform"]])


def days(first: int, count: int) -> list[tuple[str, bytes]]:
    """The record of some days, a message each."""
    start = publisher.midnight("2018-11-08")
    blocks = (phases.history(start + day * DAY, start + (day + 1) * DAY) for day in range(first, first + count))
    return [(TOPIC, b"[" + b",".join(phases.payloads(block)) + b"]") for block in blocks]


def headrace(up: Up | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = scrubbed() | ({"HEADRACE_URL": up.http} if up is not None else {})
    line = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=120, check=False)


def good(up: Up | None, *arguments: str) -> str:
    done = headrace(up, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def bad(up: Up | None, *arguments: str) -> str:
    done = headrace(up, *arguments)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    return done.stderr


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise TimeoutError


def models(up: Up) -> dict[str, Any]:
    return {one["name"]: one for one in up.overview()["models"]}


def shadows(up: Up, name: str = "pv-rls") -> dict[str, dict[str, Any]]:
    return {one["candidate"]: one for one in up.call("GET", f"/api/models/{name}/shadows").json()}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A model that has served 46 days; three shadows come late, and with them four days more."""
    with Up(tmp_path_factory.mktemp("shadow") / "data") as up:
        assert up.apply(spec("pv-rls")).is_success
        plant.publish(up, days(0, DAYS - 4))
        up.caught_up()
        answer = up.apply(PLAIN + "---\n" + SAME + "---\n" + FAILS, {"broken.py": BROKEN})
        assert answer.is_success, answer.text
        plant.publish(up, days(DAYS - 4, 4))
        until(lambda: models(up)["fails"]["state"] == "failed")
        up.caught_up()
        until(lambda: up.call("POST", "/v2/models/pv-rls/infer", json={}).is_success)
        yield up


# -- unserved


def test_a_shadow_is_not_served(up: Up) -> None:
    assert up.call("GET", "/v2/models").json() == {"models": ["pv-rls"]}
    assert up.call("GET", "/v1/models").json() == {"models": ["pv-rls"]}
    assert [one["name"] for one in up.call("POST", "/v2/repository/index").json()] == ["pv-rls"]
    asked = [
        ("POST", "/v2/models/plain/infer"), ("POST", "/v2/models/plain/learn"), ("POST", "/v2/models/plain/feedback"),
        ("GET", "/v2/models/plain"), ("GET", "/v2/models/plain/ready"), ("POST", "/v1/models/plain:predict"),
        ("POST", "/v2/models/plain/explain"),
        ("POST", "/v1/models/plain:explain"), ("POST", "/v2/models/plain/versions/1/infer"), ("POST", "/v2/repository/models/plain/load"),
    ]  # fmt: skip
    for method, path in asked:
        answer = up.call(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 404, path
        assert "'plain' is a shadow of 'pv-rls' and is not served: ask 'pv-rls'" in answer.json()["error"]
    assert "is a shadow of" in bad(up, "predict", "plain")


def test_its_forecasts_go_nowhere_and_those_of_the_served_do(up: Up) -> None:
    client = Client(up, 5, "listener")
    try:
        client.subscribe("headrace/forecast/#")
        kept = client.receive()
        assert kept.retain and kept.topic == "headrace/forecast/pv-rls/plant_trio"
        time.sleep(0.5)
        assert client.mail.empty(), client.mail.get().topic
        client.subscribe("answers/me")
        assert "'plain' is a shadow" in str(client.ask("plain", b""))
        client.subscribe("headrace/explain/plain/response/listener")
        for body in (b"", b'{"instances": []}', b'{"parameters": {}}'):
            client.publish("headrace/explain/plain", body)
            assert "'plain' is a shadow of 'pv-rls' and is not served" in json.loads(client.receive().payload)["error"]
    finally:
        client.client.disconnect()
        client.client.loop_stop()


def test_it_learns_and_is_shown_all_the_same(up: Up) -> None:
    shown = models(up)
    assert {name: one["shadow_of"] for name, one in shown.items()} == {
        "pv-rls": "", "plain": "pv-rls", "same": "pv-rls", "fails": "pv-rls"
    }  # fmt: skip
    assert shown["plain"]["state"] == shown["same"]["state"] == "live"
    page = up.call("GET", "/api/models/same?days=60").json()
    served = up.call("GET", "/api/models/pv-rls?days=60").json()
    assert len(page["scores"]) in {DAYS - 17, DAYS - 16}
    assert page["scores"] == served["scores"]
    assert [one["values"] for one in page["forecasts"]] == [one["values"] for one in served["forecasts"]]
    assert "plain: a shadow of pv-rls, not served" in good(up, "get")


def test_one_that_fails_does_not_disturb_the_served_one(up: Up) -> None:
    failed = models(up)["fails"]
    assert "broken.py:5" in failed["detail"] and "a candidate's mistake" in failed["detail"]
    told = shadows(up)["fails"]
    assert told["verdict"].startswith("stopped by an error: broken.py:5: ") and told["failed"] in told["verdict"]
    assert "fails against pv-rls: stopped by an error: broken.py:5: " in good(up, "shadows", "pv-rls")
    assert models(up)["pv-rls"]["state"] == "live"
    assert len(up.workers()) == 4, "each shadow has a worker of its own"
    assert b"headrace_worker_restarts 0.0" in up.call("GET", "/metrics").content


# -- compared


def test_people_may_ask_why_a_shadow_forecast_what_it_did(up: Up) -> None:
    """The page and `headrace explain` compare candidates; the doors of protocols do not serve them."""
    found = up.call("GET", "/api/models/same/explanation").json()
    assert found["name"] == "same" and found["contributions"], found
    assert good(up, "explain", "same").startswith("same for plant/trio")


def test_the_paired_comparison(up: Up) -> None:
    found = shadows(up)
    assert set(found) == {"plain", "same", "fails"}
    plain, same, fails = found["plain"], found["same"], found["fails"]
    assert plain["days"] == same["days"] >= 33 and plain["key"] == "plant/trio" and plain["unit"] == "W"
    assert same["change"] == 0 and same["verdict"].startswith("no difference over ") and not same["more_than_luck"]
    assert abs(plain["change"]) > 0.01 and f" over {plain['days']} days; a difference" in plain["verdict"]
    assert 0 < plain["p"] <= 1 and plain["more_than_luck"] is (plain["p"] * 2 <= 0.05)
    assert plain["comparisons"] == 2 and "2 comparisons were made" in plain["verdict"]
    assert fails["days"] == 0 and fails["verdict"].startswith("stopped by an error: ")
    assert up.call("GET", "/api/models/plain/shadows").json() == [plain]
    assert up.call("GET", "/api/models/moon/shadows").status_code == 404


def test_it_is_in_the_unit_of_the_target(up: Up) -> None:
    """The daily errors computed by hand from what was forecast and what was measured."""
    page = up.call("GET", "/api/models/plain?days=60").json()
    truth = dict(page["actual"])
    first = page["forecasts"][0]
    squares = [
        (value - truth[first["origin_ms"] + hour * 3_600_000]) ** 2 for hour, value in enumerate(first["values"])
    ]
    day = shadows(up)["plain"]["daily"][0]
    assert day["day"] == time.strftime("%Y-%m-%d", time.gmtime(first["origin_ms"] / 1000 - 8 * 3600))
    n = page["scores"][0]["contenders"]["live"]["n"]
    assert n == 24 and day["candidate"] == pytest.approx(sum(squares) / n)


def test_headrace_shadows(up: Up) -> None:
    text = good(up, "shadows", "pv-rls")
    assert "plain against pv-rls for plant/trio: candidate is" in text and "mean squared error (W²): " in text
    assert json.loads(good(up, "shadows", "pv-rls", "--json")) == list(shadows(up).values())
    assert "There is no model 'moon'" in bad(up, "shadows", "moon")


# -- refused


def test_a_model_with_shadows_is_not_deleted_and_a_wrong_shadow_not_applied(up: Up) -> None:
    answer = up.call("DELETE", "/api/specs/pv-rls")
    assert answer.status_code == 409
    assert "'pv-rls' is what 'fails', 'plain', 'same' is compared with; `headrace promote`" in answer.json()["error"]
    line = up.apply(spec("more", shadow="plain")).json()["error"]
    assert "shadow: 'plain' is itself a shadow, of 'pv-rls'" in line
    line = up.apply(spec("pv-rls", forecast={"horizon": 12, "every": "1d"})).json()["error"]
    assert "forecast.horizon: its shadow 'fails' could no longer be compared with it" in line
    assert up.call("POST", "/api/models/pv-rls/promote").status_code == 400
    answer = up.call("POST", "/api/models/fails/promote")
    assert answer.status_code == 409 and "'fails' is failed" in answer.json()["error"]
    assert up.call("POST", "/api/models/moon/promote").status_code == 404
    assert "what is in service stays" in bad(up, "promote", "fails")


# -- replayed, while the platform runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("specs")
    (folder / "served.yaml").write_text(spec("pv-rls"))
    (folder / "two.yaml").write_text(PLAIN + "---\n" + SAME)
    (folder / "fails.yaml").write_text(FAILS)
    (folder / "broken.py").write_text(BROKEN)
    return folder


def replay(up: Up, file: Path, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        good(up, "replay", "-f", str(file), "--data", str(up.data), "--json", *more)
    )
    return found


def test_the_served_spec_replayed_gives_the_served_forecasts(up: Up, folder: Path) -> None:
    (found,) = replay(up, folder / "served.yaml", "--last", "100d")
    count = len(up.call("GET", "/api/models/pv-rls?days=60").json()["forecasts"])
    note = (
        f"the candidate's spec is the one in service: {count} of its {count} forecasts are the served ones, bit for bit"
    )
    assert found["notes"] == [note] and count >= 34
    assert found["change"] == 0


def test_what_a_shadow_found_live_a_replay_finds_on_the_log(up: Up, folder: Path) -> None:
    live = shadows(up)
    for one in replay(up, folder / "two.yaml", "--last", "100d"):
        assert one.pop("notes") == []
        assert one == live[one["candidate"]]
    newest = replay(up, folder / "two.yaml")
    assert {one["days"] for one in newest} == {30}
    plain = next(one for one in newest if one["candidate"] == "plain")
    assert plain["daily"] == live["plain"]["daily"][-30:]


def test_replay_for_people(up: Up, folder: Path) -> None:
    text = good(up, "replay", "-f", str(folder / "served.yaml"), "--data", str(up.data), "--last", "5d")
    assert "pv-rls against pv-rls for plant/trio: too few days (5) to tell; at least 24 are needed" in text
    assert "2018-12-2" in text and "note: the candidate's spec is the one in service" in text
    done = headrace(up, "replay", "-f", str(folder / "fails.yaml"), "--data", str(up.data))
    assert done.returncode == 1 and done.stderr == ""
    assert "fails against pv-rls: broken.py:5: ValueError: a candidate's mistake" in done.stdout


def test_replays_that_cannot_be(up: Up, folder: Path, tmp_path: Path) -> None:
    served, here = str(folder / "served.yaml"), ("--data", str(up.data))
    line = bad(up, "replay", "-f", served, "--data", str(tmp_path / "none"))
    assert "There is no recorded log in" in line and "write `shadow: NAME` into its spec" in line
    assert not (tmp_path / "none").exists()
    assert "'moon' is not in service" in bad(up, "replay", "-f", served, *here, "--against", "moon")
    assert "expected some time, such as 30d" in bad(up, "replay", "-f", served, *here, "--last", "0d")
    assert "expected a duration such as" in bad(up, "replay", "-f", served, *here, "--last", "soon")
    (tmp_path / "new.yaml").write_text(spec("new"))
    assert "--against says which model 'new' is compared with" in bad(
        up, "replay", "-f", str(tmp_path / "new.yaml"), *here
    )
    (tmp_path / "wrong.yaml").write_text(spec("new", backend="rsl", shadow="pv-rls"))
    lines = bad(up, "replay", "-f", str(tmp_path / "wrong.yaml"), *here)
    assert "did you mean 'rls'?" in lines and lines.endswith("headrace: nothing was replayed\n")
    (tmp_path / "other.yaml").write_text(spec("new", forecast={"horizon": 12, "every": "1d"}, shadow="pv-rls"))
    lines = bad(up, "replay", "-f", str(tmp_path / "other.yaml"), *here)
    assert "forecast.horizon: expected 24 as 'pv-rls' has it, got 12" in lines


def test_ctrl_c_leaves_nothing_behind(up: Up, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(
        spec("slow", shadow="pv-rls", transform=[{"python": {"file": "slow.py"}}, *SERVED["transform"]])
    )
    slow = BROKEN.replace("if self.seen > 3000: raise", "import time; time.sleep(60)\n        if 0: raise")
    (tmp_path / "slow.py").write_text(slow.replace("self.seen += len(rows)", "print('I talk')"))
    (tmp_path / "tmp").mkdir()
    line = [sys.executable, "-m", "headrace.cli", "replay", "-f", str(tmp_path / "slow.yaml"), "--data", str(up.data)]
    env = scrubbed() | {"TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, start_new_session=True
    ) as process:
        assert process.stderr is not None and process.stderr.readline() == b"I talk\n"
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (130, b"", b"")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_pushed_replay_is_a_report(up: Up, folder: Path) -> None:
    """What is sent, taken by a server of the test's own: the reports' door is another service's."""
    import http.server
    import threading

    taken: list[tuple[str, dict[str, Any]]] = []

    class Door(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            taken.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", free_port()), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        good(None, "replay", "-f", str(folder / "two.yaml"), "--data", str(up.data), "--push", "--url", url)
        server.shutdown()
        thread.join()
    assert [path for path, _ in taken] == ["/api/reports/replay-plain-pv-rls", "/api/reports/replay-same-pv-rls"]
    report = taken[0][1]
    assert report["kind"] == "replay" and [one["name"] for one in report["columns"]] == [
        "key",
        "day",
        "candidate",
        "served",
    ]
    assert len(report["rows"]) == 30 and set(report["rows"][0]) == {"key", "day", "candidate", "served"}
    assert report["columns"][2]["unit"] == "W²" and "plant/trio: candidate is" in report["notes"][0]


# -- killed, promoted (these come last: they change the platform)


def test_kill_9_and_promotion(up: Up, tmp_path: Path) -> None:
    before = shadows(up)
    assert up.call("DELETE", "/api/specs/fails").is_success
    plain = next(worker for worker in up.workers() if worker_of(worker.pid, "plain@"))
    plain.kill()
    up.kill()
    with Up(up.data) as again:
        again.caught_up()
        found = until(lambda: same_days(shadows(again), before["plain"]["days"]))
        assert found["plain"]["daily"] == before["plain"]["daily"]
        plant.publish(again, days(DAYS, 2))
        again.caught_up()
        promoted(again)
        assert again.stop() == 0
    kinds = []
    log = open_reader(up.data)
    for record in log.read(0, 10**6, [CONTROL]):
        entry = json.loads(record.payload)
        names = [one["plain"]["metadata"]["name"] for one in entry.get("documents", [])]
        kinds.append((entry["kind"], names or entry["name"], entry.get("deletes", [])))
    log.close()
    assert kinds[-2:] == [("delete", "fails", []), ("apply", ["pv-rls"], ["plain"])]
    expected = fresh(tmp_path / "calm")
    assert result(up.data)["pv-rls"] == expected, "the promoted model is not what its spec makes of the log"


def promoted(up: Up) -> None:
    """`headrace promote`: answers go on, first the last generation's, then the candidate's."""
    old = up.call("POST", "/v2/models/pv-rls/infer", json={}).json()
    wanted = up.call("GET", "/api/models/plain?days=3").json()["forecasts"][-1]
    listener = Client(up, 5, "listener")
    listener.subscribe("headrace/forecast/#")
    assert json.loads(listener.receive().payload)["values"] == pytest.approx(old["outputs"][0]["data"])
    assert "plain: promoted, it is now pv-rls" in good(up, "promote", "plain")

    def new() -> Any:
        answer = up.call("POST", "/v2/models/pv-rls/infer", json={})
        assert answer.is_success, f"there was no answer meanwhile: {answer.text}"
        return answer.json() if answer.json()["model_version"] != old["model_version"] else None

    answer = until(new)
    assert answer["outputs"][0]["data"] == pytest.approx(wanted["values"])
    published = json.loads(listener.receive().payload)
    assert (published["model"], published["values"]) == ("pv-rls", pytest.approx(wanted["values"]))
    time.sleep(0.5)
    assert listener.mail.empty(), "the whole history was published again"
    listener.client.disconnect()
    listener.client.loop_stop()
    assert answer["outputs"][0]["data"] != pytest.approx(old["outputs"][0]["data"])
    assert set(models(up)) == {"pv-rls", "same"} and set(shadows(up)) == {"same"}
    until(lambda: len({file.name.split(".")[0] for file in (up.data / "state").glob("*@*")}) == 2)


def same_days(found: dict[str, Any], count: int) -> Any:
    return found if found["plain"]["days"] >= count else None


def worker_of(pid: int, name: str) -> bool:
    """Whether a process has a file of that name open."""
    return any(name in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists())


def fresh(data: Path) -> Any:
    """The candidate's spec under the served name, on a platform that has never known another."""
    with Up(data) as up:
        assert up.apply(spec("pv-rls", backend="hour-mean")).is_success
        plant.publish(up, days(0, DAYS + 2))
        up.caught_up()
        assert up.stop() == 0
    return result(data)["pv-rls"]
