"""The shipped contract suite and the golden payloads, for every decoder found by discovery."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.checks.decoders import check_decoder
from headrace.errors import Undecodable
from headrace.records import Reading
from headrace.streams.decoders import DECODERS, build

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "decoders").glob("*.json"))


@pytest.mark.parametrize("name", DECODERS.names())
def test_contract(name: str) -> None:
    check_decoder(lambda: build(name))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path, update_golden: bool) -> None:
    case = json.loads(path.read_text())
    outcome = _outcome(case, case["decoder"])
    if update_golden:
        path.write_text(json.dumps({**case, **outcome}, indent=2, ensure_ascii=False) + "\n")
        return
    assert outcome == {key: case[key] for key in outcome}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_detection_finds_the_same(path: Path) -> None:
    case = json.loads(path.read_text())
    if case.get("params") or "error" in case:
        pytest.skip("has settings, or is refused: detection promises nothing")
    auto: Any = build("auto")
    assert auto.which(case["topic"], _payload(case)) == case["decoder"]
    assert _outcome(case, "auto") == {"readings": case["readings"]}


def test_every_decoder_has_a_golden() -> None:
    told = {json.loads(path.read_text())["decoder"] for path in GOLDEN}
    assert told >= set(DECODERS.known) - {"auto"}


def _payload(case: dict[str, Any]) -> bytes:
    return base64.b64decode(case["base64"]) if "base64" in case else case["payload"].encode()


def _outcome(case: dict[str, Any], decoder: str) -> dict[str, Any]:
    try:
        readings = build(decoder, case.get("params")).decode(case["topic"], _payload(case), case["received"])
    except Undecodable as error:
        return {"error": str(error)}
    return {"readings": [_plain(reading) for reading in readings]}


def _plain(reading: Reading) -> dict[str, Any]:
    plain = {"device": reading.device, "time": reading.time, "fields": dict(reading.fields)}
    return {
        **plain,
        **({"id": reading.id} if reading.id else {}),
        **({"units": dict(reading.units)} if reading.units else {}),
    }
