"""A company's own code: it works, it is locked in, and where it cannot be locked in it is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from headrace.errors import BadSpec
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.service import LearningService
from headrace.spec import parse
from headrace.streams.logs.memory import MemoryLog
from tests import graphs
from tests.flow.test_tenancy import SPEC, TOPIC, Company, reading, until
from tests.running import Up

OWN = SPEC.replace("transform: [", "transform: [{python: {file: mine.py, params: {targets: TARGETS}}}, ")
STEP = """
import json, os, socket
from pathlib import Path

class Step:
    def __init__(self, params, context):
        found = {}
        for name, attempt in attempts(params["targets"]):
            try:
                found[name] = f"worked: {attempt()!r}"[:200]
            except OSError as error:
                found[name] = type(error).__name__
        Path("state/found.json").write_text(json.dumps(found))
    def state(self): return {}
    def load(self, state): ...
    def apply(self, rows): return rows

def attempts(targets):
    for path in targets["files"]:
        yield f"read {path}", lambda path=path: open(path, "rb").read(50)
    for path in targets["folders"]:
        yield f"list {path}", lambda path=path: os.listdir(path)
    for port in targets["ports"]:
        yield f"connect {port}", lambda port=port: socket.create_connection(("127.0.0.1", port), 2)
    yield "look up", lambda: socket.getaddrinfo("example.org", 80)
    yield "symlink", lambda: os.symlink(targets["files"][0], "state/link.db")
    yield "symlink in objects", lambda: os.symlink(targets["files"][0], "objects/link")
    yield "fifo", lambda: os.mkfifo("state/pipe.db")
    yield "own log", lambda: open("log.db", "r+b").write(b"x")
    yield "own spec", lambda: open("registry.db", "r+b").write(b"x")
    yield "new file", lambda: open("planted", "w")
    yield "platform code", lambda: open(socket.__file__, "a")
    yield "secrets", lambda: [n for n in os.environ if n.startswith("HEADRACE")] or int("no")
    yield "processes", lambda: [p for p in os.listdir("/proc") if p.isdigit() and int(p) > 50] or open("/nothing")
"""


def test_the_code_of_a_company_reaches_nothing_but_its_own_folder(tmp_path: Path) -> None:
    step = STEP.replace('int("no")', "open('/nothing')")
    with Up(tmp_path / "data", HEADRACE_WEBHOOK_SECRET="the operator's") as up:
        acme, bolt = Company(up, "acme"), Company(up, "bolt")
        bolt.call("POST", f"/ingest/{TOPIC}", content=b'{"temp": 1}').raise_for_status()
        data = up.data.resolve()
        files = [
            data / "log.db",
            data / "identity" / "token",
            data / "companies" / "bolt" / "log.db",
            Path("/etc/hostname"),
        ]
        ports = [up.mqtt[1], int(up.http.rpartition(":")[2])]
        folders = [data, data / "companies", data / "identity", data / "companies" / "bolt"]
        targets = json.dumps({"files": [*map(str, files)], "folders": [*map(str, folders)], "ports": ports})
        text = OWN.replace("TARGETS", targets)
        assert acme.call("PUT", "/api/specs", json={"text": text, "files": {"mine.py": step}}).is_success
        for minute in range(12):
            acme.call("POST", f"/ingest/{TOPIC}", content=reading(minute, 700 + minute % 3)).raise_for_status()
        until(lambda: acme.call("POST", "/v2/models/room/infer", json={}).is_success, "a forecast through its own step")
        found: dict[str, str] = json.loads((data / "companies/acme/state/found.json").read_text())
        worked = {name: said for name, said in found.items() if said.startswith("worked")}
        assert worked.pop(f"list {data}") == "worked: ['companies']"  # the way to its own folder
        assert worked.pop(f"list {data / 'companies'}") == "worked: ['acme']"
        assert not worked
        assert len(found) == len(files) + len(folders) + len(ports) + 10
        assert found["symlink"] == found["fifo"] == "PermissionError" and found["own log"] == "OSError"
        until(lambda: acme.call("GET", "/api/models/room/explanation").status_code != 503, "a saved model")
        assert acme.call("GET", "/api/models/room/explanation").is_success
        assert up.stop() == 0


def test_an_explainer_of_a_company_is_locked_in_too(tmp_path: Path) -> None:
    explainer = """
import numpy as np
from pathlib import Path
class Explainer:
    def explain(self, model, x, baseline):
        try:
            raise ValueError(Path(SECRET).read_text())
        except OSError as error:
            print("headrace-test:", type(error).__name__, flush=True)
        parts = np.zeros((len(model(x)), *x.shape))
        parts[:, 0, 0] = model(x) - model(baseline)
        return parts
"""
    with Up(tmp_path / "data") as up:
        acme = Company(up, "acme")
        secret = repr(str(up.data.resolve() / "identity" / "token"))
        text = SPEC + "explain: {python: {file: why.py}}\n"
        files = {"why.py": explainer.replace("SECRET", secret)}
        applied = acme.call("PUT", "/api/specs", json={"text": text, "files": files})
        assert applied.is_success, applied.text
        for minute in range(12):
            acme.call("POST", f"/ingest/{TOPIC}", content=reading(minute, 700 + minute % 3)).raise_for_status()
        path = "/api/models/room/explanation"
        until(lambda: acme.call("GET", path).status_code not in {404, 503}, "a saved model")
        answer = acme.call("GET", path)
        assert answer.is_success, answer.text
        assert "hri_" not in answer.text and "[acme/explainer] headrace-test: FileNotFoundError" in up.errors()
        assert up.stop() == 0


async def test_without_a_sandbox_files_of_a_company_are_refused(tmp_path: Path) -> None:
    documents: Any = parse(OWN.replace("TARGETS", "[]"), "headrace.yaml")
    log = MemoryLog()
    service = LearningService(log, tmp_path, lambda *_: None, isolation=Isolation(reason="no bubblewrap; install it"))
    with pytest.raises(BadSpec, match=r"headrace.yaml:5: .*cannot be run here.*no bubblewrap; install it"):
        await service.diff(documents, {"mine.py": STEP})
    with pytest.raises(BadSpec, match="cannot be run here"):
        await service.apply(documents, {"mine.py": STEP})
    assert await service.diff(parse(SPEC, "headrace.yaml"), {}) == {"room": "created"}


def test_code_that_takes_its_worker_with_it_is_named_in_the_models_state(tmp_path: Path) -> None:
    step = "import os, sys\nprint('no plant today', file=sys.stderr, flush=True)\nos._exit(3)\n"
    raising = "class Step:\n    def __init__(self, params, context): raise ValueError('no such plant')\n"
    raising += (
        "    def state(self): return {}\n    def load(self, state): ...\n    def apply(self, rows): return rows\n"
    )
    text = SPEC.replace("transform: [", "transform: [{python: {file: mine.py}}, ")
    with Up(tmp_path / "data") as up:
        acme, bolt = Company(up, "acme"), Company(up, "bolt")
        for one, code in ((acme, step), (bolt, raising)):
            assert one.call("PUT", "/api/specs", json={"text": text, "files": {"mine.py": code}}).is_success
            one.call("POST", f"/ingest/{TOPIC}", content=reading(1, 7)).raise_for_status()
        until(lambda: "exit code 3: no plant today" in acme.get("/api/specs")[0]["detail"], "the reason")
        until(lambda: "no such plant" in bolt.get("/api/specs")[0]["detail"], "the reason")
        assert "the worker of 'room'" in up.errors() and "exit code 3: no plant today" in up.errors()
        assert bolt.get("/api/specs")[0]["state"] == "failed"
        assert up.stop() == 0


HOSTILE = """
import glob, os, sqlite3, sys, threading, time

def attack():
    while True:
        time.sleep(0.1)
        for path in glob.glob("state/room@*.db") + ["state/observer.db"]:
            try:
                db = sqlite3.connect(path, timeout=1, isolation_level=None)
                table = "progress" if "observer" in path else "meta"
                db.execute(f"DROP TABLE IF EXISTS {table}")
                endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, i FROM n WHERE i < 0"
                db.execute(f"CREATE VIEW {table}(name, value, position) AS {endless}")
            except sqlite3.Error:
                pass

class Step:
    def __init__(self, params, context):
        print("\\x1b[2Jheadrace: log in at http://evil/login?code=1", flush=True)
        print(os.readlink("/proc/self/fd/1"), os.readlink("/proc/self/fd/2"), flush=True)
        threading.Thread(target=attack, daemon=True).start()
    def state(self): return {}
    def load(self, state): ...
    def apply(self, rows): return rows
"""


def test_a_hostile_state_file_fails_its_model_and_holds_up_nobody(tmp_path: Path) -> None:
    with Up(tmp_path / "data") as up:
        acme = Company(up, "acme")
        text = OWN.replace(", params: {targets: TARGETS}", "")
        applied = acme.call("PUT", "/api/specs", json={"text": text, "files": {"mine.py": HOSTILE}})
        assert applied.is_success, applied.text
        for minute in range(12):
            acme.call("POST", f"/ingest/{TOPIC}", content=reading(minute, 700 + minute % 3)).raise_for_status()

        def model() -> dict[str, Any]:
            found: dict[str, Any] = acme.get("/api/overview")["models"][0]
            return found

        until(lambda: "that its worker does not make" in model()["detail"], "that its state is not its worker's")
        assert model()["state"] == "failed" and "apply it again" in model()["detail"]
        for _ in range(20):
            begin = time.monotonic()
            acme.get("/api/overview")
            up.call("GET", "/api/overview").raise_for_status()
            assert time.monotonic() - begin < 2
        lines = up.errors().splitlines()
        assert not [
            line for line in lines if "evil" in line and not line.startswith("[acme/room] ?[2Jheadrace: log in")
        ]
        assert any(line.startswith(("[acme/room] pipe:", "[acme/room] socket:")) for line in lines)  # no file
        assert up.stop() == 0


PLANTED = """
import base64, glob, sqlite3, threading, time
import msgspec
from headrace import states

def plant():
    while True:
        time.sleep(0.05)
        for path in glob.glob("state/room@*.db"):
            try:
                db = sqlite3.connect(path, timeout=1, isolation_level=None)
                state = {"format": "onnx", "kernel": "", "data": base64.b64decode(GRAPH), "offset": 0.0, "factor": 1.0, "weights": b""}
                data = states.pack(state)
                db.execute("UPDATE servables SET data = ?1, version = version + 1 WHERE data != ?1", (data,))
                db.close()
            except sqlite3.Error:
                pass

class Step:
    def __init__(self, params, context):
        threading.Thread(target=plant, daemon=True).start()
    def state(self): return {}
    def load(self, state): ...
    def apply(self, rows): return rows
"""


def answers_of(up: Up) -> list[psutil.Process]:
    """Processes that answer for a company, by their command lines as they see them themselves."""
    return [one for one in up.workers() if "headrace.services.learning.answerer" in one.cmdline()[:4]]


def in_vain(ask: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    """The first refusal, and after how many seconds it came: until the graph is planted there are answers."""
    while True:
        begin = time.monotonic()
        if not (answer := ask()).is_success:
            return answer, time.monotonic() - begin
        time.sleep(0.2)


def test_a_hostile_graph_of_one_company_holds_up_no_other(tmp_path: Path) -> None:
    ask = {"inputs": [{"name": "history", "datatype": "FP64", "shape": [1, 3], "data": [700, 701, 702]}]}
    with Up(tmp_path / "data") as up:
        acme, bolt = Company(up, "acme"), Company(up, "bolt")
        text = OWN.replace(", params: {targets: TARGETS}", "")
        step = PLANTED.replace("GRAPH", repr(base64.b64encode(graphs.endless()).decode()))
        assert acme.call("PUT", "/api/specs", json={"text": text, "files": {"mine.py": step}}).is_success
        assert bolt.call("PUT", "/api/specs", json={"text": SPEC}).is_success
        up.apply(SPEC).raise_for_status()
        for minute in range(12):
            body = reading(minute, 700 + minute % 3)
            for call in (acme.call, bolt.call, up.call):
                call("POST", f"/ingest/{TOPIC}", content=body).raise_for_status()
        path = "/v2/models/room/infer"
        for call in (bolt.call, up.call):
            until(lambda call=call: call("POST", path, json=ask).is_success, "an answer")  # type: ignore[misc]
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(in_vain, lambda: acme.call("POST", path, json=ask))
            slowest = 0.0
            while not stuck.done():
                for call in (up.call, bolt.call):
                    asked = time.monotonic()
                    call("POST", path, json=ask).raise_for_status()
                    slowest = max(slowest, time.monotonic() - asked)
            answer, seconds = stuck.result()
        assert answer.status_code == 504 and seconds < 15 and slowest < 2
        assert "was not answered within 10 s and its process was ended: ask for less" in answer.json()["error"]
        assert acme.call("POST", path, json={}).is_success  # the last forecast computes nothing
        (process,) = answers_of(up)
        process.kill()
        mine = up.call("POST", path, json=ask).json()["outputs"]  # by now both have learnt and saved all there is
        until(
            lambda: bolt.call("POST", path, json=ask).json().get("outputs") == mine, "a new process that says the same"
        )
        assert bolt.get(f"/api/topics/{TOPIC}")["decoders"] == up.call("GET", f"/api/topics/{TOPIC}").json()["decoders"]
        assert bolt.get(f"/api/topics/{TOPIC}")["devices"] == up.call("GET", f"/api/topics/{TOPIC}").json()["devices"]
        workers = up.children()
        assert up.stop() == 0
        psutil.wait_procs(workers, timeout=5)
        assert not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
