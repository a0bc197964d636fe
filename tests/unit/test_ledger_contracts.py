"""The committed contracts are what their sources give, and our encodings are those of other people's libraries."""

from __future__ import annotations

from pathlib import Path

import eth_abi
import pytest
import rlp as library
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from tools import contracts as tool

from headrace.trust import contracts, rlp, transactions
from headrace.trust.ledgers import Act, Anchor, Deploy, Record, Revoke

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
ANCHORS = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
ACTS = st.one_of(
    st.builds(Deploy, st.sampled_from(["dataset", "model"]), st.binary(max_size=200)),
    st.builds(Record, st.just(ADDRESS), st.binary(max_size=200)),
    st.builds(Revoke, st.just(ADDRESS), st.text(st.characters(codec="utf-8"), max_size=50)),
    st.builds(Anchor, st.binary(min_size=32, max_size=32), st.integers(1, 2**64 - 1)),
)
SECRET = b"\7" * 32


def signed(to: str | None, data: bytes, chain: int = 5, nonce: int = 0) -> bytes:
    fields = {"nonce": nonce, "gasPrice": 0, "gas": 10**6, "to": to or b"", "value": 0, "data": data, "chainId": chain}
    return bytes(Account.from_key(SECRET).sign_transaction(fields).raw_transaction)


@pytest.fixture(scope="module")
def compiler() -> Path:
    """solc; where node is missing, or npm reaches nothing, what is committed is not compared."""
    try:
        return tool.compiler()
    except tool.NoCompiler as error:
        pytest.skip(f"the contracts cannot be compiled here: {error}")


@pytest.mark.xdist_group("solc")
def test_the_committed_contracts_are_what_the_sources_give(compiler: Path) -> None:
    assert tool.COMPILED.read_text() == tool.text(tool.compile_all()), "run `python -m tools.contracts` and commit"


@pytest.mark.xdist_group("solc")
def test_a_change_of_a_source_is_a_difference(compiler: Path, tmp_path: Path) -> None:
    for path in tool.SOURCES.glob("*.sol"):
        text = path.read_text().replace("if (resultDigest != 0) revert AlreadyRecorded();", "")
        (tmp_path / path.name).write_text(text)
    changed = tool.compile_all(tmp_path)["contracts"]
    assert changed["Model"]["bytecode"] != contracts.compiled()["Model"]["bytecode"]
    assert changed["Dataset"]["bytecode"] == contracts.compiled()["Dataset"]["bytecode"]


def test_bytecode_has_no_instruction_that_older_chains_lack() -> None:
    """PUSH0 (0x5f) came with Shanghai; GoQuorum and Besu's istanbul and berlin networks do not know it."""
    for name in tool.DEPLOYED:
        code, at = contracts.creation(name), 0
        while at < len(code) and code[at] != 0xFE:  # INVALID: what follows is data
            assert code[at] != 0x5F
            at += 1 + (code[at] - 0x5F if 0x60 <= code[at] <= 0x7F else 0)


@given(st.binary(max_size=300))
def test_a_text_is_encoded_as_the_abi_says(text: bytes) -> None:
    encoded = contracts.encode_text(text)
    assert encoded == eth_abi.encode(["bytes"], [text])
    assert contracts.decode_text(encoded) == text


@given(st.binary(max_size=100), st.data())
def test_a_text_has_one_encoding(text: bytes, data: st.DataObject) -> None:
    encoded = bytearray(contracts.encode_text(text))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        found = contracts.decode_text(bytes(encoded))
    except ValueError:
        return
    assert found != text


@given(ACTS)
def test_an_act_is_what_its_transaction_means(act: Act) -> None:
    to = None if isinstance(act, Deploy) else ANCHORS if isinstance(act, Anchor) else act.contract
    transaction = transactions.decode(signed(to, contracts.calldata(act)))
    assert contracts.meaning(transaction, ANCHORS) == act


@pytest.mark.parametrize(
    ("to", "data"),
    [
        (None, b""),
        (None, contracts.creation("Model")),
        (None, contracts.creation("Model")[:-1] + b"\0" + contracts.encode_text(b"x")),
        (None, contracts.creation("Anchors") + b"\0"),
        (ADDRESS, b""),
        (ADDRESS, contracts.method("Model", "owner()")),
        (ADDRESS, contracts.method("Model", "revoke(bytes)") + contracts.encode_text(b"\xff")),
        (ANCHORS, contracts.calldata(Record(ADDRESS, b""))),
        (ADDRESS, contracts.calldata(Anchor(bytes(32), 1))),
        (ANCHORS, contracts.calldata(Anchor(bytes(32), 1)) + b"\0"),
        (ANCHORS, contracts.method("Anchors", "anchor(bytes32,uint64)") + b"\1" * 64),
    ],
    ids=range(11),
)
def test_what_is_no_act_means_nothing(to: str | None, data: bytes) -> None:
    with pytest.raises(ValueError):
        contracts.meaning(transactions.decode(signed(to, data)), ANCHORS)


def test_the_contract_of_the_anchors_is_no_act() -> None:
    assert contracts.meaning(transactions.decode(signed(None, contracts.creation("Anchors"))), ANCHORS) is None


@given(st.lists(st.binary(max_size=70), max_size=9))
def test_lists_are_written_as_the_library_writes_them(items: list[bytes]) -> None:
    assert rlp.encode(items) == library.encode(items)
    assert rlp.flat(rlp.encode(items)) == items


@given(st.binary(max_size=80))
def test_any_bytes_are_a_list_in_its_one_text_or_none(data: bytes) -> None:
    try:
        items = rlp.flat(data)
    except ValueError:
        return
    assert rlp.encode(items) == data


@given(st.binary(max_size=100), st.integers(1, 2**40), st.integers(0, 2**40), st.none() | st.just(ADDRESS))
def test_a_transaction_is_who_signed_it(data: bytes, chain: int, nonce: int, to: str | None) -> None:
    raw = signed(to, data, chain, nonce)
    found = transactions.decode(raw)
    assert found.sender == Account.recover_transaction(raw) == Account.from_key(SECRET).address
    assert (found.nonce, found.to, found.data, found.chain) == (nonce, to, data, chain)


def test_the_other_signature_that_would_do_is_refused() -> None:
    """EIP-2: with s there is n - s; a transaction would have two hashes."""
    items = rlp.flat(signed(ADDRESS, b"x"))
    v, s = rlp.natural(items[6]), rlp.natural(items[8])
    parity = (v - 35) % 2
    other = [*items[:6], rlp.number(v + (1 if parity == 0 else -1)), items[7], rlp.number(transactions.ORDER - s)]
    with pytest.raises(ValueError, match="no signature"):
        transactions.decode(rlp.encode(other))


def test_every_byte_of_a_transaction_counts() -> None:
    raw = signed(ADDRESS, b"data")
    good = transactions.decode(raw)
    for at in range(len(raw)):
        for mask in (1, 0x80):
            try:
                found = transactions.decode(raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :])
            except ValueError:
                continue
            assert found.sender != good.sender


def test_a_contract_stands_where_its_chain_puts_it() -> None:
    """Known from mainnet: the second contract of the account 0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0."""
    sender = transactions.checksum(bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0"))
    assert transactions.created(sender, 0) == "0xcd234A471b72ba2F1Ccf0A70FCABA648a5eeCD8d"
    assert transactions.created(sender, 1) == "0x343c43A37D37dfF08AE8C4A11544c718AbB4fCF8"


@pytest.mark.parametrize("wrong", ["", "0x", ADDRESS[:-1], ADDRESS.replace("A", "a", 1), ADDRESS[2:], ADDRESS + "\n"])
def test_an_address_is_written_one_way(wrong: str) -> None:
    assert transactions.raw_address(ADDRESS) == transactions.raw_address(ADDRESS.lower())
    with pytest.raises(ValueError):
        transactions.raw_address(wrong)
