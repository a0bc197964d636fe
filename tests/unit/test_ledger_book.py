"""The ledger on its disk: what is said is there, whatever is lost in between; what was changed is noticed."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from headrace import merkle
from headrace.checks.ledgers import refused
from headrace.errors import CorruptState, HeadraceError, Tampered, UnknownContract
from headrace.trust import evidence
from headrace.trust.entries import Entry, Head, fingerprint, public_bytes, sign
from headrace.trust.evm.book import LOG, STATE, Book, rebuild
from headrace.trust.evm.machine import genesis
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Anchor, Deploy, Receipt, Record, Revoke
from headrace.trust.transactions import keccak

FIRST = [Deploy("model", b"one"), Deploy("dataset", b"two"), Anchor(bytes(32), 9)]


@contextmanager
def book(path: Path) -> Iterator[Book]:
    opened = Book(path / "ledger", Keyring(path / "keys"))
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Receipt]]:
    """A ledger with some acts in several blocks."""
    path = tmp_path_factory.mktemp("original")
    with book(path) as opened:
        made = opened.submit("acme", FIRST)
        made += opened.submit("acme", [Record(made[0].contract, b"result")])
        return path, made + opened.submit("acme", [Revoke(made[0].contract, "wrong")])


@pytest.fixture
def receipts(tmp_path: Path, original: tuple[Path, list[Receipt]]) -> list[Receipt]:
    """Of a copy of that ledger in this test's folder."""
    shutil.copytree(original[0], tmp_path, dirs_exist_ok=True)
    return original[1]


def all_of(path: Path, receipts: list[Receipt]) -> list[object]:
    """Everything a ledger says of them."""
    with book(path) as opened:
        said: list[object] = [opened.read(receipts[0].contract), opened.read(receipts[1].contract), opened.status()]
        return [*said, opened.anchored(receipts[2].transaction), opened.submit("acme", FIRST)]


class Gone(BaseException):
    """Where the process is killed."""


@pytest.mark.parametrize("moment", ["before the log", "after the log", "after the state"])
def test_a_block_is_whole_or_not_there_whenever_the_process_dies(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receipts: list[Receipt]
) -> None:
    opened = Book(tmp_path / "ledger", Keyring(tmp_path / "keys"))
    height = opened.status().height

    def die(*_: object) -> None:
        raise Gone

    append = opened._log.append
    if moment == "before the log":
        monkeypatch.setattr(opened._log, "append", die)
    elif moment == "after the log":
        monkeypatch.setattr(opened._store, "keep", die)
    else:
        monkeypatch.setattr(opened._log, "append", lambda *given: [append(*given), opened._store.keep(), die()])
    with pytest.raises(Gone):
        opened.submit("acme", [Deploy("model", b"new"), Deploy("model", b"newer")])
    opened._log._db.close()  # as the kernel would
    opened._store._db.close()
    with book(tmp_path) as again:
        there = moment != "before the log"
        assert again.status().height == height + there
        made = again.submit("acme", [Deploy("model", b"new"), Deploy("model", b"newer")])
        assert again.status().height == height + 1
        assert [again.read(each.contract).claim for each in made] == [b"new", b"newer"]
        assert again.read(receipts[0].contract).result == b"result"


def test_a_lost_state_is_made_again_from_the_log(tmp_path: Path, receipts: list[Receipt]) -> None:
    before = all_of(tmp_path, receipts)
    (tmp_path / "ledger" / STATE).unlink()
    assert all_of(tmp_path, receipts) == before


def test_a_damaged_state_is_set_aside(tmp_path: Path, receipts: list[Receipt]) -> None:
    before = all_of(tmp_path, receipts)
    (tmp_path / "ledger" / STATE).write_bytes(b"no database at all" * 1000)
    assert all_of(tmp_path, receipts) == before
    assert (tmp_path / "ledger" / f"{STATE}.damaged").exists()


def test_an_older_state_catches_up(tmp_path: Path, receipts: list[Receipt]) -> None:
    state = tmp_path / "ledger" / STATE
    shutil.copy(state, tmp_path / "older")
    with book(tmp_path) as opened:
        made = opened.submit("acme", [Deploy("model", b"later")])
    before = all_of(tmp_path, receipts)
    shutil.copy(tmp_path / "older", state)
    assert all_of(tmp_path, receipts) == before
    with book(tmp_path) as opened:
        assert opened.read(made[0].contract).claim == b"later"


def test_a_backup_of_the_log_put_back_is_the_chain_as_it_was_then(tmp_path: Path, receipts: list[Receipt]) -> None:
    """A state that is ahead of it, or of another branch, does not count."""
    before = all_of(tmp_path, receipts)
    shutil.copy(tmp_path / "ledger" / LOG, tmp_path / "backup")
    with book(tmp_path) as opened:
        opened.submit("acme", [Deploy("model", b"lost")])
    shutil.copy(tmp_path / "backup", tmp_path / "ledger" / LOG)
    assert all_of(tmp_path, receipts) == before


def test_a_ledger_made_anew_from_its_log_is_the_same(tmp_path: Path, receipts: list[Receipt]) -> None:
    before = all_of(tmp_path, receipts)
    assert rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys")) == before[2]
    (tmp_path / "copy" / "ledger").mkdir(parents=True)
    shutil.copy(tmp_path / "ledger" / LOG, tmp_path / "copy" / "ledger" / LOG)
    shutil.copytree(tmp_path / "keys", tmp_path / "copy" / "keys")
    assert all_of(tmp_path / "copy", receipts) == before


def test_a_ledger_without_its_operators_key_is_not_opened(tmp_path: Path, receipts: list[Receipt]) -> None:
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(CorruptState, match="another operator's key"), book(tmp_path):
        pass


@pytest.mark.parametrize("column", ["block", "block_hash", "time", "raw", "status", "contract", "hash"])
def test_any_change_of_an_entry_is_noticed(column: str, tmp_path: Path, receipts: list[Receipt]) -> None:
    """Of the contract's record in the database: by whoever reads it, asks for evidence, or makes the chain again."""
    with sqlite3.connect(tmp_path / "ledger" / LOG) as db:
        [value] = db.execute(f"SELECT {column} FROM entries WHERE idx = 1").fetchone()
        one, other = (b"\x01", b"\x02") if isinstance(value, bytes) else ("1", "2")
        changed: Any = value + 1 if isinstance(value, int) else value[:-1] + (other if value[-1:] == one else one)
        assert changed != value
        db.execute(f"UPDATE entries SET {column} = ? WHERE idx = 1", (changed,))
    db.close()
    with pytest.raises(HeadraceError), book(tmp_path) as opened:
        opened.evidence(receipts[0].transaction)
    with pytest.raises(HeadraceError), book(tmp_path) as opened:
        opened.read(receipts[0].contract)
    with pytest.raises(CorruptState):
        rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys"))


def test_an_entry_changed_together_with_its_hash_is_noticed(tmp_path: Path, receipts: list[Receipt]) -> None:
    """The chain of hashes, and the blocks, do not fit any more."""
    with book(tmp_path) as opened:
        entry = opened._log.entry(1)
    changed = entry.model_copy(update={"time": entry.time + 1})
    with sqlite3.connect(tmp_path / "ledger" / LOG) as db:
        db.execute("UPDATE entries SET time = ?, hash = ? WHERE idx = 1", (changed.time, changed.hash()))
    db.close()
    with pytest.raises(CorruptState):
        rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys"))
    with pytest.raises(CorruptState), book(tmp_path) as opened:
        opened.read(receipts[1].contract)


def test_any_change_of_the_chains_data_is_noticed(tmp_path: Path, receipts: list[Receipt]) -> None:
    """Nodes of its trees are known by their hashes: those that are read are checked, and the others are not read."""
    state = tmp_path / "ledger" / STATE
    with book(tmp_path) as opened:
        expected = opened.read(receipts[0].contract)
    with sqlite3.connect(state) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        keys = [key for [key] in db.execute("SELECT key FROM nodes WHERE length(key) = 32")]
    db.close()
    shutil.copy(state, tmp_path / "good")
    noticed = 0
    for key in keys:
        shutil.copy(tmp_path / "good", state)
        with sqlite3.connect(state) as db:
            [value] = db.execute("SELECT value FROM nodes WHERE key = ?", (key,)).fetchone()
            db.execute("UPDATE nodes SET value = ? WHERE key = ?", (value[:-1] + bytes([value[-1] ^ 1]), key))
        db.close()
        try:
            with book(tmp_path) as opened:
                noticed += (tmp_path / "ledger" / f"{STATE}.damaged").exists()
                assert opened.read(receipts[0].contract) == expected
        except CorruptState:
            noticed += 1
        (tmp_path / "ledger" / f"{STATE}.damaged").unlink(missing_ok=True)
    assert noticed >= 8  # headers, code, the trees of receipts and accounts


def test_a_full_disk_records_nothing(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        before, db = opened.status(), opened._log._db
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            opened.submit("acme", [Deploy("model", b"x" * 100_000)])
        assert opened.status() == before
        db.execute("PRAGMA max_page_count = 1000000")
        [made] = opened.submit("acme", [Deploy("model", b"x" * 100_000)])
        assert opened.read(made.contract).claim == b"x" * 100_000
        assert opened.status().height == before.height + 1


def test_a_state_that_cannot_be_written_waits_in_memory(tmp_path: Path, receipts: list[Receipt]) -> None:
    """The log has the block: it is recorded, and read, and is made again when the process dies before."""
    with book(tmp_path) as opened:
        db = opened._store._db
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
        made = [opened.submit("acme", [Deploy("model", b"x" * 50_000 + b"%d" % at)])[0] for at in range(3)]
        assert opened._store._whole
        assert opened.read(made[0].contract).claim == b"x" * 50_000 + b"0"
        height = opened.status().height
    with book(tmp_path) as opened:
        assert opened.status().height == height
        assert opened.read(made[2].contract).claim == b"x" * 50_000 + b"2"


def forged(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same evidence with an entry of its own and everything after it made again, signed by somebody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = public_bytes(key)
    header = genesis(hashlib.sha256(public).digest(), 1)
    begun = f"0x{keccak(header).hex()}"
    first = Entry(**{**document["first"], "previous": begun})
    entry = Entry(**{**document["entry"], "index": 1, "previous": f"0x{first.hash().hex()}", **changes})
    leaves = [first.hash(), entry.hash()]
    head = Head(**{**document["head"], "genesis": begun, "size": 2, "root": f"0x{merkle.root(leaves).hex()}"})
    return {
        **document,
        "genesis": f"0x{header.hex()}",
        "first": first.model_dump(),
        "first_path": [f"0x{leaves[1].hex()}"],
        "entry": entry.model_dump(),
        "path": [f"0x{leaves[0].hex()}"],
        "before": [f"0x{leaves[1].hex()}"],
        "head": head.model_dump(),
        "operator": f"0x{public.hex()}",
        "signature": f"0x{sign(key, head).hex()}",
    }


def test_evidence_of_another_operator_is_of_an_unknown_signer(tmp_path: Path, receipts: list[Receipt]) -> None:
    """Somebody can always write a chain of his own; whoever pins ours does not take it for ours."""
    with book(tmp_path) as opened:
        document, status = opened.evidence(receipts[0].transaction), opened.status()
    other = forged(document)
    facts = evidence.check(other)
    assert not facts.known and facts.operator != status.operator
    assert facts.act == FIRST[0]  # what the company signed, it signed
    for pin in (status.operator, status.genesis):
        refused(json.dumps(other), [pin], "another operator's chain was taken for the pinned one")
    assert evidence.check(other, [facts.operator]).known
    assert fingerprint(bytes.fromhex(other["operator"][2:])) == facts.operator


@pytest.mark.parametrize(
    "change", [{"contract": "0x" + "1" * 40}, {"status": 0}, {"raw": "0x"}, {"previous": "0x" + "0" * 64}]
)
def test_an_operator_cannot_say_what_was_not_signed(
    change: dict[str, Any], tmp_path: Path, receipts: list[Receipt]
) -> None:
    with book(tmp_path) as opened:
        document = opened.evidence(receipts[0].transaction)
    refused(json.dumps(forged(document, **change)), (), f"evidence was believed with {change}")


def test_an_operator_cannot_move_a_transaction_to_another_chain_id(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        document = opened.evidence(receipts[0].transaction)
    document["head"]["chain"] += 1
    refused(json.dumps(forged(document)), (), "a transaction of another chain id was believed")


def test_what_was_done_to_a_contract_follows_its_making(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        [other] = opened.submit("other", [Deploy("model", b"theirs")])
        [theirs] = opened.submit("other", [Record(other.contract, b"theirs")])
        documents = [opened.evidence(each.transaction) for each in (*receipts, other, theirs)]
    deployed, dataset, batch, recorded, revoked, foreign, result = map(evidence.check, documents)
    evidence.follows(recorded, deployed)
    evidence.follows(revoked, deployed)
    evidence.follows(result, foreign)
    unknown = evidence.check(forged(documents[3]))
    for later, earlier in (
        (recorded, foreign),
        (result, deployed),
        (recorded, dataset),
        (batch, deployed),
        (dataset, deployed),
        (recorded, recorded),
        (unknown, deployed),
        (replace(recorded, sender=foreign.sender), deployed),
        (replace(recorded, index=deployed.index), deployed),
    ):
        with pytest.raises(Tampered):
            evidence.follows(later, earlier)


def test_an_entry_that_is_gone_from_the_middle_is_noticed(tmp_path: Path, receipts: list[Receipt]) -> None:
    with sqlite3.connect(tmp_path / "ledger" / LOG) as db:
        db.execute("DELETE FROM entries WHERE idx = 2")
    db.close()
    with pytest.raises(CorruptState), book(tmp_path) as opened:
        opened.evidence(receipts[3].transaction)
    with pytest.raises(CorruptState):
        rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys"))


def test_entries_gone_from_the_end_are_told(
    tmp_path: Path, receipts: list[Receipt], caplog: pytest.LogCaptureFixture
) -> None:
    """Like a backup that was put back: a shorter chain, which whoever has a receipt notices."""
    with sqlite3.connect(tmp_path / "ledger" / LOG) as db:
        db.execute("DELETE FROM entries WHERE idx >= 4")
    db.close()
    with book(tmp_path) as opened:
        assert "what was recorded since then is gone" in caplog.text
        with pytest.raises(UnknownContract):
            opened.evidence(receipts[4].transaction)
        assert opened.read(receipts[0].contract).result is None


def test_evidence_stays_good_while_the_log_grows(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        early = opened.evidence(receipts[0].transaction)
        opened.submit("acme", [Deploy("model", b"%d" % at) for at in range(9)])
        late = opened.evidence(receipts[0].transaction)
        operator = opened.status().operator
    assert evidence.check(early, [operator]).size < evidence.check(late, [operator]).size
    refused(json.dumps({**late, "head": early["head"], "signature": early["signature"]}), (), "mixed evidence")


def test_the_contract_of_the_anchors_proves_nothing(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        anchors = f"0x{opened._log._db.execute('SELECT tx FROM entries WHERE idx = 0').fetchone()[0].hex()}"
        with pytest.raises(Tampered, match="records nothing"):
            evidence.check(opened.evidence(anchors))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"schema": NaN}', b'"x"'])
def test_what_is_no_document_is_no_evidence(text: bytes) -> None:
    refused(text, (), "nothing at all was believed")


@pytest.mark.parametrize(
    "spoil",
    [
        {"path": [[]] * 100_000},
        {"path": ["0x" + "ab" * 32] * 65},
        {f"n{number}": 0 for number in range(100_000)},
        {"head": {f"n{number}": 0 for number in range(100_000)}},
    ],
)
def test_evidence_of_many_wrong_parts_costs_no_more_than_of_one(
    tmp_path: Path, receipts: list[Receipt], spoil: dict[str, Any]
) -> None:
    with book(tmp_path) as opened:
        document = {**opened.evidence(receipts[0].transaction), **spoil}
    text = json.dumps(document)
    for given in (document, text):
        tracemalloc.start()
        try:
            with pytest.raises(Tampered, match=r"path has too many parts|path\.0 is not of its form|entries where"):
                evidence.check(given)
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
        finally:
            tracemalloc.stop()


def test_whoever_checks_evidence_waits_for_no_chain(tmp_path: Path, receipts: list[Receipt]) -> None:
    with book(tmp_path) as opened:
        (tmp_path / "document").write_text(json.dumps(opened.evidence(receipts[0].transaction)))
    code = "import sys; from pathlib import Path; from headrace.trust.evidence import check\n"
    code += "print(check(Path(sys.argv[1]).read_bytes()).index)\n"
    code += "print([name for name in sys.modules if name in ('eth', 'eth_account', 'eth_utils', 'sqlite3', 'asyncio', 'rlp')])"
    command = [sys.executable, "-c", code, str(tmp_path / "document")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "[]"]
