"""Checking a bundle with nothing but the bundle, and what its reader knows from elsewhere: whose key, whose ledger.

A bundle that holds together shows that its parts belong to each other; anybody can make one. Whom to believe is the reader's
to say (`Pins`): the company's signing key, or the key of the ledger's operator, which vouches for the key that the record names.
Without either the signer is unknown, and nothing else is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from headrace.assets import OutputFile, Stored
from headrace.claims import LEVELS, Check, Level, Report, canonical, digest_of
from headrace.errors import BadInput, HeadraceError, MissingExtra, Revoked, Tampered, UnknownSigner, size_of
from headrace.merkle import Tree, named
from headrace.services.verification import envelopes
from headrace.services.verification.knowing import Pins, known
from headrace.services.verification.received import Bundle
from headrace.services.verification.recomputing import parts
from headrace.services.verification.sayings import Shown, shown
from headrace.services.verification.signing import PublicKey
from headrace.services.verification.statements import asset_statement, model_statement
from headrace.services.verification.summing import kind_of, summary

Told: TypeAlias = Callable[[Check], None]
Watch: TypeAlias = Callable[[int], None]
T = TypeVar("T")
MADE = {
    "dataset": "how the data came to be",
    "model": "whether its recipe and inputs give these files (L2): that is trained again, where the data are",
    "model_unverified": "how it was trained: no recipe is recorded, and there is no L2 of it",
    "translation": "whether its original, translated again, gives this file (L2): that is done where the original is",
    "snapshot": "whether the log it learned from gives these weights (L2): that is replayed, where the log is",
}
"""Kind -> what nobody looked at of how it was made."""


def examine(path: Path, pins: Pins, told: Told = lambda _: None, watch: Watch = lambda _: None) -> Report:
    """Check a bundle. Blocks.

    Args:
        told: given every check as it ends, the one that failed too; also when this raises.
        watch: told how many bytes of the artifact went by.

    Returns:
        what was found: it reached L1.

    Raises:
        BadInput: the file cannot be read, or a key was given as what it is not here.
        Tampered: it does not hold together, or is not of whom the pins name.
        Revoked: it holds together, and its owner took it back.
        UnknownSigner: it holds together, and nobody in it is pinned.
        Uncheckable: the libraries for the ledger's signatures are not installed.
    """
    return Examination(pins, told).run(path, watch)


class Examination:
    """One bundle that is looked at, and what was seen of it.

    Args:
        told: given every check as it ends, the one that failed too; also when `run` raises.
    """

    def __init__(self, pins: Pins, told: Told = lambda _: None) -> None:
        self._pins, self._steps = pins, _Steps(told)
        self.found: Shown | None = None
        """What the ledger has, once that was shown."""
        self.key: PublicKey | None = None
        """That signed, once it was shown that the record names no other."""

    def run(self, path: Path, watch: Watch = lambda _: None, level: Level = "L1") -> Report:
        """See `examine`."""
        steps = self._steps
        with steps.over("L0", "bundle", lambda: Bundle(path), _told_bundle) as bundle:
            found = steps.over("L0", "record on the ledger", lambda: shown(bundle.sayings()), _told_record)
            self.found = found
            steps.over("L0", "revocation", lambda: _not_revoked(found), lambda _: "this bundle has none")
            key = steps.over(
                "L1", "signing key", lambda: _named(bundle.key(), found), lambda key: _told_key(key, found)
            )
            self.key = key
            files = steps.over("L1", "statement", lambda: _stated(bundle, found, key), lambda _: _told_statement(found))
            steps.over("L1", "model signature", lambda: _model(bundle, files, found, key), lambda _: "OpenSSF, in-toto")
            if level != "L0":
                steps.over(
                    "L1", "artifact", lambda: _artifact(bundle, files, found, watch), lambda _: _told_files(files)
                )
        whom = steps.over("L0", "known signer", lambda: known(self._pins, key.fingerprint, found), lambda whom: whom)
        left = _left_open(found, self._pins, key)
        if level == "L0":
            left.insert(0, "L1: it was not asked for: the files were not read")
        return self._report("L0" if level == "L0" else "L1", whom, left)

    def _report(self, level: Level, whom: str, left: list[str]) -> Report:
        assert self.found is not None
        found = self.found
        return Report(
            id=str(found.claim["id"]),
            level=level,
            says=f"{LEVELS[level]}; of company {found.claim['company']}, {whom}",
            passed=True,
            checks=self._steps.checks,
            not_checked=left,
            chain=_chain(found),
            about=summary(found.claim, found.result, found.time * 1000),
        )

    def refused(self, error: HeadraceError) -> Report:
        """The report when `run` ended with that. What is not believed is not told of, but for its id."""
        id, chain, left = "", "", ["everything else, also whose it is: checking ends at what fails"]
        if isinstance(error, UnknownSigner | Revoked) and self.found is not None:
            id, chain = str(self.found.claim["id"]), _chain(self.found)
        if isinstance(error, UnknownSigner) and self.found is not None and self.key is not None:
            left = [
                "whose it is: whoever made this file could have made all of it",
                *_left_open(self.found, self._pins, self.key),
            ]
        return Report(
            id=id, level="none", says=str(error), passed=False, checks=self._steps.checks, not_checked=left, chain=chain
        )


class _Steps:
    """The checks so far."""

    def __init__(self, told: Told) -> None:
        self.checks: list[Check] = []
        self._told = told

    def over(self, level: Level, name: str, work: Callable[[], T], found: Callable[[T], str]) -> T:
        """Do one, and tell."""
        begun = time.perf_counter()

        def end(state: Any, detail: str) -> None:
            seconds = time.perf_counter() - begun
            self.checks.append(Check(level=level, name=name, state=state, detail=detail, seconds=seconds))
            self._told(self.checks[-1])

        try:
            made = _flat(work)
        except (BadInput, MissingExtra):
            raise  # nothing was looked at
        except HeadraceError as error:
            end("failed", error.brief)
            raise
        end("passed", found(made))
        return made


def _flat(work: Callable[[], T]) -> T:
    """Do it. Raises Tampered where that recursed too deep: something in the bundle is nested like that."""
    try:
        return work()
    except RecursionError as error:
        raise Tampered(detail="something in it is nested too deep") from error


def _not_revoked(found: Shown) -> None:
    if found.revoked is not None:
        raise Revoked(detail=found.revoked or "no reason is given")


def _named(key: PublicKey, found: Shown) -> PublicKey:
    """The key of the bundle, which has to be the one that the record names, if it names one."""
    if found.signer and found.signer != key.fingerprint:
        raise Tampered(detail=f"its key is {key.fingerprint}, and the record on the ledger names {found.signer}")
    return key


def _stated(bundle: Bundle, found: Shown, key: PublicKey) -> list[OutputFile]:
    """The files that the statement is of: those of the bundle."""
    files = bundle.files()
    payload = asset_statement(files, found, key.fingerprint)
    envelopes.check(envelopes.dsse, "statement.json", bundle.text("statement.json"), payload, key)
    return files


def _model(bundle: Bundle, files: list[OutputFile], found: Shown, key: PublicKey) -> None:
    payload = model_statement(files, str(found.claim["id"]))
    envelopes.check(envelopes.sigstore, "model.sig", bundle.text("model.sig"), payload, key)


def _artifact(bundle: Bundle, files: list[OutputFile], found: Shown, watch: Watch) -> None:
    """That the files are those of the record: by digest, size and Merkle root, and none but those."""
    read = _read(bundle, files, watch)
    if str(found.claim["schema"]).startswith("headrace/dataset/"):
        said = {name: found.claim.get(name) for name in ("size", "sha256", "root")}
        if len(read) != 1 or read[0].stored.model_dump() != said:
            raise Tampered(detail="the data are not those that were recorded")
        return
    says = found.claim if found.claim.get("recipe") is None else found.result
    if says is None:
        raise Tampered(detail="no result is recorded: nothing says which files the training gave")
    if digest_of(read) != says.get("digest"):
        raise Tampered(detail="the files are not those that were recorded: their digest is another")
    listed = [{"path": file.path, **file.stored.model_dump()} for file in read]
    if isinstance(says.get("files"), list) and _in_order(says["files"]) != _in_order(listed):
        raise Tampered(detail="the files are not those that were recorded")


def _read(bundle: Bundle, files: list[OutputFile], watch: Watch) -> list[OutputFile]:
    """The files as they are, with their Merkle roots."""
    read = []
    with ThreadPoolExecutor(1) as beside:
        for file in files:
            stored = _stored(bundle.content(file), beside, watch)
            if (stored.size, stored.sha256) != (file.stored.size, file.stored.sha256):
                raise Tampered(detail=f"{file.path} is not what the bundle lists")
            read.append(OutputFile(path=file.path, stored=stored))
    return read


def _in_order(files: list[Any]) -> list[bytes]:
    return sorted(canonical({"": file}) for file in files)


def _clock(seconds: float) -> str:
    """A time of somebody's clock, UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s after 1970"


def _stored(pieces: Iterable[bytes], beside: Executor, watch: Watch) -> Stored:
    """What a content is known by. Its two digests are made side by side: hashing leaves the interpreter free."""
    whole, tree, size = sha256(), Tree(), 0
    for piece in pieces:
        leaf = beside.submit(tree.update, piece)
        whole.update(piece)
        size += len(piece)
        leaf.result()
        watch(len(piece))
    return Stored(size=size, sha256=f"sha256:{whole.hexdigest()}", root=named(tree.root()))


def _chain(found: Shown) -> str:
    return f"chain of genesis block {found.genesis}: a single-operator chain, run by {found.operator}"


def _left_open(found: Shown, pins: Pins, key: PublicKey) -> list[str]:
    """What a bundle cannot show."""
    when, company = _clock(found.signed_ms / 1000), found.claim["company"]
    left = [
        f"whether it was revoked: a revocation after {when} cannot be seen offline, nor one that was left out of the bundle",
        MADE[kind_of(found.claim)],
        f"whether what {company} says of it (metrics, statistics, metadata) is true; only that it said so",
        "the ledger's operator: one alone runs the chain, and could have written another",
    ]
    if _has_inputs(found):
        left.insert(2, "what it was made of: the record names it, and it is not in the bundle")
    if _has_inputs(found):
        left.append(
            "whether what it was made of was revoked: a bundle shows its own record alone; the platform looks, at L1"
        )
    if not found.signer:
        left.append("whose key it is: the record on the ledger names none")
    if key.fingerprint not in pins.keys:
        left.append("the signing key: it is not pinned here")
    if found.genesis in pins.geneses:
        return left
    if found.operator not in pins.operators:
        left.append("the ledger: its operator is not pinned here, the signer alone says that it is the right one")
    elif found.operator not in pins.ledgers:
        left.append("which of its operator's ledgers: no genesis block is pinned here, and he could begin a second one")
    return left


def _has_inputs(found: Shown) -> bool:
    return bool(parts(found.claim))


def _told_bundle(bundle: Bundle) -> str:
    return f"{bundle.count} parts, {size_of(bundle.size)}, each byte accounted for"


def _told_record(found: Shown) -> str:
    when = _clock(found.time)
    said = "claim and result" if found.result is not None else "claim"
    return f"{said} in contract {found.contract}, by account {found.owner}, {when}"


def _told_key(key: PublicKey, found: Shown) -> str:
    return f"{key.fingerprint}, {'the one that the record names' if found.signer else 'the record names none'}"


def _told_statement(found: Shown) -> str:
    return f"these files are {found.claim['id']}, of {found.claim['company']}"


def _told_files(files: list[OutputFile]) -> str:
    size = size_of(sum(file.stored.size for file in files))
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size}: digest, Merkle root, size as recorded"
