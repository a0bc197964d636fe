"""Models come into service, change and go through entries in the log; what belonged to the old ones goes with them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.records import CONTROL
from headrace.streams.logs import open_reader
from tests import plant, sun
from tests.running import Up

STEP = """\
class Step:
    def __init__(self, params, context): self.factor = params.get("factor", 1)
    def apply(self, rows):
        from headrace.records import Rows
        return Rows(rows.time, {name: values * self.factor for name, values in rows.columns.items()})
    def state(self): return {}
    def load(self, state): ...
"""
OWN = sun.spec("own").replace("transform:\n", "transform:\n  - python: {file: step.py, params: {factor: 2}}\n")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with Up(tmp_path / "data") as up:
        yield up


def changes(up: Up, text: str, files: dict[str, str] | None = None) -> dict[str, str]:
    answer = up.apply(text, files)
    assert answer.status_code == 200, answer.text
    found: dict[str, str] = answer.json()["changes"]
    return found


def generations(up: Up) -> dict[str, int]:
    return {one["name"]: one["generation"] for one in up.call("GET", "/api/specs").json()}


def states(data: Path) -> set[str]:
    return {file.name for file in (data / "state").glob("*@*")}


def controls(data: Path) -> list[dict[str, Any]]:
    log = open_reader(data)
    found = [json.loads(record.payload) for record in log.read(0, 10**6, [CONTROL])]
    log.close()
    return found


def last(up: Up, name: str) -> dict[str, Any]:
    found: dict[str, Any] = up.call("POST", f"/v2/models/{name}/infer", json={}).json()
    return found


def renewed(up: Up, name: str, old: int) -> dict[str, Any]:
    """The last forecast of the new generation; until it is there, the old one answers."""
    for _ in range(300):
        answer = last(up, name)
        assert "error" not in answer, answer
        if answer["model_version"] != str(old):
            return answer
        time.sleep(0.1)
    raise TimeoutError(name)


def test_the_life_of_a_model(up: Up, tmp_path: Path) -> None:
    """Created, unchanged, restarted, changed (and computed anew from the log), deleted, back again."""
    assert changes(up, sun.spec()) == {"sun": "created"}
    assert changes(up, sun.spec() + "# a comment\n") == {"sun": "unchanged"}
    plant.publish(up, sun.messages(9))
    up.caught_up()
    plant.wait_ready(up, "sun")
    first, generation = last(up, "sun"), generations(up)["sun"]

    assert up.stop() == 0
    with Up(up.data) as again:
        assert changes(again, sun.spec()) == {"sun": "unchanged"}
        assert generations(again) == {"sun": generation} and last(again, "sun") == first

        other = sun.spec().replace("floor: 0}}", "floor: 0, forget: 0.98}}", 1)
        assert changes(again, other) == {"sun": "changed"}
        assert generations(again)["sun"] > generation
        second = renewed(again, "sun", generation)
        assert second["outputs"][0]["data"] != first["outputs"][0]["data"]
        assert second["parameters"]["origin_ms"] == first["parameters"]["origin_ms"], "it has not read the whole log"
        assert {name.split(".")[0] for name in states(again.data)} == {f"sun@{generations(again)['sun']}"}

        assert again.call("DELETE", "/api/specs/sun").json() == {"deleted": "sun"}
        assert generations(again) == {} and states(again.data) == set()
        assert again.call("DELETE", "/api/specs/sun").status_code == 404
        assert again.call("POST", "/v2/models/sun/infer", json={}).status_code == 404
        assert changes(again, sun.spec()) == {"sun": "created"}
        again.caught_up()
        plant.wait_ready(again, "sun")
        assert last(again, "sun")["outputs"] == first["outputs"], "the same spec over the same log differs"
        assert again.stop() == 0
    kinds = [
        (one["kind"], one.get("name") or one["documents"][0]["plain"]["metadata"]["name"]) for one in controls(up.data)
    ]
    assert kinds == [("apply", "sun"), ("apply", "sun"), ("delete", "sun"), ("apply", "sun")]


def test_all_or_none(up: Up) -> None:
    wrong = sun.spec("moon", "rsl")
    answer = up.apply(sun.spec() + "---" + wrong)
    assert answer.status_code == 400 and "did you mean 'rls'?" in answer.json()["error"]
    assert generations(up) == {} and controls(up.data) == []
    assert changes(up, sun.spec() + "---" + sun.spec("moon")) == {"sun": "created", "moon": "created"}
    assert up.apply(sun.spec(examples="steps") + "---" + wrong).status_code == 400
    assert changes(up, sun.spec() + "---" + sun.spec("moon")) == {"sun": "unchanged", "moon": "unchanged"}


def test_dry_run_changes_nothing(up: Up) -> None:
    answer = up.call("PUT", "/api/specs?dry_run=1", json={"text": sun.spec()})
    assert answer.json() == {"changes": {"sun": "created"}}
    assert generations(up) == {} and controls(up.data) == []


def test_a_users_file_is_part_of_the_spec(up: Up) -> None:
    assert changes(up, OWN, {"step.py": STEP, "other.py": "not used"}) == {"own": "created"}
    assert changes(up, OWN, {"step.py": STEP}) == {"own": "unchanged"}
    before = {folder.name for folder in (up.data / "code").iterdir()}
    assert changes(up, OWN, {"step.py": STEP + "# new\n"}) == {"own": "changed"}
    after = {folder.name for folder in (up.data / "code").iterdir()}
    assert len(before) == len(after) == 1 and before != after, "the old code is still there"
    (folder,) = (up.data / "code").iterdir()
    assert [file.name for file in folder.glob("*.py")] == ["step.py"]
    assert "transform.0.python.file" in up.apply(OWN).json()["error"]


def test_what_a_crash_left_behind_is_swept_at_the_start(up: Up) -> None:
    changes(up, sun.spec())
    plant.publish(up, sun.messages(2))
    up.caught_up()
    up.kill()
    state = up.data / "state"
    for name in ("sun@99.db", "sun@99.db-wal", "gone@1.db", "gone@1.db-shm"):
        (state / name).write_bytes(b"old")
    (up.data / "code" / "0123").mkdir()
    with Up(up.data) as again:
        again.caught_up()
        assert {name.split(".")[0] for name in states(up.data)} == {f"sun@{generations(again)['sun']}"}
        assert not (up.data / "code" / "0123").exists()


def test_specs_from_foreign_hands(up: Up) -> None:
    def put(**body: Any) -> tuple[int, str]:
        answer = up.call("PUT", "/api/specs", json=body)
        return answer.status_code, answer.json()["error"]

    assert put(text="x" * 300_000)[0] == 400
    assert put(text="a: &a [*a]")[1] == "headrace.yaml:1: (YAML): an alias contains itself"
    status, reason = put(text=OWN, files={"../step.py": STEP, "step.py": "import os\ndef f(:"})
    assert status == 400 and reason == "step.py:2: (Python): invalid syntax"
    assert put(text=sun.spec(), files={"a.py": 5})[0] == 400
    assert put(file="x.yaml", text="[")[1].startswith("x.yaml:1: (YAML)")
    answer = up.call("PUT", "/api/specs", json={"text": "x", "files": {"a.py": "x" * (5 * 2**20)}})
    assert answer.status_code == 413
    started = time.monotonic()
    assert put(text="[" * 250_000)[0] == 400
    assert time.monotonic() - started < 20
    assert up.call("GET", "/v2").status_code == 200


def test_several_at_once_are_taken_one_after_the_other(up: Up) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: up.apply(sun.spec(f"m{number % 3}")), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sorted(generations(up)) == ["m0", "m1", "m2"]
    assert sum(change == "created" for answer in answers for change in answer.json()["changes"].values()) == 3
