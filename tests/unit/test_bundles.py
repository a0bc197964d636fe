"""Bundles: what is in them, whom to believe, and what the tools of the formats they use say."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.claims import canonical, digest
from headrace.errors import BadInput, StorageUnavailable, Tampered, UnknownSigner
from headrace.services.verification import envelopes
from headrace.services.verification.bundles import Source, sources, write
from headrace.services.verification.container import Writer
from headrace.services.verification.knowing import Pins
from headrace.services.verification.offline import Examination, examine
from headrace.services.verification.signing import public_key
from headrace.services.verification.signing import signer as signer_of
from headrace.trust.evidence import check
from headrace.trust.keyring import Keyring
from tests.bundled import KINDS, Made, dataset, model, signer, snapshot
from tests.paper_ledger import TIME, PaperLedger


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_asset(kind: str, tmp_path: Path) -> None:
    made = KINDS[kind](tmp_path, "acme")
    path = made.write()
    report = examine(path, made.pins)
    assert report.level == "L1" and report.passed and report.id in {"ds_acme", "md_acme"}
    assert "a single-operator chain" in report.chain
    assert any("trained again" in left for left in report.not_checked) == ("model" in kind), "L2 is of what has it"
    about = report.about
    assert about is not None and about.kind == kind.removeprefix("confidential ")
    assert about.recorded_ms == (TIME + 1) * 1000
    assert (about.company, about.name) == (
        "acme",
        {"dataset": "power", "model": "forecast", "snapshot": "pv"}[about.kind],
    )
    assert about.files == len(made.files) and about.size == sum(one.file.stored.size for one in made.files)
    assert {check.state for check in report.checks} == {"passed"}


def test_the_same_bytes_for_the_same_things(tmp_path: Path) -> None:
    made = model(tmp_path)
    said = made.said()
    for name, files in (("a", made.files), ("b", made.files[::-1])):
        write(tmp_path / name, said, files, signer("acme"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_standard_tool_takes_the_signature(tmp_path: Path) -> None:
    """`model_signing verify key`, on what any zip tool unpacks."""
    made = model(tmp_path)
    out = tmp_path / "out"
    with zipfile.ZipFile(made.write()) as archive:
        archive.extractall(out)
    command = [sys.executable, "-m", "model_signing", "verify", "key", out / "artifact"]
    command += ["--signature", out / "model.sig", "--public_key", out / "key.pem"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "Verification succeeded\n"), found.stderr
    (out / "artifact/weights.bin").write_bytes(b"weighty")
    assert (
        "Hash mismatch for 'weights.bin'" in subprocess.run(command, capture_output=True, text=True, check=False).stderr
    )


def test_the_statement_is_in_toto_in_dsse(tmp_path: Path) -> None:
    """As the libraries of both read it."""
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    made = model(tmp_path)
    with zipfile.ZipFile(made.write()) as archive:
        document, pem = json.loads(archive.read("statement.json")), archive.read("key.pem").decode()
    keyid = document["signatures"][0]["keyid"]
    assert keyid == signer("acme").public.fingerprint
    envelope = Envelope.from_dict(document)
    key = SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": pem})
    assert list(envelope.verify([key], 1)) == [keyid]
    statement = Statement.copy_from_pb(json_format.Parse(envelope.payload, statement_pb2.Statement()))
    statement.validate()
    assert [one.name for one in statement.pb.subject] == ["config/shape.json", "empty.txt", "weights.bin"]
    predicate = json.loads(envelope.payload)["predicate"]
    assert predicate["ledger"]["contract"] == made.contract
    assert predicate["result"]["metrics"] == {"mse": 0.009}


def test_whom_to_believe(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    path, key, operator = made.write(), signer("acme").public.fingerprint, made.ledger.operator
    for pins in (
        Pins(),
        Pins({operator: "wrong kind"}, {key: "wrong kind"}),
        Pins({signer("borg").public.fingerprint: "borg"}),
    ):
        with pytest.raises(UnknownSigner, match="Ask acme for the fingerprint") as unknown:
            examine(path, pins)
        assert "verified" not in str(unknown.value)
    both = examine(path, made.pins)
    assert both.says.endswith("; of company acme, signed by 'acme', on the ledger of 'hub'")
    company = examine(path, Pins({key: "acme"}))
    assert "the operator of the ledger is not known here" in company.says
    assert any(left.startswith("the ledger: its operator is not pinned") for left in company.not_checked)
    hub = examine(path, Pins(operators={operator: "hub"}))
    assert "on the word of 'hub', who runs the ledger: whose record names the signing key" in hub.says
    assert both.level == company.level == hub.level == "L1"


def test_a_second_history_of_the_same_operator(tmp_path: Path) -> None:
    """He began again with the keys he had: his fingerprint is the same, and the genesis block is not."""
    made = dataset(tmp_path)
    first, operator, key = made.ledger.genesis, made.ledger.operator, signer("acme").public.fingerprint  # type: ignore[attr-defined]
    other = dataset(tmp_path, ledger=PaperLedger(history=b"2"))
    second = other.ledger.genesis  # type: ignore[attr-defined]
    assert other.ledger.operator == operator and first != second
    path = other.write("second.bundle")
    assert any("he could begin a second one" in left for left in examine(path, other.pins).not_checked)
    for one in (operator, key):
        pins = replace(other.pins, ledgers={one: {first: "is pinned as 'hub'"}})
        with pytest.raises(
            Tampered, match=f"a second history: it began with genesis block {second}, and {first} is pinned"
        ):
            examine(path, pins)
        assert examine(made.write(), pins).passed
    with pytest.raises(Tampered, match=f"genesis block {second}, not {first}"):
        examine(path, replace(other.pins, genesis=first))
    alone = examine(path, Pins(geneses={second: "the ledger"}))
    assert "on the word of 'the ledger', who runs the ledger" in alone.says
    assert not any("he could begin" in left or "operator is not pinned" in left for left in alone.not_checked)


def test_the_right_key_at_the_wrong_option(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    path, key = made.write(), signer("acme").public.fingerprint
    with pytest.raises(BadInput, match="--operator names him"):
        examine(path, Pins(key=made.ledger.operator))
    with pytest.raises(BadInput, match="--key names it"):
        examine(path, Pins(operator=key))


def test_no_further_than_the_record(tmp_path: Path) -> None:
    """L0 reads no file of the artifact, and knows its signer all the same."""
    made = dataset(tmp_path)
    report = Examination(made.pins).run(made.write(), level="L0")
    assert report.level == "L0" and "artifact" not in [one.name for one in report.checks]
    assert report.not_checked[0].startswith("L1: it was not asked for")


def test_only_the_one_asked_for(tmp_path: Path) -> None:
    made = dataset(tmp_path)
    path, borg = made.write(), signer("borg").public.fingerprint
    with pytest.raises(Tampered, match=f"signed by .*, not {borg}"):
        examine(path, replace(made.pins, key=borg))
    with pytest.raises(Tampered, match=f"on the ledger of .*, not {borg}"):
        examine(path, replace(made.pins, operator=borg))
    assert examine(path, replace(made.pins, key=signer("acme").public.fingerprint)).passed


def test_a_record_that_names_no_key(tmp_path: Path) -> None:
    made = dataset(tmp_path, names_signer=False)
    report = examine(made.write(), Pins(operators=made.pins.operators))
    assert "the signing key is not known" in report.says
    assert any("names none" in left for left in report.not_checked)


def test_nothing_is_signed_that_is_not_as_recorded(tmp_path: Path) -> None:
    made, target = model(tmp_path), tmp_path / "asset.bundle"
    made.files[0].place.write_bytes(b"other")
    with pytest.raises(Tampered, match=r"weights\.bin is not the file of its record|its record says 7"):
        made.write()
    with pytest.raises(BadInput, match="no file of it"):
        write(target, made.said(), [], signer("acme"))
    with pytest.raises(Tampered):
        write(target, made.said() | {"claim": replace(made.said()["claim"], text=b"{}")}, made.files, signer("acme"))
    odd = [Source(made.files[1].file.model_copy(update={"path": "../x"}), made.files[1].place)]
    with pytest.raises(BadInput, match="cannot be put into a bundle"):
        write(target, made.said(), odd, signer("acme"))
    with pytest.raises(BadInput, match="cannot be written"):
        write(tmp_path / "no folder" / "x", made.said(), made.files, signer("acme"))
    assert not target.exists()


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset(tmp_path)

    def full(_: Writer) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writer, "finish", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        made.write()
    assert not (tmp_path / "asset.bundle").exists()


def test_evidence_of_an_earlier_time_will_do(tmp_path: Path) -> None:
    """The log grew since: both heads are the operator's. What came later, a bundle cannot show anyway."""
    made = dataset(tmp_path)
    earlier = {"claim": replace(made.sayings["claim"], evidence=made.ledger.evidence(1))}
    model(tmp_path, ledger=made.ledger)
    path = tmp_path / "earlier"
    write(path, earlier, made.files, signer("acme"))  # type: ignore[arg-type]
    assert examine(path, made.pins).passed


def test_sources_are_where_the_hub_gives_them(tmp_path: Path) -> None:
    made = model(tmp_path)
    several = [one.file for one in made.files]
    assert [one.place for one in sources(several, tmp_path)] == [tmp_path / file.path for file in several]
    assert sources(several[:1], tmp_path / "a")[0].place == tmp_path / "a"


def test_a_large_artifact_is_never_whole_in_memory(tmp_path: Path) -> None:
    size = 24 * 2**20
    made = dataset(tmp_path, data=bytes(size))
    tracemalloc.start()
    path = made.write()
    seen: list[int] = []
    assert examine(path, made.pins, watch=seen.append).passed
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(seen) == size and peak < size / 4


def test_a_snapshot_is_shown_by_its_place_in_the_batch(tmp_path: Path) -> None:
    made = snapshot(tmp_path)
    said = made.said()["claim"]
    assert said.inclusion is not None and (said.inclusion.index, said.inclusion.count) == (2, 5)
    wrong = replace(said, inclusion=replace(said.inclusion, index=3))
    with pytest.raises(Tampered, match="not in the batch"):
        write(tmp_path / "x", {"claim": wrong}, made.files, signer("acme"))


def test_company_keys(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "keys", tmp_path / "master")
    first, second = signer_of(keyring, "acme"), signer_of(keyring, "acme")
    assert first.public.fingerprint == second.public.fingerprint != signer_of(keyring, "borg").public.fingerprint
    assert first.sign(b"x") == second.sign(b"x")
    first.public.check(first.sign(b"x"), b"x")
    with pytest.raises(Tampered, match="is not of the key"):
        first.public.check(first.sign(b"x"), b"y")
    assert public_key(first.public.pem).fingerprint == first.public.fingerprint
    out = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "DER"], input=first.public.pem, capture_output=True, check=True
    ).stdout
    assert digest(out) == first.public.fingerprint


@pytest.mark.parametrize(
    "text", [b"", b"abc", b"x" * 5000, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key(text: bytes) -> None:
    with pytest.raises(BadInput, match="this is no public key"):
        public_key(text)


def test_keys_on_other_curves_are_none_of_ours() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    for private in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(BadInput, match="P-256"):
            public_key(pem)


def test_a_refusal_says_what_is_different(tmp_path: Path) -> None:
    mine = signer("acme")
    signed = envelopes.sign(envelopes.dsse, canonical({"predicate": {"id": "ds_1"}}), mine)
    with pytest.raises(Tampered, match=r"predicate\.id is ds_1, not ds_2"):
        envelopes.check(envelopes.dsse, "statement.json", signed, canonical({"predicate": {"id": "ds_2"}}), mine.public)


def test_a_refusal_names_the_file_that_is_different() -> None:
    mine, form = signer("acme"), envelopes.dsse

    def statement(*digests: str) -> bytes:
        subject = [{"name": f"{at}.bin", "digest": {"sha256": one}} for at, one in enumerate(digests)]
        return canonical({"subject": subject})

    signed = envelopes.sign(form, statement("aa", "bb"), mine)
    with pytest.raises(Tampered, match=r"subject\.1\.bin\.digest\.sha256 is bb, not cc"):
        envelopes.check(form, "statement.json", signed, statement("aa", "cc"), mine.public)
    with pytest.raises(Tampered, match=r"subject is a list of 2 \(0\.bin, 1\.bin\), not a list of 1 \(0\.bin\)"):
        envelopes.check(form, "statement.json", signed, statement("aa"), mine.public)


def test_what_is_wrong_with_evidence_is_said_in_our_words(tmp_path: Path) -> None:
    ledger, other = dataset(tmp_path).ledger, PaperLedger(history=b"2")
    document = ledger.evidence(1)
    true, forged = document["head"]["genesis"], other.genesis
    for changed, words in (
        ({"schema": "headrace/evidence/9"}, "its schema is not headrace/evidence/1"),
        ({"path": 5}, "path is not of its form"),
        ({"head": {name: one for name, one in document["head"].items() if name != "root"}}, r"head\.root is missing"),
        ({"genesis": other.evidence(0)["genesis"]}, f"signed for genesis block {true}, and the one in it is {forged}"),
    ):
        with pytest.raises(Tampered, match=words):
            check(document | changed)


def test_checking_loads_no_heavy_library(tmp_path: Path) -> None:
    """Neither the network nor chains, signing services or arrays."""
    made: Made = dataset(tmp_path)
    path = made.write()
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from headrace.services.verification.knowing import Pins\n"
        "from headrace.services.verification.offline import examine\n"
        f"examine(Path({str(path)!r}), Pins({dict(made.pins.keys)!r}))\n"
        "heavy = {'httpx', 'sigstore', 'model_signing', 'eth', 'web3', 'numpy', 'fastapi', 'sqlalchemy', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
