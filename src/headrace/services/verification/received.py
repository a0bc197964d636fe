"""A bundle that came from somebody: read within bounds, nothing of it run, unpacked or believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from headrace.assets import OutputFile, Stored
from headrace.claims import canonical, digest
from headrace.errors import BadInput, Tampered
from headrace.services.verification.bundles import ARTIFACT, FIRST, SCHEMA, limit, order
from headrace.services.verification.container import Container, Part
from headrace.services.verification.sayings import NAMES, Inclusion, Name, Opening, Saying
from headrace.services.verification.signing import PublicKey, public_key

HASH = 32
"""Bytes."""
T = TypeVar("T")


Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class Listed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A part, as ``bundle.json`` lists it."""

    path: str
    sha256: Digest
    size: int


class Listing(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``bundle.json``"""

    parts: list[Listed]
    schema: str


class Place(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``inclusion.json``"""

    count: int
    index: int
    path: list[str]


class Bundle:
    """Reads a bundle's small parts at once, its artifact piece by piece. Blocks; use it as a context manager.

    Raises:
        BadInput: the file cannot be read.
        Tampered: it is no bundle, or its parts are not those that it lists.
    """

    def __init__(self, path: Path) -> None:
        self._container = Container(path)
        self.size = self._container.size
        """Bytes of the file."""
        try:
            self._listed, self._parts = _listing(self._container)
            self._small = {
                path: self._whole(path, one.sha256) for path, one in self._listed.items() if not _is_artifact(path)
            }
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def count(self) -> int:
        """Its parts."""
        return len(self._listed) + 1

    def text(self, path: str) -> bytes:
        """A small part. Raises Tampered: it is missing."""
        if path not in self._small:
            raise Tampered(detail=f"the bundle has no {path}")
        return self._small[path]

    def key(self) -> PublicKey:
        """Its company's public key, as the bundle has it. Raises Tampered."""
        try:
            found = public_key(self.text("key.pem"))
        except BadInput as error:
            raise Tampered(detail=f"key.pem: {error}") from error
        if found.pem != self.text("key.pem"):
            raise Tampered(detail="key.pem is not in the one form of its key")
        return found

    def ledger(self) -> tuple[str, str]:
        """Fingerprint of the operator and genesis block that its claim names. Nothing of it is checked. Raises Tampered."""
        evidence = self._saying("claim").evidence
        try:
            operator = digest(bytes.fromhex(evidence["operator"].removeprefix("0x")))
            return operator, str(evidence["head"]["genesis"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Tampered(detail="it does not say which ledger it is on") from error

    def sayings(self) -> dict[Name, Saying]:
        """What the ledger says, as the bundle has it. Raises Tampered."""
        there = {path.partition("/")[0] for path in self._small}
        return {name: self._saying(name) for name in NAMES if name in there or name == "claim"}

    def files(self) -> list[OutputFile]:
        """The artifact's files, as the bundle lists them; "" for their Merkle roots, which it does not."""
        found = [one for path, one in self._listed.items() if _is_artifact(path)]
        if not found:
            raise Tampered(detail="the bundle has no artifact")
        return [
            OutputFile(path=one.path.removeprefix(ARTIFACT), stored=Stored(size=one.size, sha256=one.sha256, root=""))
            for one in found
        ]

    def content(self, file: OutputFile) -> Iterator[bytes]:
        """A file of the artifact. Raises Tampered at its end: its checksum is another."""
        return self._container.pieces(self._parts[ARTIFACT + file.path])

    def _whole(self, path: str, expected: str) -> bytes:
        data = _small(self._container, self._parts[path])
        if digest(data) != expected:
            raise Tampered(detail=f"{path} is not what bundle.json lists")
        return data

    def _saying(self, name: Name) -> Saying:
        inclusion = opening = None
        if f"{name}/inclusion.json" in self._small:
            place = decoded(f"{name}/inclusion.json", self.text(f"{name}/inclusion.json"), Place)
            inclusion = Inclusion(place.index, place.count, [_hash(each) for each in place.path])
        if any(f"{name}/sealed.{part}" in self._small for part in ("json", "bin", "key")):
            opening = Opening(*(self.text(f"{name}/sealed.{part}") for part in ("json", "bin", "key")))
        evidence = decoded(f"{name}/evidence.json", self.text(f"{name}/evidence.json"), dict[str, Any])
        return Saying(self.text(f"{name}/text.json"), evidence, inclusion, opening)


def decoded(name: str, data: bytes, wanted: type[T]) -> T:
    """JSON of that type, in its one form. Raises Tampered."""
    try:
        found = msgspec.json.decode(data, type=wanted)
        if canonical(msgspec.to_builtins(found)) != data:
            raise Tampered(detail=f"{name} is not in its one form")
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Tampered(detail=f"{name} is no JSON of the form it should have") from error
    return found


def _listing(container: Container) -> tuple[dict[str, Listed], dict[str, Part]]:
    """What ``bundle.json`` lists, which is what there is."""
    parts = {part.path: part for part in container.parts}
    if FIRST not in parts or container.parts[0].path != FIRST:
        raise Tampered(detail=f"this is no bundle of ours: it does not begin with {FIRST}")
    listing = decoded(FIRST, _small(container, parts[FIRST]), Listing)
    if listing.schema != SCHEMA:
        raise Tampered(detail=f"{FIRST} is of another version than {SCHEMA}: {listing.schema[:40]!r}")
    rest = [(part.path, part.size) for part in container.parts[1:]]
    if [(one.path, one.size) for one in listing.parts] != rest:
        raise Tampered(detail=f"the parts of the bundle are not those that {FIRST} lists")
    if [path for path, _ in rest] != order({path for path, _ in rest}):
        raise Tampered(detail="the bundle has parts that do not belong there, or in another order")
    return {one.path: one for one in listing.parts}, parts


def _small(container: Container, part: Part) -> bytes:
    if part.size > limit(part.path):
        raise Tampered(detail=f"{part.path} has {part.size:,} bytes; more than {limit(part.path):,} are not read")
    return b"".join(container.pieces(part))


def _is_artifact(path: str) -> bool:
    return path.startswith(ARTIFACT)


def _hash(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != HASH or found.hex() != text:
        raise Tampered(detail="an inclusion proof has something that is no hash")
    return found
