"""Webhooks against a real HTTP server on the loopback: again until taken, once per change, and nowhere it must not go."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import shutil
import sqlite3
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from headrace.services.learning import webhooks
from headrace.services.learning.addresses import public, wrong
from headrace.services.learning.plan import check
from headrace.services.learning.webhooks import FILE, Message, Webhooks, judged, signature
from headrace.spec import parse
from tests import sun


class Receiver:
    """Answers with the given statuses in turn, the last again and again; remembers what it was sent."""

    def __init__(self, *statuses: str, tls: ssl.SSLContext | None = None) -> None:
        self.statuses, self.tls = list(statuses), tls
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    async def __aenter__(self) -> Receiver:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"http://{host}:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append((head[0], headers, body))
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            if status == "silence":
                await reader.read()  # until the sender loses patience
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    @property
    def keys(self) -> list[str]:
        return [headers["idempotency-key"] for _, headers, _ in self.requests]


def message(url: str, identity: str = "a1", state: str = "active", model: str = "m") -> Message:
    body = json.dumps({"id": identity, "state": state, "rule": "hot", "message": "too hot"}).encode()
    return Message(identity, state, model, url, body)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "BACKOFF", (0.02, 0.1))
    monkeypatch.setattr(webhooks, "PACE", 0.02)


@contextlib.asynccontextmanager
async def opened(data: Path, **more: object) -> AsyncIterator[Webhooks]:
    options: dict[str, object] = {"private": True, **more}
    async with Webhooks(data, **options) as hooks:  # type: ignore[arg-type]
        yield hooks


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


async def test_tried_again_until_it_is_taken(tmp_path: Path) -> None:
    async with Receiver("500 no", "429 slow", "200 OK") as receiver, opened(tmp_path, secret=b"key") as hooks:
        hooks.put([message(receiver.url()), message(receiver.url(), state="cleared")], "m@1", 2)
        await until(lambda: hooks.counts() == {"pending": 0, "sent": 2, "failed": 0})
        assert receiver.keys == ["a1-active"] * 3 + ["a1-cleared"], "a cleared alert does not overtake its raising"
        line, headers, body = receiver.requests[0]
        assert line == "POST /hook HTTP/1.1" and json.loads(body)["id"] == "a1"
        assert headers["host"] == f"127.0.0.1:{receiver.port}" and headers["content-type"] == "application/json"
        stamp, _, mac = headers["headrace-signature"].partition(",")
        wanted = hmac.new(b"key", stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
        assert mac == f"v1={wanted}" and abs(int(stamp[2:]) - time.time()) < 60
        assert signature(b"key", int(stamp[2:]), body) == headers["headrace-signature"]


async def test_unsigned_without_a_key(tmp_path: Path) -> None:
    async with Receiver("204 OK") as receiver, opened(tmp_path) as hooks:
        hooks.put([message(receiver.url())], "m@1", 1)
        await until(lambda: bool(receiver.requests))
        assert "headrace-signature" not in receiver.requests[0][1]


async def test_a_restart_neither_loses_nor_repeats(tmp_path: Path) -> None:
    async with Receiver("503 later") as receiver:
        async with opened(tmp_path) as hooks:
            hooks.put([message(receiver.url(), f"a{n}") for n in range(3)], "m@1", 3)
            await until(lambda: len(receiver.requests) >= 2)
        receiver.statuses, before = ["200 OK"], len(receiver.requests)
        async with opened(tmp_path) as hooks:
            assert hooks.cursor("m@1") == 3
            hooks.put([message(receiver.url(), f"a{n}") for n in range(3)], "m@1", 3)
            await until(lambda: hooks.counts()["sent"] == 3)
        async with opened(tmp_path) as hooks:
            hooks.put([message(receiver.url(), "a1")], "m@2", 1)
            await asyncio.sleep(0.2)
            assert hooks.counts() == {"pending": 0, "sent": 3, "failed": 0}
        assert sorted(receiver.keys[before:]) == ["a0-active", "a1-active", "a2-active"]


async def test_what_sending_again_would_not_mend_is_given_up_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Receiver("404 no", "302 there", "200 OK") as receiver, opened(tmp_path, secret=b"s3cr3t") as hooks:
        hooks.put(
            [message(receiver.url(path="/T0KEN/x"), "a1"), message(receiver.url(path="/T0KEN/x"), "a2")], "m@1", 2
        )
        await until(lambda: hooks.counts()["failed"] == 2)
        assert len(receiver.requests) == 2
        assert "redirects are not followed" in hooks.last_error()
    said = capsys.readouterr().err
    assert said.count("\n") == 1, "one sentence, not one for each"
    assert f"model 'm' was not delivered to http://127.0.0.1:{receiver.port}: HTTP 404" in said
    assert "T0KEN" not in said and "s3cr3t" not in said


async def test_given_up_after_a_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    async with Receiver("500 no") as receiver, opened(tmp_path, clock=lambda: now) as hooks:
        hooks.put([message(receiver.url())], "m@1", 1)
        await until(lambda: hooks.last_error() == "model 'm', rule 'hot': HTTP 500")
        now += webhooks.PATIENCE + 1
        await until(lambda: hooks.counts()["failed"] == 1)
    assert "attempts: HTTP 500" in capsys.readouterr().err


async def test_a_dead_address_does_not_hold_up_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.3)
    async with Receiver("silence") as dead, Receiver("200 OK") as receiver, opened(tmp_path) as hooks:
        for n in range(5):
            hooks.put([message(dead.url(), f"d{n}"), message(receiver.url(), f"a{n}")], "m@1", n)
        await until(lambda: hooks.counts()["sent"] == 5)
        assert hooks.counts()["pending"] == 5
        await until(lambda: hooks.last_error() == "model 'm', rule 'hot': no answer within 0.3 s")


async def test_no_receiver_waits_for_another(tmp_path: Path) -> None:
    """One that hangs and one that trickles are held until the healthy one has had everything; both are called by then."""
    healthy, called, done = asyncio.Event(), [asyncio.Event(), asyncio.Event()], 30

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called[0].set()
        await healthy.wait()
        writer.close()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        called[1].set()
        while not healthy.is_set():
            writer.write(b"H" if not writer.transport.get_write_buffer_size() else b"")
            await asyncio.sleep(0.01)
        writer.close()

    servers = [await asyncio.start_server(one, "127.0.0.1", 0) for one in (hang, trickle)]
    bad = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/" for server in servers]
    async with Receiver("200 OK") as receiver, opened(tmp_path) as hooks:
        hooks.put([message(url, f"bad{n}{url}") for url in bad for n in range(3)], "m@1", 1)
        for one in called:
            await asyncio.wait_for(one.wait(), 10)
        hooks.put([message(receiver.url(), f"a{n:02}") for n in range(done)], "m@1", 2)
        await until(lambda: len(receiver.requests) == done)
        assert receiver.keys == [f"a{n:02}-active" for n in range(done)], "in order, while both held their first"
        assert hooks.counts()["pending"] >= 6, "neither of the others had answered, or been given up"
        healthy.set()
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_slow_receivers_leave_places_to_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT", 0.2)
    monkeypatch.setattr(webhooks, "SLOW", 0.1)
    busy: list[int] = []
    start = Webhooks._start

    def watched(hooks: Webhooks) -> float | None:
        wait = start(hooks)
        busy.append(sum(lane.slow and lane.task is not None for lane in hooks._lanes.values()))
        return wait

    async with Receiver("silence") as dead, Receiver("200 OK") as receiver, opened(tmp_path) as hooks:
        urls = [dead.url(path=f"/{n}") for n in range(3 * webhooks.AT_ONCE)]
        hooks.put([message(url, f"s{n}") for n, url in enumerate(urls)], "m@1", 1)
        await until(lambda: len(hooks._lanes) == len(urls) and all(lane.slow for lane in hooks._lanes.values()))
        await until(lambda: sum(lane.task is not None for lane in hooks._lanes.values()) <= webhooks.AT_ONCE // 2)
        monkeypatch.setattr(Webhooks, "_start", watched)
        hooks.put([message(receiver.url(), f"a{n}") for n in range(9)], "m@1", 2)
        await until(lambda: hooks.counts()["sent"] == 9)
        assert receiver.keys == [f"a{n}-active" for n in range(9)]
        called = len(dead.requests)
        await until(lambda: len(dead.requests) > called + len(urls))
        assert max(busy) == webhooks.AT_ONCE // 2, "they are called as well, but never with all places"
        latest = [line for line, _, _ in dead.requests[-len(urls) :]]
        assert len(set(latest)) > len(urls) // 2, "and each in its turn"


async def test_an_address_that_cannot_be_called_is_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as hooks:
        bad = ["http://[::1/", "http://" + "a" * 70 + ".example/"]
        hooks.put([message(url, f"a{n}") for n, url in enumerate(bad)], "m@1", 1)
        await until(lambda: hooks.counts()["failed"] == len(bad))
        assert "mend `webhook` in the spec" in hooks.last_error()


async def test_the_queue_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "PENDING", 10)
    async with Receiver("500 no") as receiver, opened(tmp_path) as hooks:
        hooks.put([message(receiver.url(), f"a{n}") for n in range(25)], "m@1", 25)
        assert hooks.counts() == {"pending": 10, "sent": 0, "failed": 15}
        assert hooks.last_error() == "model 'm', rule 'hot': given up: more than 10 are waiting"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_private_addresses_are_refused_by_default(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Receiver("200 OK") as receiver, opened(tmp_path, private=False) as hooks:
        hooks.put([message(receiver.url(host))], "m@1", 1)
        await until(lambda: hooks.counts()["failed"] + len(receiver.requests) > 0)
        assert receiver.requests == []
    assert "--webhook-private" in capsys.readouterr().err


async def test_what_was_checked_is_what_is_called(tmp_path: Path) -> None:
    """A name that stands for a public address when it is checked and for a private one when it is called (DNS rebinding)."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["203.0.113.7", "127.0.0.1"]

    async with Receiver("200 OK") as receiver, opened(tmp_path, private=False, resolve=resolve) as hooks:
        hooks.put([message(receiver.url("evil.example"))], "m@1", 1)
        await until(lambda: hooks.counts()["failed"] == 1)
        assert receiver.requests == [] and asked == ["evil.example"], "one private address among several is enough"
    async with Receiver("200 OK") as receiver, opened(tmp_path / "..", resolve=resolve) as hooks:
        hooks.put([message(receiver.url("good.example"), "b1")], "m@2", 1)
        await until(lambda: hooks.counts()["sent"] == 1)
        assert receiver.requests[0][1]["host"] == f"good.example:{receiver.port}", (
            "its own name, at the address looked up"
        )
        assert asked == ["evil.example", "good.example"]


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:192.168.0.1", "2001:db8::1",
     pytest.param("192.88.99.1", id="6to4-relay"), pytest.param("fec0::1", id="site-local"),
       pytest.param("::93.184.216.34", id="IPv4-compatible"), pytest.param("::ffff:0:93.184.216.34", id="IPv4-translated"),
       pytest.param("64:ff9b::a00:1", id="NAT64"), pytest.param("64:ff9b:1::5db8:d822", id="NAT64-local"),
       pytest.param("2002:7f00:1::", id="6to4"), pytest.param("2002:c058:6301::", id="6to4-of-a-relay"),
       pytest.param("2001:0:5db8:d822:0:0:f5ff:fffe", id="Teredo-client"),
       pytest.param("2001:0:a00:1:0:0:a247:27dd", id="Teredo-server"),
       pytest.param("2606:2800:220:1:0:5efe:a00:1", id="ISATAP"),
       pytest.param("3fff::1", id="documentation"), pytest.param("5f00::1", id="segment-routing")],
)  # fmt: skip
def test_which_addresses_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::",
     "2001:0:5db8:d822:0:0:a247:27dd"],
)  # fmt: skip
def test_which_addresses_are_public(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    ("status", "what"),
    [(200, "sent"), (299, "sent"), (301, "failed"), (400, "failed"), (404, "failed"), (410, "failed"),
     (408, "pending"), (429, "pending"), (500, "pending"), (503, "pending"), (599, "pending")],
)  # fmt: skip
def test_what_a_status_means(status: int, what: str) -> None:
    assert judged(status).status == what
    assert judged(status, "999999").wait <= webhooks.ASKED and judged(status, "soon").wait == 0


async def test_a_rule_that_is_gone_is_withdrawn_once(tmp_path: Path) -> None:
    async with Receiver("200 OK") as receiver, opened(tmp_path) as hooks:
        told = [message(receiver.url(), name) for name in ("a1", "a2", "a3")]
        hooks.put([*told, message(receiver.url(), "a3", "cleared")], "m@1", 4)
        await until(lambda: hooks.counts()["sent"] == 4)
        hooks.withdraw("m", keep={"a2"})
        hooks.withdraw("m", keep={"a2"})
        await until(lambda: len(receiver.requests) == 5)
        await asyncio.sleep(0.1)
        assert receiver.keys[4:] == ["a1-withdrawn"]
        about = json.loads(receiver.requests[4][2])
        assert about["state"] == "cleared" and about["message"] == "withdrawn, was: too hot" and about["cleared_ms"] > 0


async def test_what_waits_goes_to_the_new_address(tmp_path: Path) -> None:
    async with Receiver("404 no", "500 no") as old, Receiver("200 OK") as new, opened(tmp_path) as hooks:
        hooks.put([message(old.url(), "a1")], "m@1", 1)
        await until(lambda: hooks.counts()["failed"] == 1)
        hooks.put([message(old.url(), "a2"), message(old.url(), "b1", model="other")], "m@1", 2)
        await until(lambda: len(old.requests) >= 2)
        hooks.retarget("m", new.url())
        await until(lambda: hooks.counts()["sent"] == 1)
        assert new.keys == ["a2-active"]
        hooks.retarget("other", None)
        assert hooks.counts() == {"pending": 0, "sent": 1, "failed": 2}


async def test_a_damaged_queue_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / FILE).write_bytes(b"no database " * 1000)
    async with opened(tmp_path) as hooks:
        assert hooks.cursor("m@1") == 0 and hooks.counts()["pending"] == 0
    assert (tmp_path / f"{FILE}.damaged").exists() and "is damaged" in capsys.readouterr().err


async def test_nothing_of_the_key_is_on_disk(tmp_path: Path) -> None:
    async with Receiver("200 OK") as receiver, opened(tmp_path, secret=b"very-secret-key") as hooks:
        hooks.put([message(receiver.url())], "m@1", 1)
        await until(lambda: hooks.counts()["sent"] == 1)
    assert all(b"very-secret-key" not in file.read_bytes() for file in tmp_path.iterdir())
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as db:
        assert db.execute("SELECT COUNT(*) FROM deliveries").fetchone() == (1,)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_the_certificate_must_be_of_the_name_and_not_of_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was looked up is called, under the name of the spec."""
    key, certificate = tmp_path / "a.key", tmp_path / "a.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -addext"
    words = [*command.split(), "subjectAltName=DNS:hooks.example", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Receiver("200 OK", tls=tls) as receiver, opened(tmp_path, resolve=resolve) as hooks:
        good, bad = (f"https://{name}:{receiver.port}/" for name in ("hooks.example", "other.example"))
        hooks.put([message(good, "a1"), message(bad, "a2")], "m@1", 2)
        await until(lambda: hooks.counts()["sent"] == 1 and hooks.last_error() != "")
        assert receiver.keys == ["a1-active"] and hooks.last_error().endswith(": no answer (ConnectError)")


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://example.org/#alerts", "without a fragment"), ("http://example.org#@127.0.0.1/", "without a fragment"),
     ("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/x", "expected a"), ("http://127\u30020\u30020\u30021/x", "digits and dots"),
     ("http://\u0661\u0662.example/x", "expected a"), ("http://\uff11.example/", "expected a"),
     ("http://a..b/", "1 to 63"), (f"http://{'a' * 64}.org/", "1 to 63"), ("http://%31%32.org/", "1 to 63"),
     ("http://x.org/a\\b", "backslashes"), ("http://exa\u00admple.org/\u0000", "expected a")],
)  # fmt: skip
def test_addresses_that_can_never_be_called(url: str, message: str) -> None:
    assert message in wrong(url)


@pytest.mark.parametrize(
    "url",
    ["https://example.org", "https://example.org:8443/a?b=c", "http://b\u00fccher.example/x", "http://[2606::1]:80/",
     "http://a_b.example./", "http://2130706433/"],
)  # fmt: skip
def test_addresses_that_may_be_called(url: str) -> None:
    assert wrong(url) == ""


def test_an_address_that_can_never_be_called_is_refused_with_its_line() -> None:
    (document,) = parse(sun.spec("m") + 'alert: {webhook: "http://example.org/#x"}\n', "my.yaml")
    (problem,) = check(document)
    assert str(problem).startswith("my.yaml:") and problem.field == "alert.webhook" and "fragment" in problem.message
