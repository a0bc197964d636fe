"""The credentials file: whose it is, where a token goes, and refreshing by several processes at once."""

from __future__ import annotations

import json
import multiprocessing
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from headrace import credentials
from headrace.errors import BadInput, Unauthenticated


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADRACE_TOKEN", raising=False)
    return tmp_path / "home"


class Issuer(BaseHTTPRequestHandler):
    """A token endpoint whose refresh tokens work once."""

    current, count, ended = "r0", 0, False

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        time.sleep(0.05)
        good = form["refresh_token"][0] == Issuer.current and not Issuer.ended
        Issuer.ended = not good
        Issuer.count += good
        Issuer.current = f"r{Issuer.count}"
        answer: dict[str, Any] = {"error": "invalid_grant"}
        if good:
            answer = {"access_token": f"a{Issuer.count}", "refresh_token": Issuer.current, "expires_in": 300}
        body = json.dumps(answer).encode()
        self.send_response(200 if good else 400)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def issuer() -> Iterator[str]:
    Issuer.current, Issuer.count, Issuer.ended = "r0", 0, False
    server = HTTPServer(("127.0.0.1", 0), Issuer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_install_token_is_kept_for_its_address_only(home: Path) -> None:
    credentials.remember("http://localhost:8080/", {"token": "hri_x"})
    assert credentials.headers("http://127.0.0.1:8080") == {"Authorization": "Bearer hri_x"}
    for other in (
        "http://127.0.0.1:8081",
        "https://127.0.0.1:8080",
        "http://evil.example:8080",
        "http://[::1]:8080",
        "nonsense",
    ):
        assert credentials.headers(other) == {}
    assert stat.S_IMODE((home / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.remember("http://a", {"token": "file"})
    monkeypatch.setenv("HEADRACE_TOKEN", "given")
    assert credentials.token("http://a") == "given"


def test_without_headrace_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEADRACE_HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert credentials.file() == tmp_path / "config" / "headrace" / "credentials.json"


def test_a_refused_token_is_not_sent_again() -> None:
    credentials.remember("http://a", {"token": "old"})
    assert credentials.headers("http://a", "old") == {}


def test_an_access_token_is_used_until_shortly_before_its_end(issuer: str) -> None:
    credentials.remember(issuer, {"access_token": "a", "refresh_token": "r0", "expires_in": 300})
    assert credentials.token(issuer) == "a"
    assert Issuer.count == 0
    credentials.remember(issuer, {"access_token": "a", "refresh_token": "r0", "expires_in": 20, "user": "anna"})
    assert credentials.token(issuer) == "a1"
    assert credentials.entry(issuer)["user"] == "anna" and credentials.entry(issuer)["refresh_token"] == "r1"


def test_a_login_that_ended_is_forgotten(issuer: str) -> None:
    credentials.remember(issuer, {"access_token": "a", "refresh_token": "stale", "expires_in": 0})
    credentials.remember("http://other", {"token": "kept"})
    with pytest.raises(Unauthenticated, match="has ended"):
        credentials.token(issuer)
    assert credentials.entry(issuer) == {} and credentials.token("http://other") == "kept"


def test_a_platform_that_is_down_ends_no_login() -> None:
    url = "http://127.0.0.1:9"
    credentials.remember(url, {"access_token": "a", "refresh_token": "r", "expires_in": 0})
    with pytest.raises(BadInput, match="is it up"):
        credentials.token(url)
    assert credentials.entry(url)["refresh_token"] == "r"


def _take(url: str, home: str, answers: Any) -> None:
    import os

    os.environ["HEADRACE_HOME"] = home
    answers.put(credentials.token(url))


def test_processes_that_refresh_at_once_do_not_lose_the_login(issuer: str, home: Path) -> None:
    credentials.remember(issuer, {"access_token": "a", "refresh_token": "r0", "expires_in": 0})
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_take, args=(issuer, str(home), answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {answers.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(10)
    answers.close()
    answers.join_thread()
    assert found == {"a1"} and Issuer.count == 1 and not Issuer.ended


@pytest.mark.parametrize("content", ["", "{", "[]", '{"http://a": 1}', "\0", "null"])
def test_a_damaged_file_is_said(home: Path, content: str) -> None:
    home.mkdir()
    (home / "credentials.json").write_text(content)
    with pytest.raises(BadInput, match="damaged"):
        credentials.token("http://a")


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_HOME", "/dev/null/x")
    with pytest.raises(BadInput, match="cannot be"):
        credentials.remember("http://a", {"token": "x"})


def test_forgetting() -> None:
    credentials.remember("http://a", {"token": "x"})
    assert credentials.forget("http://A/") and not credentials.forget("http://a")
    assert credentials.token("http://a") == ""


class Service(BaseHTTPRequestHandler):
    """A service that says whom it believes, and writes down what it is sent."""

    believes, sent = "", list[str]()

    def do_GET(self) -> None:
        Service.sent.append(self.headers.get("authorization", ""))
        body = json.dumps({"service": "sharing", "issuer": Service.believes, "odd": 1}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def service() -> Iterator[str]:
    Service.sent = []
    credentials.told.cache_clear()
    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_login_is_good_at_a_service_of_this_machine_that_believes_its_issuer(service: str) -> None:
    credentials.remember("http://127.0.0.1:1", {"access_token": "a", "expires_in": 300})
    Service.believes = "http://localhost:1/realms/headrace"
    assert credentials.token(service) == "a"
    assert Service.sent == [""], "no token is sent to find out"
    assert not credentials.tied(service, "http://127.0.0.1.evil.example") and credentials.tied(
        service, "http://[::1]:9"
    )
    assert credentials.issuer_of(service) == "http://127.0.0.1:1"


def test_a_service_is_not_given_a_token_for_another_host_by_saying_so(service: str) -> None:
    """Only what the user tied together, or what is on this machine, both of it."""
    credentials.remember("https://hub.example", {"access_token": "b", "expires_in": 300})
    Service.believes = "https://hub.example/realms/headrace"
    assert credentials.token(service) == ""
    assert credentials.token("https://other.example") == ""
    also = [credentials.normal("https://Data.Example/"), service]
    credentials.remember("https://hub.example", {"access_token": "b", "expires_in": 300, "also": also})
    assert credentials.token("https://data.example") == "b" and credentials.token(service) == "b"
    assert credentials.token("http://data.example") == ""
    assert credentials.tied("https://hub.example", "https://data.example")
    assert not credentials.tied("https://hub.example", "https://other.example")
    assert not credentials.tied("https://hub.example", "http://127.0.0.1:1") and not credentials.tied(
        service, "http://x.example"
    )
