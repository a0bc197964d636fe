"""A platform in a process of its own, as a user starts it; killed, stopped and started again by tests."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

READY = 30.0
FULL = "_TESTS_FULL"
"""Set in the environment while tests run with `--full`: for what is decided before any test runs."""
HOME = tempfile.mkdtemp(prefix="headrace-tests-home-")
"""Where the commands of tests keep credentials: not among the user's own."""
atexit.register(shutil.rmtree, HOME, ignore_errors=True)


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrubbed() -> dict[str, str]:
    """An environment without anything of the user's but the way to this Python and its packages."""
    kept = ("PATH", "HOME", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "CI", "LANG")
    own = {"PYTHONDONTWRITEBYTECODE": "1", "HEADRACE_HOME": HOME, "HEADRACE_LEDGER": "none"}  # a chain takes its time
    return {name: os.environ[name] for name in kept if name in os.environ} | own


class Up:
    """`headrace up` on a directory."""

    def __init__(
        self, data: Path, *more: str, mqtt_port: int = 0, http_port: int = 0, stderr: Path | None = None, **env: str
    ) -> None:
        self.data = data
        command = [sys.executable, "-m", "headrace.cli", "up", "--data", str(data), "--json"]
        command += ["--http-port", str(http_port), "--mqtt-port", str(mqtt_port), *more]
        self.stderr = (stderr or data.parent / f"{data.name}.stderr").open("a+b")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.stderr, env=scrubbed() | env)
        self.addresses = self._ready()
        file = self.addresses.get("token_file")
        self.token = Path(file).read_text().strip() if file else ""
        """Of the install."""

    def _ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code, errors = self.process.wait(10), self.errors()
            self.close()
            raise RuntimeError(f"headrace up ended with {code}: {errors}")
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def http(self) -> str:
        """Base URL."""
        return str(self.addresses["http"])

    @property
    def headers(self) -> dict[str, str]:
        """What a client sends that holds the install's token."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def head(self) -> str:
        """`headers` as lines of a request."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())

    def login(self) -> str:
        """A link that lets a browser in, once."""
        return str(self.call("POST", "/session").json()["url"]) if self.token else self.http + "/"

    @property
    def mqtt(self) -> tuple[str, int]:
        """(host, port)."""
        host, _, port = str(self.addresses["mqtt"]).rpartition(":")
        return host, int(port)

    def call(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """One HTTP request, with the install's token unless another Authorization is given."""
        headers = self.headers | dict(kwargs.pop("headers", None) or {})
        return httpx.request(method, self.http + path, timeout=30, trust_env=False, headers=headers, **kwargs)

    def apply(self, text: str, files: dict[str, str] | None = None) -> httpx.Response:
        """`headrace apply`."""
        return self.call("PUT", "/api/specs", json={"text": text, "files": files or {}})

    def overview(self) -> dict[str, Any]:
        """Everything at a glance."""
        found: dict[str, Any] = self.call("GET", "/api/overview").json()
        return found

    def caught_up(self, timeout: float = 60) -> dict[str, Any]:
        """Wait until every model has taken in the whole log."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            overview = self.overview()
            if all(model["lag"] == 0 for model in overview["models"]) and overview["ingest"]["behind"] == 0:
                return overview
            time.sleep(0.1)
        raise TimeoutError(f"models are behind: {self.overview()['models']} {self.errors()}")

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, explainers and who answers: no ledger, nobody who only asks what is installed, and none that has
        been forked and is not yet what it will be."""
        return [one for one in self.children() if "headrace.services.learning." in _line(one)]

    def children(self) -> list[psutil.Process]:
        """All its processes."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """kill -9, and wait until the workers have followed."""
        workers = self.children()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(workers, timeout=10)
        assert not any(worker.is_running() for worker in workers), "a worker outlived its platform"
        self.close()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=40)
        self.close()
        return code

    def errors(self) -> str:
        """What it wrote to stderr."""
        if self.stderr.closed:
            return ""
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")[-4000:]

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.stderr.close()

    def __enter__(self) -> Up:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
