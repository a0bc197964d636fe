"""docs/bundles.md says what the code does."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from headrace.commands import verify
from headrace.services.verification import bundles, container, statements
from headrace.services.verification.sayings import NAMES
from tests.bundled import model, signer
from tests.tampering import parts_of

PAGE = (Path(__file__).parent.parent.parent / "docs" / "bundles.md").read_text()


def test_every_part_is_explained() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert {bundles.FIRST, *bundles.TOP, f"{bundles.ARTIFACT}…", *(f"{name}/…" for name in NAMES[1:2])} <= named
    for part in bundles.SAID:
        assert f"claim/{part}" in named or "." + part.rpartition(".")[2] in named
    assert "`revocation/…`" in PAGE


def test_types_and_bounds_are_those_of_the_code() -> None:
    assert f"`{statements.PREDICATE}`" in PAGE and f"`{bundles.SCHEMA}`" in PAGE
    assert f"{container.PARTS:,} parts, paths of {container.PATH:,} bytes" in PAGE
    mib = {name: limit // 2**20 for name, limit in bundles.LIMITS.items()}
    assert f"`bundle.json` {mib['bundle.json']} MiB, statements {mib['statement.json']} MiB" in PAGE
    assert f"evidence and claims {mib['evidence.json']} MiB" in PAGE and mib["text.json"] == mib["evidence.json"]


def test_exit_codes_are_those_of_the_command() -> None:
    codes = dict(re.findall(r"^\| (\d) \| (.*) \|$", PAGE, re.MULTILINE))
    assert list(codes) == ["0", "1", "2", "3", "4"]
    assert "a check failed" in codes[str(verify.FAILED)] and "unknown signer" in codes[str(verify.UNKNOWN)]


def test_the_predicate_is_described(tmp_path: Path) -> None:
    document = json.loads(parts_of(model(tmp_path).write())["statement.json"])
    predicate = json.loads(base64.b64decode(document["payload"]))["predicate"]
    assert predicate["signer"] == signer("acme").public.fingerprint
    for name in {*predicate, *predicate["ledger"]} - {"signer"}:
        assert f"`{name}`" in PAGE
