"""Another engine (revm), fed with the ledger's log, comes to the same contracts: ``pytest tests/live/test_ledger_oracle.py
--oracles``. Installed into an environment of its own from PyPI the first time, as in test_oip_oracles."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from headrace.trust import contracts, transactions
from headrace.trust.evm.book import Book
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Anchor, Deploy, Record, Revoke
from tests.live.test_oip_oracles import SCRIPTS, environment, run

DIGESTS = ("claimDigest()", "resultDigest()", "revocationDigest()")


def digest(text: bytes | None) -> str:
    return (bytes(32) if text is None else hashlib.sha256(text).digest()).hex()


def test_another_engine_comes_to_the_same_contracts(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--oracles"):
        pytest.skip("other people's engines are asked with --oracles")
    book = Book(tmp_path / "ledger", Keyring(tmp_path / "keys"))
    asked, expected = [], []
    for index in range(20):
        company, text = f"company{index % 3}", b"%d" % index
        [made] = book.submit(company, [Deploy("model", text)])
        result = text if index % 2 else None
        reason = text if index % 3 == 0 else None
        if result is not None:
            book.submit(company, [Record(made.contract, result)])
        if reason is not None:
            book.submit(company, [Revoke(made.contract, reason.decode())])
        book.submit(company, [Anchor(hashlib.sha256(text).digest(), index + 1)])
        asked += [(made.contract, contracts.method("Model", name).hex()) for name in ("owner()", *DIGESTS)]
        owner = transactions.raw_address(book.account(company)).rjust(32, b"\0").hex()
        expected += [owner, digest(text), digest(result), digest(reason)]
    entries = [book._log.entry(index) for index in range(book._log.size)]
    book.close()
    sent = []
    for entry in entries:
        found = transactions.decode(bytes.fromhex(entry.raw[2:]))
        sent.append((found.sender, found.to, found.data.hex(), found.nonce, entry.contract, entry.block, entry.time))
    (tmp_path / "given.json").write_text(json.dumps({"sent": sent, "asked": asked}))
    python = environment("revm", "pyrevm==0.3.7") / "python"
    answers = run(str(python), str(SCRIPTS / "replay_revm.py"), str(tmp_path / "given.json"))
    assert json.loads(answers.splitlines()[-1]) == expected
    assert len(sent) == 1 + 20 + 10 + 7 + 20
