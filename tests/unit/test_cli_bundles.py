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
from tests.paper_ledger import PaperLedger

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
    assert report["id"] == "md_acme" and report["about"] is None
    assert any(left.startswith("whether it was revoked") for left in report["not_checked"])
    assert told.count(ACME.fingerprint) == 1, "told once"
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


def test_what_it_is_is_told(run: Run, made: Made) -> None:
    told = run("verify", "a.bundle", "--key", ACME.fingerprint)
    assert "'forecast' of acme: a model, recorded as trained from a recipe" in told
    assert "metrics mse 0.009" in told and "hyper parameters epochs 20" in told
    assert ACME.fingerprint not in told and ACME.fingerprint[:19] in told, "short in lines"
    about = run("verify", "a.bundle", "--key", ACME.fingerprint, "--json")["about"]
    assert (about["kind"], about["metrics"], about["created_ms"]) == ("model", {"mse": 0.009}, 2)
    assert about["details"]["code"].startswith("sha256:") and len(about["digest"]) == 71


def test_a_ledger_is_pinned(run: Run, made: Made, tmp_path: Path) -> None:
    first = made.ledger.genesis  # type: ignore[attr-defined]
    other = model(tmp_path, ledger=PaperLedger(history=b"2"))
    second = other.ledger.genesis  # type: ignore[attr-defined]
    other.write("b.bundle")
    assert "on the word of 'the ledger given'" in run("verify", "a.bundle", "--genesis", first)
    assert f"genesis block {second}, not {first}" in run("verify", "b.bundle", "--genesis", first, code=3)
    run("trust", "add", "hub", "--operator", made.ledger.operator, "--genesis", first.upper().replace("0X", ""))
    assert "verified" in run("verify", "a.bundle")
    told = run("verify", "b.bundle", "--operator", made.ledger.operator, code=3)
    assert "a second history" in told and f"{first} is pinned as 'hub'" in told
    assert "pinned to another genesis" in run("trust", "add", "hub", "--genesis", second, code=1)
    assert "no hash of a genesis block" in run("trust", "add", "hub", "--genesis", "0x12", code=1)
    assert "--genesis names it" in run("verify", "a.bundle", "--operator", first, code=1)


def test_the_ledger_seen_first_is_remembered(run: Run, made: Made, tmp_path: Path) -> None:
    first = made.ledger.genesis  # type: ignore[attr-defined]
    other = model(tmp_path, ledger=PaperLedger(history=b"2"))
    second = other.ledger.genesis  # type: ignore[attr-defined]
    other.write("b.bundle")
    run("verify", "b.bundle", "--operator", made.ledger.operator)  # of whom nothing is kept
    assert "the first ledger of that operator that is seen is remembered" in run(
        "trust", "add", "hub", "--operator", made.ledger.operator
    )
    run("verify", "b.bundle", "--key", BORG.fingerprint, code=3)
    assert "seen" not in run("trust", "list", "--json")["hub"], "what did not pass is not remembered"
    done = CliRunner().invoke(app, ["verify", "a.bundle"])
    assert done.exit_code == 0 and f"genesis block {first} is remembered as the ledger of 'hub'" in done.stderr
    assert not CliRunner().invoke(app, ["verify", "a.bundle"]).stderr
    assert run("trust", "list", "--json")["hub"]["seen"] == first and "seen first" in run("trust", "list")
    assert f"{first} was the first one seen of 'hub'" in run("verify", "b.bundle", code=3)
    assert "began a second history" in run("trust", "add", "hub", "--genesis", second, code=1)
    run("trust", "add", "hub", "--genesis", first)
    assert run("trust", "list", "--json")["hub"] == {"operator": made.ledger.operator, "genesis": first}


def test_a_fingerprint_however_it_is_written(run: Run, made: Made, tmp_path: Path) -> None:
    digits = ACME.fingerprint.removeprefix("sha256:")
    pairs = ":".join(digits[at : at + 2] for at in range(0, 64, 2)).upper()
    for written in (digits, f"{digits}  -", pairs, f"SHA256:{digits.upper()}"):
        run("verify", "a.bundle", "--key", written)
    assert "--operator names him" in run("verify", "a.bundle", "--key", made.ledger.operator, code=1)
    twice = run("verify", "a.bundle", "--operator", made.ledger.operator, "--operator", BORG.fingerprint, code=1)
    assert "--operator was given 2 times" in twice


def test_a_level_is_the_one_that_is_asked_for(run: Run, made: Made) -> None:
    told = run("verify", "a.bundle", "--level", "L0", "--key", ACME.fingerprint)
    assert "md_acme verified, level L0, recorded" in told and "L1: it was not asked for" in told


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
    assert report["not_checked"] == ["everything else, also whose it is: checking ends at what fails"]
    assert report["about"] is None and report["id"] == ""


def test_what_was_revoked(run: Run, made: Made) -> None:
    made.revoke("wrong year\x1b[2J")
    made.write("r.bundle")
    told = run("verify", "r.bundle", "--key", ACME.fingerprint, code=3)
    assert (
        "md_acme: Its owner says that it is not to be relied upon any more: wrong year" in told and "\x1b" not in told
    )
    assert "✗ L0 revocation: revoked: wrong year" in told


def test_what_cannot_be_checked(run: Run, made: Made, tmp_path: Path) -> None:
    assert "No such file" in run("verify", "none.bundle", code=1)
    assert not CliRunner().invoke(app, ["verify", "none.bundle"]).stdout, "nothing was looked at: no check is red"
    assert "is neither a dataset (ds_…) nor a model" in run("verify", "jb_0123456789abcdef0123", code=1)
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
    told = run("verify", "a.bundle", "--key", ACME.fingerprint, code=1)
    assert "Nothing was checked" in told and "pip install coincurve 'eth-hash[pycryptodome]'" in told
    done = CliRunner().invoke(app, ["verify", "a.bundle", "--key", ACME.fingerprint])
    assert "✗" not in done.stdout and "record on the ledger" not in done.stdout, "that is no word about the ledger"


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
    assert "there is no folder got" in run("bundle", "md_acme", "-o", "got/md.bundle", code=1)
    (tmp_path / "got").mkdir()
    told = run("bundle", "md_acme", "-o", "got/md.bundle")
    assert f"headrace verify got/md.bundle --offline --key {ACME.fingerprint}" in told
    assert f"--operator {made.ledger.operator} --genesis {made.ledger.genesis}" in told  # type: ignore[attr-defined]
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
