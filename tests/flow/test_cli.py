"""Every command of the command line against a live platform, and what it says when something is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import plant, sun
from tests.running import Up, free_port, scrubbed

pytestmark = pytest.mark.xdist_group("cli")  # one platform for all of them
GOLDEN = Path(__file__).parent.parent / "golden" / "help.txt"
COMMANDS = [
    "",
    "up",
    "demo",
    "apply",
    "diff",
    "get",
    "delete",
    "inspect",
    "predict",
    "evaluate",
    "explain",
    "analyse",
    "shadows",
    "promote",
    "replay",
    "diagnose",
    "quarantine list",
    "quarantine replay",
    "login",
    "logout",
    "open",
    "whoami",
    "password",
    "company add",
    "person add",
    "identity rotate",
    "version",
    "dataset list",
    "dataset show",
    "dataset add",
    "dataset from-stream",
    "dataset get",
    "dataset delete",
    "model list",
    "model show",
    "model train",
    "model add",
    "model get",
    "model delete",
    "model release",
    "grant list",
    "grant add",
    "grant revoke",
    "audit",
    "lineage",
    "translate",
    "job list",
    "job show",
    "job log",
    "job cancel",
    "job retry",
    "verify",
    "bundle",
    "trust add",
    "trust list",
    "trust delete",
]
LONG = "site/" + "/".join(f"a-long-level-{n}" for n in range(8))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with plant.trained(tmp_path_factory.mktemp("cli") / "data") as up:
        up.call("POST", "/ingest/bad", content=b"nonsense")
        up.call("POST", f"/ingest/{LONG}", content=b'{"level": 1.5}')
        up.caught_up()
        time.sleep(1.2)  # the observer writes what it saw each second
        yield up


def run(*arguments: str, url: str | None = None, columns: int | None = None) -> subprocess.CompletedProcess[str]:
    env = scrubbed() | ({"HEADRACE_URL": url} if url else {}) | ({"COLUMNS": str(columns)} if columns else {})
    line = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=env, timeout=60, check=False)


def good(up: Up, *arguments: str, columns: int | None = None) -> str:
    done = run(*arguments, url=up.http, columns=columns)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def bad(up: Up | str, *arguments: str) -> str:
    """The one line on stderr."""
    done = run(*arguments, url=up if isinstance(up, str) else up.http)
    assert (done.returncode, done.stdout) == (1, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace: ")
    return line


def test_help_is_as_it_was_written_down(update_golden: bool) -> None:
    env = scrubbed() | {"TERMINAL_WIDTH": "80", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    text = ""
    for command in COMMANDS:
        line = [sys.executable, "-m", "headrace.cli", *command.split(), "--help"]
        shown = subprocess.run(line, capture_output=True, text=True, env=env, timeout=60, check=True).stdout
        text += (
            f"$ headrace {command} --help\n".replace("  ", " ")
            + "\n".join(row.rstrip() for row in shown.splitlines())
            + "\n"
        )
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "run pytest with --update-golden and look at the difference"


def test_help_is_quick(record_property: Any) -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert run("--help").returncode == 0
        times.append(time.perf_counter() - started)
    print(f"headrace --help: {min(times):.2f} s")
    record_property("help_seconds", round(min(times), 3))
    line = [sys.executable, "-X", "importtime", "-m", "headrace.cli", "--help"]
    heavy = subprocess.run(line, capture_output=True, text=True, env=scrubbed(), check=True).stderr
    for library in ("numpy", "torch", "httpx", "starlette", "pydantic", "yaml"):
        assert f" {library}\n" not in heavy, f"--help imports {library}"


def test_get(up: Up) -> None:
    lines = good(up, "get").splitlines()
    assert lines[0].split() == ["model", "backend", "state", "keys", "snapshots", "behind"]
    assert [line.split()[:3] for line in lines[1:3]] == [["next", "rls", "live"], ["sun", "rls", "live"]]
    assert {one["name"] for one in json.loads(good(up, "get", "--json"))} == {"next", "sun"}
    assert good(up, "get", "sun").startswith("kind: OnlineModel\nmetadata:\n  name: sun\n")
    assert json.loads(good(up, "get", "sun", "--json"))["spec"]["metadata"] == {"name": "sun"}
    assert "'moon'" in bad(up, "get", "moon")


def test_predict(up: Up) -> None:
    lines = good(up, "predict", "sun").splitlines()
    assert lines[0].startswith("sun for plant/one, made by ") and len(lines) == 26
    assert lines[2].split()[:2] == ["2023-11-24", "00:00"]
    answer = json.loads(good(up, "predict", "sun", "--key", "plant/one", "--json"))
    assert answer["outputs"][0]["shape"] == [1, 24]
    assert "There is no model 'moon'" in bad(up, "predict", "moon")
    assert "'a/../b?c#d'" in bad(up, "predict", "a/../b?c#d") or "nothing at" in bad(up, "predict", "a/../b?c#d")
    assert "has seen nothing of 'x'; it knows plant/one" in bad(up, "predict", "sun", "--key", "x")


def test_inspect(up: Up) -> None:
    assert f"{sun.TOPIC}" in good(up, "inspect")
    assert any(line.startswith(LONG) for line in good(up, "inspect").splitlines()), "a pipe gets whole topics"
    assert {one["topic"] for one in json.loads(good(up, "inspect", "--json"))} == {sun.TOPIC, "bad", LONG}
    text = good(up, "inspect", sun.TOPIC)
    assert "1,440 messages, 0 rejected" in text and "are read as json" in text and "a reading every 600 s" in text
    assert json.loads(good(up, "inspect", sun.TOPIC, "--json"))["devices"][0]["device"] == "plant/one"
    assert "bad: 1 message, 1 rejected" in good(up, "inspect", "bad")
    assert "Nothing has been received" in bad(up, "inspect", "moon")


@pytest.mark.parametrize("columns", [40, 60, 80])
@pytest.mark.parametrize("command", ["get", "inspect", "quarantine list", "predict sun"])
def test_narrow_terminals_lose_nothing(up: Up, command: str, columns: int) -> None:
    narrow = good(up, *command.split(), columns=columns)
    assert max(len(line) for line in narrow.splitlines()) <= max(columns, 60)
    assert "…" not in narrow
    wide = good(up, *command.split())
    assert sorted("".join(narrow.split())) == sorted("".join(wide.split()))


def test_quarantine(up: Up) -> None:
    assert "nonsense" in good(up, "quarantine", "list")
    (one,) = json.loads(good(up, "quarantine", "list", "--json"))
    assert one["topic"] == "bad" and one["replayed"] is False
    assert good(up, "quarantine", "replay", "elsewhere") == "replayed 0 messages\n"
    assert good(up, "quarantine", "replay", "bad") == "replayed 1 message\n"
    for _ in range(50):  # it fails again, and is not replayed again by itself
        found = json.loads(good(up, "quarantine", "list", "--json"))
        if len(found) > 1:
            break
        time.sleep(0.1)
    assert [one["replayed"] for one in found] == [False, True]


def test_apply_diff_delete(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(sun.spec("moon"))
    assert good(up, "diff", "-f", str(file)).startswith("moon: created\n  --- in service\n")
    assert good(up, "apply", "-f", str(file)) == "moon: created\n"
    assert good(up, "apply", "-f", str(file)) == "moon: unchanged\n"
    assert good(up, "diff", "-f", str(file)) == "moon: unchanged\n"
    file.write_text(sun.spec("moon", "{rls: {floor: 1}}"))
    changed = good(up, "diff", "-f", str(file))
    assert "moon: changed" in changed and "-    floor: 0\n" in changed and "+    floor: 1\n" in changed
    assert good(up, "apply", "--file", str(file)) == "moon: changed\n"
    assert good(up, "delete", "moon") == "moon: deleted\n"
    assert "There is no model 'moon'" in bad(up, "delete", "moon")


def test_a_bad_spec_prints_every_problem(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "my spec.yaml"
    file.write_text(sun.spec("moon").replace("horizon: 24", "horizon: 0").replace("target: power", "targt: power"))
    for command in ("apply", "diff"):
        done = run(command, "-f", str(file), url=up.http)
        assert (done.returncode, done.stdout) == (1, "")
        lines = done.stderr.splitlines()
        assert lines[-1] == "headrace: nothing was applied"
        assert [line.removeprefix(f"{file}:").split(": ")[:2] for line in lines[:-1]] == [
            ["4", "input.target"], ["4", "input.targt"], ["8", "forecast.horizon"],
        ]  # fmt: skip


def test_files_that_cannot_be_read(up: Up, tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "No such file" in bad(up, "apply", "-f", str(tmp_path / "none.yaml"))
    assert "Is a directory" in bad(up, "apply", "-f", str(tmp_path))
    assert "not UTF-8" in bad(up, "apply", "-f", str(tmp_path / "binary.yaml"))
    (tmp_path / "large.yaml").write_text("x" * (5 * 2**20))
    assert "over the limit" in bad(up, "apply", "-f", str(tmp_path / "large.yaml"))


@pytest.mark.parametrize(
    "arguments",
    [["get"], ["apply", "-f", "SPEC"], ["predict", "sun"], ["inspect"], ["delete", "sun"], ["quarantine", "list"]],
)
def test_a_platform_that_is_down(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "s.yaml").write_text(sun.spec())
    arguments = [str(tmp_path / "s.yaml") if one == "SPEC" else one for one in arguments]
    line = bad(f"http://127.0.0.1:{free_port()}", *arguments)
    assert "no answer from http://127.0.0.1:" in line and "`headrace up` starts it" in line


@pytest.mark.parametrize("url", ["nowhere", "http://", "ftp://x", "http://[", "http://127.0.0.1:99999"])
def test_an_address_that_is_none(url: str) -> None:
    assert "--url says where it is" in bad(url, "get")


def test_something_else_answers_there(up: Up) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def reply() -> None:
            with contextlib.suppress(OSError):  # closed: the test is over
                while True:
                    connection, _ = other.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            assert "not Headrace's" in bad(f"http://127.0.0.1:{other.getsockname()[1]}", "get")
        finally:
            other.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_version() -> None:
    from headrace import __version__

    assert run("version").stdout == f"{__version__}\n"


def test_up_on_a_port_or_a_directory_in_use(up: Up, tmp_path: Path) -> None:
    http, mqtt = up.http.rpartition(":")[2], str(up.mqtt[1])
    fresh = ["up", "--data", str(tmp_path / "d")]
    line = bad(up, *fresh, "--http-port", http, "--mqtt-port", "0")
    assert f"127.0.0.1:{http} (address already in use)" in line and "--http-port" in line
    line = bad(up, *fresh, "--http-port", "0", "--mqtt-port", mqtt)
    assert f"127.0.0.1:{mqtt} (address already in use)" in line and "--mqtt-port" in line
    line = bad(up, "up", "--data", str(up.data), "--http-port", "0", "--mqtt-port", "0")
    assert f"in use by another Headrace (pid {up.process.pid})" in line
    (tmp_path / "file").write_text("")
    assert "exists" in bad(up, "up", "--data", str(tmp_path / "file"), "--http-port", "0", "--mqtt-port", "0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    up = Up(tmp_path / "data")
    assert up.apply(sun.spec()).status_code == 200
    up.process.send_signal(number)
    assert up.process.wait(timeout=30) == 0
    assert up.errors() == ""
    up.close()
    with Up(tmp_path / "data") as again:
        assert again.call("GET", "/v2/models").json() == {"models": ["sun"]}
        os.kill(again.process.pid, number)
        assert again.process.wait(timeout=30) == 0
