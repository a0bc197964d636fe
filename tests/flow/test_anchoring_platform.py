"""Recording in a whole platform: the doors, the commands, one service alone; without a ledger, and killed in the middle."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from headrace.errors import MissingExtra
from headrace.trust.ledgers import LEDGERS
from tests.flow.test_original import doors
from tests.flow.test_serve import alone, token_of
from tests.running import Up, free_port, scrubbed

pytestmark = pytest.mark.xdist_group("anchoring")


def headrace(up: Any, *arguments: str, code: int = 0, url: str = "", token: str = "") -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "headrace.cli", *arguments, "--url", url or up.http]
    env = scrubbed() | {"HEADRACE_TOKEN": token or up.token}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr  # what it waits for stands on stderr


def anchored(url: str, token: str, path: str, seconds: float = 30) -> dict[str, Any]:
    """A record, as soon as it is anchored."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = httpx.get(
            url + path, headers={"authorization": f"Bearer {token}"}, trust_env=False
        ).json()
        if found["anchoring"] == "anchored":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("anchoring") / "data", "--ledger", "memory") as found:
        yield found


def told(up: Up, word: str, seconds: float = 30) -> str:
    """What a platform says on stderr, once a word is there."""
    deadline = time.monotonic() + seconds
    while word not in (text := (up.data.parent / f"{up.data.name}.stderr").read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    return text


def _add(up: Up, file: Path, text: str = "a,b\n1,2\n") -> dict[str, Any]:
    file.write_text(text)
    made = json.loads(headrace(up, "dataset", "add", str(file), "--json"))
    return anchored(up.http, up.token, f"/datasets/{made['id']}")


def test_the_commands(up: Up, tmp_path: Path) -> None:
    made = _add(up, tmp_path / "plant.csv")
    for which in (made["id"],):
        found = json.loads(headrace(up, "contract", which, "--json"))
        assert found["asset"] == made["id"] and found["claim"]["sha256"] == made["stored"]["sha256"]
        assert found["claim"]["statistics"] == made["statistics"]
    text = headrace(up, "contract", made["id"])
    assert made["contract"] in text and made["stored"]["root"] in text
    assert "…" not in text and "UTC" in text.split("created_ms")[1].splitlines()[0]
    shown = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert "statistics.columns[0].name" in shown and "stream" not in shown  # whole; what is empty is left out
    transaction = json.loads(headrace(up, "contract", made["id"], "--json"))["deployed"]["transaction"]
    assert "is the hash of a transaction" in headrace(up, "contract", transaction, code=1)
    assert f"| contract | `{made['contract']}` |" in headrace(up, "card", made["id"])
    assert json.loads(headrace(up, "bom", made["id"]))["metadata"]["component"]["bom-ref"] == made["id"]
    assert f"wrote {tmp_path / 'card.md'}" in headrace(up, "card", made["id"], "-o", str(tmp_path / "card.md"))
    assert "a-place" in headrace(up, "bom", made["id"], "-o", str(tmp_path / "no" / "a-place"), code=1)
    assert "There is no model 'md_gone'" in headrace(up, "card", "md_gone", code=1)
    status = json.loads(headrace(up, "ledger", "--json"))
    assert status["kind"] == "memory" and status["single"] and status["account"] == found["owner"]
    assert "single-operator chain" in headrace(up, "ledger")
    assert "was not revoked: --yes" in headrace(up, "revoke", made["id"], "--reason", "a broken meter", code=1)
    assert "revoked: a broken meter" in headrace(up, "revoke", made["id"], "--reason", "a broken meter", "--yes")
    assert "REVOKED by its owner" in headrace(up, "dataset", "show", made["id"])
    assert "REVOKED" in headrace(up, "dataset", "list") and "REVOKED" in headrace(up, "lineage", made["id"])
    deadline = time.monotonic() + 10
    while up.call("GET", f"/contracts/{made['contract']}").json()["revoked"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "REVOKED: a broken meter" in headrace(up, "contract", made["id"])
    assert up.call("POST", f"/datasets/{made['id']}/revoke", json={"reason": "again"}).status_code == 409
    assert up.call("GET", "/contracts/0x" + "1" * 40).status_code == 404
    with (tmp_path / "back.csv").open("wb") as back:
        back.write(up.call("GET", f"/datasets/{made['id']}/content").content)
    assert (tmp_path / "back.csv").read_text() == "a,b\n1,2\n"


def test_keys_of_tokens_are_still_rotated(up: Up) -> None:
    assert up.call("POST", "/keys/rotate").is_success
    keys = up.call("GET", "/keys/local").json()
    assert keys["company"] == "local" and keys["account"].startswith("0x")
    assert up.call("GET", "/keys/nobody").status_code == 404
    for path in ("/contracts?asset=ds_0", "/ledger", "/keys/local"):
        assert httpx.get(up.http + path, trust_env=False).status_code == 401


def test_the_doors_without_a_token_are_for_an_open_platform_only(up: Up) -> None:
    for method, path in doors():
        assert up.call(method, path).status_code == 404, path
        assert up.call(method, path, headers={"authorization": ""}).status_code == 401, path


def test_only_services_get_to_the_notary(up: Up) -> None:
    for path in ("record", "recorded", "revoke"):
        assert up.call("POST", f"/notary/{path}", json={"asset": "ds_0"}).status_code == 403


def test_without_a_ledger_everything_goes_on(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--ledger", "none") as up:
        (tmp_path / "plant.csv").write_text("a\n1\n")
        made = json.loads(headrace(up, "dataset", "add", str(tmp_path / "plant.csv"), "--json"))
        assert (made["anchoring"], made["contract"]) == ("off", "")
        assert "--ledger none" in headrace(up, "ledger", code=1)
        assert "there is no ledger here" in headrace(up, "contract", made["id"], code=1)
        assert up.call("POST", f"/datasets/{made['id']}/revoke", json={"reason": "x"}).status_code == 501


def test_the_embedded_ledger_is_the_default_and_survives_a_kill(tmp_path: Path) -> None:
    try:
        LEDGERS.find("embedded")
    except MissingExtra as error:
        pytest.skip(str(error))
    (tmp_path / "plant.csv").write_text("a,b\n1,2\n")
    with Up(tmp_path / "data", HEADRACE_LEDGER="") as up:
        made = json.loads(headrace(up, "dataset", "add", str(tmp_path / "plant.csv"), "--json"))
        made = anchored(up.http, up.token, f"/datasets/{made['id']}")
        up.kill()
    with Up(tmp_path / "data", HEADRACE_LEDGER="") as up:
        found = json.loads(headrace(up, "contract", made["contract"], "--json"))
        assert found["claim"]["sha256"] == made["stored"]["sha256"]
        assert up.call("GET", f"/datasets/{made['id']}/content").content == b"a,b\n1,2\n"
        known = json.loads(headrace(up, "ledger", "--json"))
        assert known["kind"] == "embedded"
        rebuild = ("ledger", "--rebuild", "--data", str(up.data))
        assert "is in use" in headrace(up, *rebuild, code=1)
        assert up.stop() == 0
        state = up.data / "ledger" / "state.db"
        state.write_bytes(b"\0" * 4096)
        rebuilt = json.loads(headrace(up, *rebuild, "--json"))
        assert (rebuilt["genesis"], rebuilt["height"]) == (known["genesis"], known["height"])
        assert state.stat().st_size > 4096
    log = up.data / "ledger" / "log.db"
    with contextlib.closing(sqlite3.connect(log)) as db, db:
        db.execute("UPDATE entries SET time = time + 1 WHERE idx = 1")
    with Up(tmp_path / "data", HEADRACE_LEDGER="") as up:
        assert "entry 1 of the ledger's log was changed" in told(up, "does not answer")
    shutil.rmtree(log.parent)
    with Up(tmp_path / "data", HEADRACE_LEDGER="") as up:
        assert known["genesis"] in told(up, "another chain")
        assert "WARNING: this is another chain" in headrace(up, "ledger")
    with Up(tmp_path / "data") as up:
        assert known["genesis"] in told(up, "compared with nothing")
    with Up(tmp_path / "data", HEADRACE_LEDGER="") as up:
        assert "there is no ledger" in headrace(up, "ledger", "--rebuild", "--data", str(tmp_path), code=1)


def test_three_services_alone(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    (tmp_path / "plant.csv").write_text("a,b\n1,2\n")
    with contextlib.ExitStack() as stack:
        where = ("--verification", f"http://127.0.0.1:{port}")
        sharing = stack.enter_context(alone("sharing", data, 0, *where))
        token = token_of(sharing)
        early = json.loads(
            headrace(None, "dataset", "add", str(tmp_path / "plant.csv"), "--json", url=sharing.url, token=token)
        )
        assert early["anchoring"] == "waiting"  # nobody records yet
        more = ("--sharing", sharing.url, "--ledger", "memory")
        verification = stack.enter_context(alone("verification", data, port, *more))
        made = anchored(sharing.url, token, f"/datasets/{early['id']}")
        found = json.loads(headrace(None, "contract", made["id"], "--json", url=verification.url, token=token))
        assert found["address"] == made["contract"]
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{sharing.url}/datasets/{made['id']}/content", headers=headers, trust_env=False).is_success
        json.loads(headrace(None, "ledger", "--json", url=verification.url, token=token))
