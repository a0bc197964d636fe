"""The ladder on a whole platform: what an online model published is made again of the log, by the command a user types."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests import online, sun
from tests.flow.test_anchoring_platform import headrace
from tests.flow.test_snapshots_platform import registered
from tests.plant import publish
from tests.running import Up


def test_a_snapshot_is_re_derived_of_the_log_and_of_no_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Up(data, "--ledger", "memory") as up:
        assert up.apply(online.spec()).status_code == 200
        publish(up, sun.messages(8))
        up.caught_up()
        id = registered(up.call, data)[-1]["id"]
        while up.call("GET", f"/models/{id}").json()["anchoring"] != "anchored":
            time.sleep(0.1)
        said = headrace(up, "verify", id, "--level", "L2")
        assert f"{id} verified, level L2, re-derived" in said and "✓ L0 leaf of an anchored batch: leaf" in said
        assert "✓ L2 replay of the log: the log gives exactly these weights again, in the same environment" in said
        with closing(sqlite3.connect(data / "log.db")) as log, log:
            changed = (
                "UPDATE records SET payload = payload || ' ' WHERE position = (SELECT max(position) / 2 FROM records)"
            )
            assert log.execute(changed).rowcount == 1
        report = up.call("POST", f"/verify/{id}?level=L2", headers={"accept": "application/json"}).json()
        assert (report["level"], report["passed"]) == ("L1", False), report
        assert "Merkle root differs" in report["checks"][-1]["detail"]
        assert json.dumps(report).count("failed") == 1
        assert up.stop() == 0
