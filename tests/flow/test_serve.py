"""Services alone, each in its own process: they meet over HTTP, and one directory has each of them once."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import Up, free_port, scrubbed

pytestmark = pytest.mark.xdist_group("serve")
TRAIN = """import os, pathlib
data = pathlib.Path(os.environ["HEADRACE_DATA"]).read_text()
numbers = [float(line.split(",")[1]) for line in data.splitlines()[1:]]
out = pathlib.Path(os.environ["HEADRACE_OUTPUT"])
(out / "mean.txt").write_text(f"{sum(numbers) / len(numbers)}")
(out / "metrics.json").write_text('{"mean": %s}' % (sum(numbers) / len(numbers)))
print("trained on", len(numbers))
"""


class Alone:
    """`headrace serve`."""

    def __init__(self, service: str, data: Path, port: int = 0, *more: str) -> None:
        command = [sys.executable, "-m", "headrace.cli", "serve", service, "--port", str(port), "--data", str(data)]
        self.stderr = (data.parent / f"{service}.stderr").open("a+b")
        self.process = subprocess.Popen(
            [*command, "--json", *more], stdout=subprocess.PIPE, stderr=self.stderr, env=scrubbed()
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.about: dict[str, Any] = json.loads(line) if line else {}

    @property
    def url(self) -> str:
        return str(self.about["http"])

    def errors(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.stderr.close()


@contextlib.contextmanager
def alone(service: str, data: Path, port: int = 0, *more: str) -> Iterator[Alone]:
    """It, stopped cleanly."""
    one = Alone(service, data, port, *more)
    try:
        assert one.about, one.errors()
        yield one
    except BaseException:
        one.stop()
        raise
    assert one.stop() == 0


def headrace(*arguments: str, token: str) -> Any:
    """What a command prints, as JSON."""
    command = [sys.executable, "-m", "headrace.cli", *arguments, "--json"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=scrubbed() | {"HEADRACE_TOKEN": token}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def token_of(one: Alone) -> str:
    return Path(one.about["token_file"]).read_text().strip()


def test_sharing_and_training_are_two_processes(tmp_path: Path) -> None:
    data, code, port = tmp_path / "data", tmp_path / "code", free_port()
    code.mkdir()
    (code / "train.py").write_text(TRAIN)
    (tmp_path / "plant.csv").write_text("time,power\n" + "".join(f"{n},{n / 2}\n" for n in range(1000)))
    with (
        alone("sharing", data, 0, "--training", f"http://127.0.0.1:{port}") as sharing,
        alone("training", data, port, "--sharing", sharing.url) as training,
    ):
        token = token_of(sharing)
        assert token == token_of(training)
        dataset = headrace("dataset", "add", str(tmp_path / "plant.csv"), "--url", sharing.url, token=token)
        made = headrace("model", "train", str(code), "--data", dataset["id"], "--url", sharing.url, token=token)
        model = _until(sharing.url, made["id"], token, {"trained", "failed"})
        assert (model["state"], model["metrics"]["mean"]) == ("trained", 249.75), model
        job = headrace("job", "show", model["job"], "--url", training.url, token=token)
        assert job["state"] == "done"
        headers = {"authorization": f"Bearer {token}"}
        log = httpx.get(f"{training.url}/jobs/{job['id']}/log", headers=headers, trust_env=False)
        assert log.text == "trained on 1000\n"
        files = httpx.get(f"{sharing.url}/models/{made['id']}/files/mean.txt", headers=headers, trust_env=False)
        assert files.text == "249.75"
        asked = {"topic": "site/pump7", "from_ms": 0, "to_ms": 1, "name": "x"}
        none = httpx.post(f"{sharing.url}/datasets/from-stream", json=asked, headers=headers, trust_env=False)
        assert none.status_code == 404 and "no stream of 'local' has been recorded here" in none.json()["error"]
        assert httpx.get(f"{sharing.url}/models", trust_env=False).status_code == 401
        told = httpx.get(f"{sharing.url}/", trust_env=False).json()
        assert (told["status"], told["service"], told["jobs"]) == ("alive", "sharing", f"http://127.0.0.1:{port}")
        wrong = httpx.get(f"{sharing.url}/jobs", headers=headers, trust_env=False)
        assert wrong.status_code == 404 and f"has the jobs, is at http://127.0.0.1:{port}" in wrong.json()["error"]
        wrong = httpx.get(f"{training.url}/datasets", headers=headers, trust_env=False)
        assert wrong.status_code == 404 and f"the sharing service is at {sharing.url}" in wrong.json()["error"]


def test_sharing_is_killed_while_a_job_runs(tmp_path: Path) -> None:
    data, code, port, own = tmp_path / "data", tmp_path / "code", free_port(), free_port()
    code.mkdir()
    (code / "train.py").write_text("import time\ntime.sleep(3)\n" + TRAIN)
    (tmp_path / "plant.csv").write_text("time,power\n0,1\n1,2\n")
    more = ("--training", f"http://127.0.0.1:{port}")
    first = Alone("sharing", data, own, *more)
    try:
        with alone("training", data, port, "--sharing", first.url) as training:
            token = token_of(training)
            dataset = headrace("dataset", "add", str(tmp_path / "plant.csv"), "--url", first.url, token=token)
            made = headrace("model", "train", str(code), "--data", dataset["id"], "--url", first.url, token=token)
            _until(first.url, made["id"], token, {"training"})
            first.process.kill()
            first.process.wait()
            time.sleep(4)  # the job ends, and there is nobody to take its files
            with alone("sharing", data, own, *more) as second:
                model = _until(second.url, made["id"], token, {"trained", "failed"})
                assert (model["state"], model["metrics"]["mean"]) == ("trained", 1.5), model
    finally:
        first.stop()


def _until(url: str, id: str, token: str, states: set[str]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        headers = {"authorization": f"Bearer {token}"}
        model: dict[str, Any] = httpx.get(f"{url}/models/{id}", headers=headers, trust_env=False).json()
        if model["state"] in states:
            return model
        time.sleep(0.1)
    raise TimeoutError(id)


def test_a_directory_has_a_service_once_and_no_platform_beside_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with alone("identity", data) as identity:
        second = Alone("identity", data)
        assert second.stop() == 1
        with pytest.raises(RuntimeError, match="in use by another Headrace"):
            Up(data)
        headers = {"authorization": f"Bearer {token_of(identity)}"}
        assert httpx.get(f"{identity.url}/whoami", headers=headers, trust_env=False).json()["kind"] == "install"
        found = httpx.get(f"{identity.url}/realms/headrace/.well-known/openid-configuration", trust_env=False).json()
        assert found["issuer"] == f"{identity.url}/realms/headrace"
    up = Up(data)
    late = Alone("sharing", data)
    assert late.stop() == 1
    assert up.stop() == 0


def test_a_token_of_one_service_is_believed_by_the_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with alone("identity", data) as identity, alone("sharing", data, 0, "--identity", identity.url) as sharing:
        install = {"authorization": f"Bearer {token_of(identity)}"}
        asked = {"name": "ann", "roles": ["viewer"], "password": "long enough for her"}
        made = httpx.post(f"{identity.url}/people", json=asked, headers=install, trust_env=False)
        assert made.status_code == 201, made.text
        form = {"grant_type": "password", "username": "ann", "password": "long enough for her"}
        tokens = httpx.post(
            f"{identity.url}/realms/headrace/protocol/openid-connect/token", data=form, trust_env=False
        ).json()
        ann = {"authorization": f"Bearer {tokens['access_token']}"}
        assert httpx.get(f"{sharing.url}/datasets", headers=ann, trust_env=False).json() == {"items": [], "next": None}
        refused = httpx.post(
            f"{sharing.url}/grants",
            json={"asset": "ds_1", "grantee": "bolt", "right": "read"},
            headers=ann,
            trust_env=False,
        )
        assert refused.status_code in {403, 404}
        inside = httpx.get(f"{sharing.url}/internal/assets/ds_1/rights/read", headers=ann, trust_env=False)
        assert inside.status_code == 403


def test_a_person_signs_in_once_and_uses_all_services(tmp_path: Path) -> None:
    """A login at the identity service is good at the sharing service, which says where jobs are."""
    data, code, port, home = tmp_path / "data", tmp_path / "code", free_port(), tmp_path / "home"
    code.mkdir()
    (code / "train.py").write_text(TRAIN)
    (tmp_path / "plant.csv").write_text("time,power\n0,1\n1,2\n")

    def run(*words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headrace.cli", *words]
        whole = scrubbed() | {"HEADRACE_HOME": str(home), **env}
        return subprocess.run(command, input=stdin, check=False, capture_output=True, text=True, env=whole, timeout=120)

    with alone("identity", data) as identity:
        more = ("--identity", identity.url)
        with (
            alone("sharing", data, 0, "--training", f"http://127.0.0.1:{port}", *more) as sharing,
            alone("training", data, port, "--sharing", sharing.url, *more),
        ):
            owner = {"HEADRACE_TOKEN": token_of(identity)}
            made = run("person", "add", "ann", "--json", "--url", identity.url, **owner)
            password = json.loads(made.stdout)["password"]
            unknown = run("dataset", "list", "--url", sharing.url)
            assert unknown.returncode == 1 and f"`headrace login --url {identity.url}` signs in" in unknown.stderr
            done = run("login", "--user", "ann", "--url", identity.url, stdin=password + "\n")
            assert done.returncode == 0, done.stderr
            added = run("dataset", "add", str(tmp_path / "plant.csv"), "--json", "--url", sharing.url)
            assert added.returncode == 0, added.stderr
            words = (
                "model",
                "train",
                str(code),
                "--data",
                json.loads(added.stdout)["id"],
                "--watch",
                "--url",
                sharing.url,
            )
            trained = run(*words)
            assert trained.returncode == 0 and "trained on 2" in trained.stdout, trained.stderr
            assert "done" in run("job", "list", "--url", sharing.url).stdout
            assert f"the identity service is at {identity.url}" in run("whoami", "--url", sharing.url).stderr


def test_training_alone_says_what_it_needs(tmp_path: Path) -> None:
    one = Alone("training", tmp_path / "data")
    assert one.about == {}
    said = one.errors()
    assert one.stop() == 1 and "--sharing URL" in said and "Traceback" not in said
