"""What ends when a right ends: answers that go on, topics over HTTP as over MQTT, grants to nobody, and a deleted company's things."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.test_tenancy import Company, until
from tests.running import Up

pytestmark = pytest.mark.xdist_group("fence")
SLOW = """
import os, pathlib, time
for number in range(1000):
    print("line", number, flush=True)
    time.sleep(0.2)
"""
QUICK = "import os, pathlib; (pathlib.Path(os.environ['HEADRACE_OUTPUT']) / 'w').write_bytes(b'w')"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("fence") / "data") as up:
        yield up
        assert "Traceback" not in up.errors(), up.errors()
        assert up.stop() == 0


def dataset(one: Company, data: bytes = b"a,b\n1,2\n", name: str = "plant", **more: Any) -> str:
    form = {"metadata": (None, json.dumps({"name": name, **more}), "application/json"), "file": ("p.csv", data)}
    made = one.call("POST", "/datasets", files=form)
    assert made.status_code == 201, made.text
    id: str = made.json()["id"]
    return id


def train(one: Company, code: str, *, datasets: tuple[str, ...] = ()) -> dict[str, Any]:
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("train.py", code)
    metadata = json.dumps({"name": "net", "recipe": {"datasets": datasets}})
    form = {"metadata": (None, metadata, "application/json"), "code": ("code.zip", packed.getvalue())}
    made = one.call("POST", "/models", files=form)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def grant(one: Company, asset: str, grantee: str, right: str = "read") -> httpx.Response:
    return one.call("POST", "/grants", json={"asset": asset, "grantee": grantee, "right": right})


class Reading(threading.Thread):
    """Reads an answer until it ends; `slow`: seconds between pieces."""

    def __init__(self, one: Company, person: str, path: str, slow: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.url, self.head = one.up.http + path, {"authorization": f"Bearer {one.tokens[person]}"}
        self.got, self.slow, self.ended, self.broken = 0, slow, 0.0, False
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream("GET", self.url, headers=self.head, timeout=60, trust_env=False) as answer:
                assert answer.status_code == 200, answer.status_code
                for piece in answer.iter_raw():
                    self.got += len(piece)
                    time.sleep(self.slow)
        except httpx.HTTPError:
            self.broken = True
        self.ended = time.monotonic()


def test_answers_that_go_on_end_when_their_caller_is_deleted(up: Up) -> None:
    acme = Company(up, "acme")
    big = dataset(acme, b"\0" * (48 << 20), media="other")
    model = train(acme, SLOW)
    until(lambda: acme.get(f"/jobs/{model['job']}")["state"] == "running", "the job")
    events, log, silent = (
        Reading(acme, "vic", path) for path in ("/api/events", f"/jobs/{model['job']}/log?follow=1", "/api/events")
    )
    download = Reading(acme, "vic", f"/datasets/{big}/content", slow=0.02)
    readings = (events, log, silent, download)
    until(lambda: all(one.got for one in readings), "first pieces")
    assert not any(one.ended for one in readings)
    began = time.monotonic()
    assert acme.call("DELETE", "/people/vic").is_success
    for one in readings:
        one.join(15)
        assert one.ended, one.url
    assert max(events.ended, log.ended, silent.ended) - began < 5
    assert download.broken and download.got < 48 << 20
    assert acme.call("POST", f"/jobs/{model['job']}/cancel").is_success


def test_a_devices_topics_hold_over_http_too(up: Up) -> None:
    acme = Company(up, "topics")
    asked = {"name": "narrow", "kind": "device", "topics": ["plant/+/reading", "influx/meters"]}
    acme.passwords["narrow"] = acme.call("POST", "/people", json=asked).json()["password"]
    acme.tokens["narrow"] = acme.token("narrow")

    def send(path: str, content: bytes = b"1", person: str = "narrow") -> httpx.Response:
        return acme.call("POST", path, person, content=content)

    assert send("/ingest/plant/a/reading").status_code == 200
    for path in ("/ingest/plant/a", "/ingest/plant/a/b/reading", "/ingest/plant%2Fa", "/ingest/influx/meters/x"):
        refused = send(path)
        assert refused.status_code == 403 and "plant/+/reading" in refused.json()["error"], path
    line = b"power,meter=a watts=3 1700000000000000000"
    assert send("/api/v2/write?bucket=meters", line).status_code == send("/write?db=meters", line).status_code == 204
    for path in ("/api/v2/write?bucket=others", "/write?db=others", "/write", "/api/v2/write?bucket=meters%2Fx"):
        assert send(path, line).status_code == 403, path
    assert send("/ingest/anything", person="pump").status_code == 200
    until(lambda: len(acme.get("/api/topics")) == 3, "three topics and no more")
    assert acme.call("POST", "/v2/models/none/infer", "narrow", json={}).status_code == 404  # predictions: as ever


def test_a_grant_to_nobody_is_refused_and_tells_strangers_nothing(up: Up) -> None:
    giver, taker = Company(up, "giver"), Company(up, "taker")
    id = dataset(giver)
    assert grant(giver, id, "taker").status_code == 201
    refused = grant(giver, id, "nobody-here")
    assert refused.status_code == 400 and "no company of that name" in refused.json()["error"]
    for grantee in ("giver", "nobody-here"):  # who may not grant it is told the same of both
        asked = {"asset": id, "grantee": grantee, "right": "read"}
        assert taker.call("POST", "/grants", json=asked).status_code == 403
        assert giver.call("POST", "/grants", "dora", json=asked).status_code == 403
        assert taker.call("POST", "/grants", json={**asked, "asset": "ds_0"}).status_code == 404
    codes = [grant(giver, id, f"guess-{number}").status_code for number in range(20)]
    assert codes == [400] * 19 + [429]
    assert grant(giver, id, "taker", "train").status_code == 201  # right names go on
    assert len(giver.get("/grants")["items"]) == 2


def test_a_deleted_company_leaves_nothing_behind_and_its_name_is_not_given_again(up: Up) -> None:
    old, other = Company(up, "old"), Company(up, "other")
    plain, granted = dataset(old, b"secret,1\n", "secret"), dataset(old, b"a,b\n3,4\n", "granted")
    assert grant(old, granted, "other", "derive").status_code == grant(other, dataset(other), "old").status_code == 201
    derived = train(other, QUICK, datasets=(granted,))
    until(lambda: other.get(f"/jobs/{derived['job']}")["state"] == "done", "the other's job")
    running, queued = train(old, SLOW), train(old, SLOW)
    until(lambda: old.get(f"/jobs/{running['job']}")["state"] == "running", "the job")
    tus = {"tus-resumable": "1.0.0", "upload-length": "1000"}
    begun = old.call("POST", "/uploads", headers=tus).headers["location"]
    patch = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"}
    assert old.call("PATCH", begun, headers=patch, content=b"x" * 500).status_code == 204
    place = up.data / "library"
    assert list((place / "artifacts" / "old" / "uploads").iterdir())

    began = time.monotonic()
    assert up.call("DELETE", "/companies/old").is_success
    assert time.monotonic() - began < 20
    for folder in ("uploads", "contents"):
        assert list((place / "artifacts" / "old" / folder).iterdir()) == []
    assert not any((place / "training" / "logs" / one["job"]).exists() for one in (running, queued))
    workers = [one.cmdline() for one in up.children()]
    assert not any("train.py" in " ".join(line) for line in workers)
    assert other.call("GET", f"/datasets/{granted}").status_code == 404
    assert all(one["revoked_ms"] for one in other.get("/grants")["items"])
    assert other.get(f"/models/{derived['id']}")["state"] == "trained"
    nodes = other.get(f"/lineage/{derived['id']}")["nodes"]
    assert not {granted, plain} & {node["id"] for node in nodes}
    hidden = [node for node in nodes if node["kind"] == "dataset"]
    assert [node["id"].partition("_")[0] for node in hidden] == ["hidden"]  # a tombstone keeps the lineage whole
    refused = up.call("POST", "/companies", json={"name": "old", "admin": "root"})
    assert refused.status_code == 409 and "choose another name" in refused.json()["error"]
    assert "old" not in [one["name"] for one in up.call("GET", "/companies").json()]
    assert Company(up, "newer").get("/datasets")["items"] == []


def test_a_company_that_left_nothing_gives_its_name_back(up: Up) -> None:
    Company(up, "brief")
    assert up.call("DELETE", "/companies/brief").is_success
    again = Company(up, "brief")
    assert dataset(again)  # and can bring contents
    assert up.call("DELETE", "/companies/brief").is_success


def test_a_deletion_that_was_cut_off_is_finished_at_the_next_start(tmp_path: Path) -> None:
    """The platform is killed after the company's row went and before its things did."""
    import sqlite3

    with Up(tmp_path / "data") as up:
        acme = Company(up, "acme")
        id = dataset(acme)
        up.kill()
    database = sqlite3.connect(tmp_path / "data" / "identity" / "identity.sqlite")
    with database:
        database.execute("PRAGMA foreign_keys = ON")
        assert database.execute("DELETE FROM companies WHERE name = 'acme'").rowcount == 1
    database.close()
    with Up(tmp_path / "data") as up:
        assert list((tmp_path / "data" / "library" / "artifacts" / "acme" / "contents").iterdir()) == []
        hub = sqlite3.connect(tmp_path / "data" / "library" / "sharing.db")
        assert hub.execute("SELECT count(*) FROM datasets WHERE id = ?", [id]).fetchone() == (0,)
        hub.close()
        assert up.call("POST", "/companies", json={"name": "acme", "admin": "root"}).status_code == 409
        assert up.stop() == 0
