"""`headrace verify`, `bundle` and `trust`: what they print, and what they end with."""

from __future__ import annotations

import json
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from headrace.cli import app
from headrace.commands import verify
from tests import tampering
from tests.bundled import Made, dataset, model, signer

Run = Callable[..., Any]
ACME, BORG = signer("acme").public, signer("borg").public


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that ends with that code; what it printed, or the error's line if it could not be done."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def go(*arguments: object, code: int = 0) -> Any:
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        assert done.exit_code == code, (done.output, done.exception)
        if code == 1:
            assert done.stderr.startswith("headrace: ")
            return done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return go


@pytest.fixture
def made(tmp_path: Path) -> Made:
    found = model(tmp_path)
    found.write("a.bundle")
    return found


def test_an_unknown_signer_is_never_called_verified(run: Run, made: Made) -> None:
    told = run("verify", "a.bundle", "--offline", code=4)
    assert "Unknown signer:" in told and "verified" not in told
    assert ACME.fingerprint in told and made.ledger.operator in told
    report = run("verify", "a.bundle", "--offline", "--json", code=4)
    assert (report["level"], report["passed"]) == ("none", False)
    assert "verified" not in json.dumps(report)
    assert [check["state"] for check in report["checks"]] == ["passed"] * 7 + ["failed"]


def test_a_pinned_signer(run: Run, made: Made, tmp_path: Path) -> None:
    (tmp_path / "acme.pem").write_bytes(ACME.pem)
    run("trust", "add", "Acme GmbH", "--key", "acme.pem")
    run("trust", "add", "Acme GmbH", "--operator", made.ledger.operator)
    assert run("trust", "list", "--json") == {"Acme GmbH": {"key": ACME.fingerprint, "operator": made.ledger.operator}}
    told = run("verify", "a.bundle", "--offline")
    assert "md_acme verified, level L1, intact" in told
    assert "a single-operator chain" in told and "not checked:\n- whether it was revoked" in told
    assert told.count("✓") == 8 and "✗" not in told
    report = run("verify", "a.bundle", "--json")
    assert (report["id"], report["level"], report["passed"]) == ("md_acme", "L1", True)
    run("trust", "delete", "Acme GmbH")
    run("verify", "a.bundle", code=4)


def test_a_key_for_once(run: Run, made: Made, tmp_path: Path) -> None:
    assert "on the word of 'the key given'" in run("verify", "a.bundle", "--key", ACME.fingerprint)
    assert "on the word of 'the operator given'" in run("verify", "a.bundle", "--operator", made.ledger.operator)
    run("trust", "add", "acme", "--key", ACME.fingerprint)
    assert f"not {BORG.fingerprint}" in run("verify", "a.bundle", "--key", BORG.fingerprint, code=3)
    assert not (tmp_path / "home/trust.json").read_text().count(BORG.fingerprint)


def test_what_was_changed(run: Run, made: Made, tmp_path: Path) -> None:
    good = (tmp_path / "a.bundle").read_bytes()
    (tmp_path / "b.bundle").write_bytes(tampering.flipped(good, len(good) // 2))
    told = run("verify", "b.bundle", "--key", ACME.fingerprint, code=3)
    assert "✗ L0 bundle:" in told and "Not verified:" in told
    parts = tampering.parts_of(tmp_path / "a.bundle")
    (tmp_path / "c.bundle").write_bytes(tampering.packed(parts | {"artifact/weights.bin": b"others"}))
    report = run("verify", "c.bundle", "--key", ACME.fingerprint, "--json", code=3)
    assert report["level"] == "none" and not report["passed"]
    assert (report["checks"][-1]["name"], report["checks"][-1]["state"]) == ("statement", "failed")
    assert report["not_checked"] == ["everything else: checking ends at what fails"]


def test_what_was_revoked(run: Run, made: Made) -> None:
    made.revoke("wrong year\x1b[2J")
    made.write("r.bundle")
    told = run("verify", "r.bundle", "--key", ACME.fingerprint, code=3)
    assert "not to be relied upon any more: wrong year" in told and "\x1b" not in told


def test_what_cannot_be_checked(run: Run, made: Made, tmp_path: Path) -> None:
    assert "No such file" in run("verify", "none.bundle", code=1)
    assert "is no regular file" in run("verify", tmp_path, code=1)
    assert "neither a fingerprint" in run("verify", "a.bundle", "--key", "sha256:abc", code=1)
    (tmp_path / "x.pem").write_text("nothing")
    assert "no public key" in run("verify", "a.bundle", "--key", "x.pem", code=1)


@pytest.mark.parametrize("option", ["--key", "--operator"])
def test_an_empty_key_is_not_no_key(run: Run, made: Made, option: str) -> None:
    run("trust", "add", "acme", "--key", ACME.fingerprint)
    for command in (("verify", "a.bundle"), ("trust", "add", "x")):
        for given in ((option, ""), (f"{option}=",)):
            run(*command, *given, code=2)
    run("verify", "a.bundle")


def test_a_library_that_is_missing(run: Run, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coincurve", None)
    assert "pip install 'headrace[verify]'" in run("verify", "a.bundle", "--key", ACME.fingerprint, code=1)


def test_pins_are_ones_own(run: Run, made: Made, tmp_path: Path) -> None:
    assert "nobody" in run("trust", "list")
    run("trust", "add", "acme", "--key", ACME.fingerprint)
    path = tmp_path / "home/trust.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "pinned to another key" in run("trust", "add", "acme", "--key", BORG.fingerprint, code=1)
    assert "say what to pin" in run("trust", "add", "borg", code=1)
    assert "control character" in run("trust", "add", "a\x1bb", "--key", BORG.fingerprint, code=1)
    assert "1 to 100 characters" in run("trust", "add", " ", "--key", BORG.fingerprint, code=1)
    assert "nothing is pinned as 'borg'" in run("trust", "delete", "borg", code=1)
    for damaged in ("[]", "{", '{"a": 1}', '{"a": {"key": "x"}}', '{"a": {"password": "sha256:"}}'):
        path.write_text(damaged)
        assert "is damaged" in run("verify", "a.bundle", code=1)


class Door(BaseHTTPRequestHandler):
    """Gives bundles out."""

    bundles: ClassVar[dict[str, bytes]] = {}
    cut = 0

    def do_GET(self) -> None:
        data = self.bundles.get(self.path.removeprefix("/bundles/"))
        body = b'{"error": "it is not anchored yet"}' if data is None else data
        self.send_response(409 if data is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - self.cut])

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Door]]:
    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HEADRACE_URL", f"http://127.0.0.1:{server.server_port}")
    Door.cut = 0
    yield Door
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_bundle_is_fetched(run: Run, made: Made, door: type[Door], tmp_path: Path) -> None:
    door.bundles["md_acme"] = (tmp_path / "a.bundle").read_bytes()
    told = run("bundle", "md_acme", "-o", "got/md.bundle")
    assert f"headrace verify got/md.bundle --offline --key {ACME.fingerprint}" in told
    assert (tmp_path / "got/md.bundle").read_bytes() == door.bundles["md_acme"]
    assert "--force replaces it" in run("bundle", "md_acme", "-o", "got/md.bundle", code=1)
    found = run("bundle", "md_acme", "--json")
    assert found["key"] == ACME.fingerprint and (tmp_path / "md_acme.bundle").stat().st_size == found["size"]


def test_a_bundle_that_does_not_come_whole(run: Run, made: Made, door: type[Door], tmp_path: Path) -> None:
    assert "not anchored yet" in run("bundle", "md_none", code=1)
    good = (tmp_path / "a.bundle").read_bytes()
    door.bundles["md_acme"], door.cut = good, 100
    assert "nothing was kept" in run("bundle", "md_acme", code=1)
    door.bundles["md_acme"], door.cut = tampering.flipped(good, 100), 0
    assert "Not verified" in run("bundle", "md_acme", code=1)
    assert not list(tmp_path.glob("*md_acme*"))


def test_progress_of_large_ones(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "LARGE", 1)
    dataset(tmp_path).write("d.bundle")
    assert "verified, level L1" in run("verify", "d.bundle", "--key", ACME.fingerprint)
