"""The servers that are compared: how each is started, addressed and asked. A server's own ways are known only here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import processes, wire
from benchmarks.figures import Match
from benchmarks.processes import ROOT, Cores

HERE = Path(__file__).resolve().parent
CHAPTER = HERE / "chapter_path"

TOPIC = "bench/reading"
"""Where readings are published, to both."""
FEATURES = [round(0.1 * index, 1) for index in range(1, 11)]
"""The ten numbers of the small model's input."""

HEADRACE = [sys.executable, "-c", "from headrace.cli import main; main()"]
HEADRACE_SPEC = HERE / "stream.yaml"
HEADRACE_OUTPUT = "headrace/forecast/bench/#"
HEADRACE_MATCH = Match("origin_ms")
"""Without a grid a forecast's origin is the time of the reading it was made after."""
HEADRACE_INFER = "/v2/models/bench/infer"


@dataclass(frozen=True)
class Streamed:
    """A path from a reading to its forecast."""

    port: int
    output: str
    match: Match
    pids: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """A model behind HTTP."""

    url: str
    body: str
    pids: dict[str, int] = field(default_factory=dict)
    token_file: str = ""
    """With the token to send; empty: the server asks for none."""


@dataclass(frozen=True)
class Headrace:
    """A platform that said it was ready."""

    http: str
    mqtt: int
    ready_seconds: float
    """From the start of the process to its ready line, by our clock."""
    root: int
    """The process that was started."""
    pids: dict[str, int]
    """By the names in the ready line's `pids`; without them `gateway` is the root, its children child1, child2..."""
    token_file: str

    def streamed(self) -> Streamed:
        return Streamed(self.mqtt, HEADRACE_OUTPUT, HEADRACE_MATCH, self.pids)

    def served(self) -> Served:
        return Served(self.http + HEADRACE_INFER, infer_body([1, len(FEATURES), 1]), self.pids, self.token_file)

    def pin(self, gateway: Cores, workers: Cores) -> None:
        """The gateway here, every other process there."""
        for name, pid in self.pids.items():
            processes.pin(pid, gateway if name == "gateway" else workers)


def deployed(platform: Headrace) -> Served:
    """A small linear ONNX model in service, of as many inputs as the online one."""
    import httpx
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    takes = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", len(FEATURES)])
    gives = helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 1])
    weights = numpy_helper.from_array(np.ones((len(FEATURES), 1)), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [takes], [gives], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    headers = {"authorization": f"Bearer {Path(platform.token_file).read_text().strip()}"}
    with httpx.Client(base_url=platform.http, headers=headers, trust_env=False, timeout=60) as client:
        about = (None, json.dumps({"name": "linear"}), "application/json")
        sent = client.post("/models", files={"metadata": about, "file": ("linear.onnx", model.SerializeToString())})
        text = f"kind: Deployment\nmetadata: {{name: linear}}\nmodel: {sent.raise_for_status().json()['id']}\n"
        client.put("/api/specs", json={"text": text, "file": "bench", "files": {}}).raise_for_status()
    url = f"{platform.http}/v2/models/linear/infer"
    return Served(url, infer_body([1, len(FEATURES)]), platform.pids, platform.token_file)


def infer_body(shape: list[int]) -> str:
    """A V2 request for one row of `FEATURES`."""
    tensor = {"name": "x", "shape": shape, "datatype": "FP64", "data": FEATURES}
    return json.dumps({"inputs": [tensor]})


def kserve_python() -> Path:
    """The KServe environment's Python, made on first use (a minute) in $HEADRACE_KSERVE_ENV or .venv-bench/kserve."""
    folder = Path(os.environ.get("HEADRACE_KSERVE_ENV") or ROOT / ".venv-bench" / "kserve")
    python, complete = folder / "bin" / "python", folder / "complete"
    wanted = (CHAPTER / "requirements.txt").read_text()
    if not complete.exists() or complete.read_text() != wanted:
        print(f"making the KServe environment in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(CHAPTER / "requirements.txt")]
        subprocess.run(install, check=True, stdout=sys.stderr)
        complete.write_text(wanted)
    return python


def _mosquitto(folder: Path, port: int) -> Path:
    """Mosquitto as the chapter runs it, persistent, and with no limit that would slow the bridge or drop messages."""
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_interval 1",
        "max_queued_messages 0",
        "max_queued_bytes 0",
        "max_inflight_messages 1000",
        "set_tcp_nodelay true",
        "log_type error",
    ]
    if os.geteuid() == 0:
        lines.append("user root")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    return config


@contextlib.contextmanager
def start_mosquitto(cores: Cores = ()) -> Iterator[tuple[int, int]]:
    """A broker of our own: its port and pid."""
    binary = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise FileNotFoundError("the chapter's path needs Mosquitto: apt-get install mosquitto")
    with tempfile.TemporaryDirectory(prefix="bench-mosquitto-") as name:
        port = processes.free_port()
        with processes.running([binary, "-c", str(_mosquitto(Path(name), port))], cores) as broker:
            processes.wait(lambda: processes.listening(port), broker, "Mosquitto")
            yield port, broker.pid


@contextlib.contextmanager
def start_kserve(model: str, cores: Cores = ()) -> Iterator[tuple[int, int]]:
    """`chapter_path/<model>.py` behind the KServe SDK's server: its port and pid."""
    port = processes.free_port()
    command = [str(kserve_python()), str(CHAPTER / f"{model}.py"), str(port)]
    with processes.running(command, cores) as server:
        processes.wait(lambda: answers(f"http://127.0.0.1:{port}/v2/health/ready"), server, "the KServe server")
        yield port, server.pid


@contextlib.contextmanager
def start_kserve_infer(model: str = "linear", cores: Cores = ()) -> Iterator[Served]:
    """The small model behind the quiet KServe server."""
    with start_kserve(model, cores) as (port, pid):
        yield Served(f"http://127.0.0.1:{port}/v2/models/{model}/infer", infer_body([1, 10]), {"server": pid})


@contextlib.contextmanager
def start_chapter_path(inflight: int = 1, model_cores: Cores = (), other_cores: Cores = ()) -> Iterator[Streamed]:
    """Mosquitto, the bridge, the online model in KServe; `inflight` POSTs at a time (more than 1 loses the order)."""
    output = "bench/forecast"
    with start_mosquitto(other_cores) as (mqtt, broker), start_kserve("model", model_cores) as (http, server):
        bridge = [sys.executable, "-m", "benchmarks.chapter_path.bridge", "--mqtt", mqtt, "--http", http]
        options = ["--input", TOPIC, "--output", output, "--inflight", inflight]
        with processes.running([str(part) for part in bridge + options], other_cores) as child:
            processes.first_line(child, "the bridge")
            yield Streamed(mqtt, output, Match("ts"), {"mosquitto": broker, "kserve": server, "bridge": child.pid})


@contextlib.contextmanager
def start_headrace(data: Path, cores: Cores = ()) -> Iterator[Headrace]:
    """`headrace up` on free ports over `data`; it prints one JSON line with its addresses when it is ready."""
    command = [*HEADRACE, "up", "--data", str(data), "--http-port", "0", "--mqtt-port", "0", "--json"]
    begin = time.perf_counter()
    os.environ["HEADRACE_HOME"] = str(data / "home")  # not among the user's own credentials
    with processes.running(command, cores) as platform:
        ready = json.loads(processes.first_line(platform, "headrace up"))
        took = time.perf_counter() - begin
        port = int(str(ready["mqtt"]).rsplit(":", 1)[1])
        http = str(ready["http"]).rstrip("/")
        pids = _pids(platform.pid, ready.get("pids", {}))
        yield Headrace(http if "://" in http else f"http://{http}", port, took, platform.pid, pids, ready["token_file"])


def _pids(root: int, named: dict[str, int]) -> dict[str, int]:
    names = {pid: name for name, pid in named.items()}
    names.setdefault(root, "root" if "gateway" in named else "gateway")
    return {names.get(each.pid, f"child{index}"): each.pid for index, each in enumerate(processes.tree(root))}


def apply_headrace(platform: Headrace, spec: Path = HEADRACE_SPEC) -> Headrace:
    """Apply a spec; the platform as it is afterwards, with the workers that started."""
    command = [*HEADRACE, "apply", "-f", str(spec), "--url", platform.http]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return replace(platform, pids=_pids(platform.root, platform.pids))


def ask(served: Served) -> list[float]:
    """One request, its answer's numbers: a server that answers with an error has no speed worth measuring."""
    headers = {"Content-Type": "application/json"}
    if served.token_file:
        headers["Authorization"] = f"Bearer {Path(served.token_file).read_text().strip()}"
    request = urllib.request.Request(served.url, served.body.encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        data = json.load(response)["outputs"][0]["data"]
    return [float(number) for number in data]


def first_acknowledgement(port: int) -> None:
    """Connect, publish one message and wait for its PUBACK."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(wire.connect("bench-first") + wire.publish("bench/first", 1, b"1"))
        got = b""
        while len(got) < 8:
            got += link.recv(64) or _closed()
        if got[0] >> 4 != wire.CONNACK or got[4] >> 4 != wire.PUBACK:
            raise ConnectionError(f"expected CONNACK and PUBACK, got {got.hex()}")


def _closed() -> bytes:
    raise ConnectionError("closed before the PUBACK")


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
