"""Snapshots on a whole platform: killed in the middle, anchored, listed, downloaded, made again; of a company in its sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from headrace.assets import Model
from headrace.confining import isolation
from headrace.models.backends.parent import read
from headrace.services.gateway.mqtt.publisher import publish_all
from headrace.services.learning.isolation import TRUSTED
from headrace.services.learning.rederiving import Rederiving
from headrace.states import digest
from tests import online, sun
from tests.flow.test_anchoring_platform import headrace
from tests.flow.test_tenancy import Company
from tests.plant import publish
from tests.running import Up

HALF = 8 * 144
SPYING = """
import os

class Step:
    def __init__(self, params, context):
        if not os.access("state", os.W_OK) and (os.listdir("state") or os.listdir("objects")):
            raise RuntimeError("a replay sees what was published")
    def state(self): return {}
    def load(self, state): ...
    def apply(self, rows): return rows
"""


def registered(call: Any, data: Path, seconds: float = 60) -> list[dict[str, Any]]:
    """Every snapshot that the store says was published, as soon as each is registered; each once."""
    deadline = time.monotonic() + seconds
    while True:
        truth = []
        with contextlib.suppress(sqlite3.OperationalError):  # its worker starts
            truth = sorted(online.published(data))
        found = call("GET", "/models?snapshots=true&limit=100").json()["items"]
        known = sorted(
            (one["snapshot"]["key"], one["snapshot"]["published_ms"], one["files"][0]["stored"]["sha256"])
            for one in found
        )
        if truth and set(truth) <= set(known):
            assert truth == known
            return list(reversed(found))
        assert time.monotonic() < deadline, (truth, known)
        time.sleep(0.1)


def remade(folder: Path, one: dict[str, Any], where: Any) -> Any:
    model = Model.model_validate(one)
    return asyncio.run(Rederiving(folder, where).replay(model, None, lambda done: None))


def test_killed_in_the_middle_each_is_there_once_and_can_be_made_again(tmp_path: Path) -> None:
    data, messages = tmp_path / "data", sun.messages(online.DAYS)
    with Up(data, "--ledger", "memory") as up:
        assert up.apply(online.spec()).status_code == 200
        publish(up, messages[:HALF])
        up.caught_up()
        assert registered(up.call, data)
        publish(up, messages[HALF : HALF + 300])
        up.kill()
    with Up(data, "--ledger", "memory") as up:
        time.sleep(1)
        up.kill()
    with Up(data, "--ledger", "memory") as up:
        publish(up, messages[HALF:])
        up.caught_up()
        found = registered(up.call, data)
        assert len(found) > 5
        newest = found[-1]
        _commands(up, tmp_path, found)
        made = remade(data, newest, TRUSTED)
        assert made.verdict == "re-derived" and "in the same environment" in made.says, made
        while up.call("GET", f"/models/{newest['id']}").json()["anchoring"] != "anchored":
            time.sleep(0.1)
        assert "Traceback" not in up.errors()
        assert up.stop() == 0


def _commands(up: Up, folder: Path, found: list[dict[str, Any]]) -> None:
    newest = found[-1]
    assert "no models" in headrace(up, "model", "list")
    listed = json.loads(headrace(up, "model", "list", "--snapshots", "--limit", "2", "--json"))
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(found[-2:])]
    older = json.loads(headrace(up, "model", "list", "--of", "sun", "--after", listed[-1]["id"], "--json"))
    assert [one["id"] for one in older] == [one["id"] for one in reversed(found[:-2])]
    said = headrace(up, "model", "show", newest["id"])
    about = newest["snapshot"]
    assert f"{about['records']:,} records, Merkle root {about['root']}" in said and "published by 'sun'" in said
    headrace(up, "model", "get", newest["id"], "--output", str(folder / "weights.safetensors"))
    weights = (folder / "weights.safetensors").read_bytes()
    assert digest(weights) == newest["files"][0]["stored"]["sha256"] and read(weights)["weights"].size == 10


def test_what_a_company_published_is_made_again_in_its_sandbox(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--ledger", "memory") as up:
        acme = Company(up, "acme")
        folder = up.data / "companies" / "acme"
        where = isolation(folder)
        if not where.may_run:
            pytest.skip("no sandbox here")
        text = online.spec().replace("transform:\n", "transform:\n  - python: {file: spy.py}\n")
        answer = acme.call("PUT", "/api/specs", json={"text": text, "files": {"spy.py": SPYING}})
        assert answer.status_code == 200, answer.text
        login = {"username": "acme/pump", "password": acme.passwords["pump"]}
        asyncio.run(publish_all("127.0.0.1", up.mqtt[1], sun.messages(10), window=200, client_id="c", **login))
        found = registered(acme.call, folder)
        assert {one["company"] for one in found} == {"acme"}
        assert not up.call("GET", "/models?snapshots=true").json()["items"], "they are nobody else's business"
        made = remade(folder, found[-1], where)
        assert made.verdict == "re-derived" and "in the same environment" in made.says, made
        assert up.stop() == 0
