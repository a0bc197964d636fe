"""A bundle: one file with all that somebody without account and network needs to check an asset (docs/bundles.md).

``bundle.json``        the paths, sizes and digests of all other parts, in their order
``key.pem``            the company's public signing key
``statement.json``     in-toto statement in a DSSE envelope
``model.sig``          the signature of OpenSSF's model signing over ``artifact/``
``claim/…``            what the ledger says, and how it is shown; ``result/…`` and ``revocation/…`` likewise:
                       ``text.json``, ``evidence.json``, ``inclusion.json`` (of a batch), ``sealed.json``, ``sealed.bin``,
                       ``sealed.key`` (of what is confidential)
``artifact/…``         the files themselves
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from headrace.assets import OutputFile
from headrace.claims import canonical, digest
from headrace.disk import unavailable
from headrace.errors import BadInput, StorageUnavailable, Tampered
from headrace.services.verification import envelopes
from headrace.services.verification.container import PIECE, Writer, check_paths
from headrace.services.verification.sayings import NAMES, Name, Saying, shown
from headrace.services.verification.signing import PEM, Signer
from headrace.services.verification.statements import asset_statement, model_statement

MIB = 2**20
SCHEMA = "headrace/bundle/1"
FIRST = "bundle.json"
ARTIFACT = "artifact/"
LIMITS = {
    FIRST: 8 * MIB,
    "key.pem": PEM,
    "statement.json": 16 * MIB,
    "model.sig": 16 * MIB,
    "text.json": 4 * MIB,
    "evidence.json": 4 * MIB,
    "inclusion.json": 64 * 1024,
    "sealed.json": 64 * 1024,
    "sealed.bin": 4 * MIB + 1024,
    "sealed.key": 32,
}
"""Part -> most bytes of it. All but the artifact's are read into memory."""
TOP = ("key.pem", "statement.json", "model.sig")
SAID = ("text.json", "evidence.json", "inclusion.json", "sealed.json", "sealed.bin", "sealed.key")


@dataclass(frozen=True, slots=True)
class Source:
    """A file to put into a bundle."""

    file: OutputFile
    """Its path in the artifact, and what its record says it is."""
    place: Path
    """Where it can be read."""


def limit(path: str) -> int:
    """Most bytes of a part that is not of the artifact."""
    return LIMITS[path.rpartition("/")[2]]


def order(paths: Collection[str]) -> list[str]:
    """The parts but the first as a bundle has them, without those that no bundle has."""
    known = [*TOP, *(f"{name}/{part}" for name in NAMES for part in SAID)]
    return [path for path in known if path in paths] + sorted(path for path in paths if path.startswith(ARTIFACT))


def sources(files: Sequence[OutputFile], content: Path) -> list[Source]:
    """An asset's files where `Sharing.content` gives them: one file, or a folder of several."""
    if len(files) == 1:
        return [Source(files[0], content)]
    return [Source(file, content / file.path) for file in files]


def write(target: Path, sayings: Mapping[Name, Saying], files: Sequence[Source], signer: Signer) -> None:
    """Write a bundle; the same bytes for the same arguments. Blocks, for as long as the files take to read and write.

    Args:
        sayings: at least the claim; what is not in order is not signed.
        files: at least one.

    Raises:
        Tampered: the evidence does not show the sayings, or a file is not what its record says. Nothing is left of the target.
        BadInput: it cannot be written, a path cannot be part of it, or there is nothing to bundle.
        StorageUnavailable: the disk is full.
    """
    if not files:
        raise BadInput(detail="there is nothing to bundle: no file of it was stored")
    check_paths([one.file.path for one in files], BadInput)  # now, not when gigabytes were written
    ordered = sorted(files, key=lambda one: one.file.path)
    found, listed = shown(sayings), [one.file for one in ordered]
    statement = asset_statement(listed, found, signer.public.fingerprint)
    small = {
        "key.pem": signer.public.pem,
        "statement.json": envelopes.sign(envelopes.dsse, statement, signer),
        "model.sig": envelopes.sign(envelopes.sigstore, model_statement(listed, found.claim["id"]), signer),
    }
    for name in NAMES:
        if name in sayings:
            small |= {f"{name}/{part}": data for part, data in _spoken(sayings[name]).items()}
    try:
        with target.open("wb") as file:
            _write(file, small, ordered)
    except OSError as error:
        target.unlink(missing_ok=True)
        if unavailable(error):
            raise StorageUnavailable(detail=error.strerror) from error
        raise BadInput(detail=f"{target} cannot be written: {error.strerror}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(file: BinaryIO, small: Mapping[str, bytes], ordered: Sequence[Source]) -> None:
    for path, data in small.items():
        if len(data) > limit(path):
            raise BadInput(detail=f"{path} of the bundle would have {len(data):,} bytes, over {limit(path):,}")
    parts = [{"path": path, "size": len(data), "sha256": digest(data)} for path, data in small.items()]
    for one in ordered:
        stored = one.file.stored
        parts.append({"path": ARTIFACT + one.file.path, "size": stored.size, "sha256": stored.sha256})
    listing = canonical({"schema": SCHEMA, "parts": parts})
    writer = Writer(file)
    for path, data in {FIRST: listing, **small}.items():
        writer.add(path, len(data), [data])
    for one in ordered:
        writer.add(ARTIFACT + one.file.path, one.file.stored.size, _read(one))
    writer.finish()


def _read(source: Source) -> Iterator[bytes]:
    """Its content. Raises Tampered at its end: it is not what its record says."""
    whole = hashlib.sha256()
    with source.place.open("rb") as file:
        while piece := file.read(PIECE):
            whole.update(piece)
            yield piece
    if f"sha256:{whole.hexdigest()}" != source.file.stored.sha256:
        raise Tampered(detail=f"{source.file.path} is not the file of its record: nothing was signed")


def _spoken(saying: Saying) -> dict[str, bytes]:
    """The parts of a saying."""
    parts = {"text.json": saying.text, "evidence.json": canonical(saying.evidence)}
    if place := saying.inclusion:
        path = [each.hex() for each in place.path]
        parts["inclusion.json"] = canonical({"index": place.index, "count": place.count, "path": path})
    if opening := saying.opening:
        parts |= {"sealed.json": opening.recorded, "sealed.bin": opening.ciphertext, "sealed.key": opening.key}
    return parts
