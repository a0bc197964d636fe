"""Bundles that were changed: each a named case, made from a good one by somebody who knows the format.

He makes the listing and the container anew (`packed`), so that what refuses his bundle is not a checksum but what was signed and
recorded. `other` is a good bundle of another company, or of the same company for another asset.
"""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from headrace.claims import canonical, digest
from headrace.services.verification import envelopes
from headrace.services.verification.bundles import ARTIFACT, FIRST, SCHEMA
from headrace.services.verification.container import Writer
from headrace.services.verification.signing import Signer

Parts: TypeAlias = dict[str, bytes]
SIGNED = ("key.pem", "statement.json", "model.sig")


def parts_of(path: Path) -> Parts:
    """All parts of a good bundle but the listing."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != FIRST}


def packed(parts: Mapping[str, bytes], listing: bytes | None = None) -> bytes:
    """A bundle of these parts, listed and contained as they should be."""
    listed = [{"path": path, "size": len(data), "sha256": digest(data)} for path, data in parts.items()]
    into = io.BytesIO()
    writer = Writer(into)
    for path, data in {FIRST: listing or canonical({"schema": SCHEMA, "parts": listed}), **parts}.items():
        writer.add(path, len(data), [data])
    writer.finish()
    return into.getvalue()


def flipped(data: bytes, place: int, bits: int = 1) -> bytes:
    """One byte changed."""
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


def bytes_flipped(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """In each part, a byte at its beginning, in its middle, at its end."""
    for path, data in parts.items():
        for place in sorted({0, len(data) // 2, len(data) - 1} if data else ()):
            yield f"byte {place} of {path}", parts | {path: flipped(data, place)}


def parts_changed(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """Each part missing, emptied, longer, or of another name."""
    for path, data in parts.items():
        yield f"{path} missing", {name: other for name, other in parts.items() if name != path}
        if data:
            yield f"{path} empty", parts | {path: b""}
        yield f"{path} longer", parts | {path: data + b"\n"}
        if path.startswith(ARTIFACT):
            yield f"{path} renamed", {(name + "2" if name == path else name): other for name, other in parts.items()}
    yield "a file more", parts | {f"{ARTIFACT}zzz.bin": b"a file that nobody recorded"}


def claims_changed(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """Each field of claim and result with another value, or left out."""
    for path in ("claim/text.json", "result/text.json", "claim/sealed.json", "result/sealed.json"):
        said = json.loads(parts.get(path, b"{}"))
        for name, value in said.items():
            yield f"{name} of {path}", parts | {path: canonical(said | {name: _other(value)})}
            left = {field: kept for field, kept in said.items() if field != name}
            yield f"{name} of {path} left out", parts | {path: canonical(left)}


def evidence_changed(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """Each value anywhere in the evidence and in the inclusion proofs."""
    for path, data in parts.items():
        if path.rpartition("/")[2] not in {"evidence.json", "inclusion.json"}:
            continue
        document = json.loads(data)
        for where, changed in _each(document):
            yield f"{where} of {path}", parts | {path: canonical(changed)}


def of_other_types(parts: Parts) -> Iterator[tuple[str, Parts]]:
    """Each value of evidence and inclusion proofs as one of another type, or out of all bounds."""
    for path, data in parts.items():
        if path.rpartition("/")[2] not in {"evidence.json", "inclusion.json"}:
            continue
        for other in (None, [], "0x", -1, 10**40, {"": None}):
            for where, changed in _each(json.loads(data), lambda _, other=other: other):  # type: ignore[misc]
                if canonical(changed) != data:
                    yield f"{where} of {path} as {other!r}", parts | {path: canonical(changed)}


def statements_forged(parts: Parts, forger: Signer) -> Iterator[tuple[str, Parts]]:
    """What a statement says changed, signed as before, or by the forger; the forger's key in the place of the company's."""
    payload = json.loads(base64.b64decode(json.loads(parts["statement.json"])["payload"]))
    for where, changed in _each(payload):
        document = json.loads(parts["statement.json"])
        document["payload"] = base64.b64encode(canonical(changed)).decode()
        yield f"{where} of the statement", parts | {"statement.json": canonical(document)}
    for name, form in (("statement.json", envelopes.dsse), ("model.sig", envelopes.sigstore)):
        document = json.loads(parts[name])
        said = base64.b64decode(document.get("dsseEnvelope", document)["payload"])
        again = envelopes.sign(form, said, forger)
        yield f"{name} signed by the forger", parts | {name: again}
        yield f"{name} and key of the forger", parts | {name: again, "key.pem": forger.public.pem}
    yield "key of the forger", parts | {"key.pem": forger.public.pem}


def wholly_forged(parts: Parts, forger: Signer) -> Parts:
    """Statement and signature made anew with the forger's key, which is put into the bundle."""
    changed = parts | {"key.pem": forger.public.pem}
    for name, form in (("statement.json", envelopes.dsse), ("model.sig", envelopes.sigstore)):
        document = json.loads(parts[name])
        said = json.loads(base64.b64decode(document.get("dsseEnvelope", document)["payload"]))
        if "signer" in said["predicate"]:
            said["predicate"]["signer"] = forger.public.fingerprint
        changed[name] = envelopes.sign(form, canonical(said), forger)
    return changed


def swapped(parts: Parts, other: Parts) -> Iterator[tuple[str, Parts]]:
    """Parts of another good bundle, one by one and together."""
    for path in parts.keys() & other.keys():
        if parts[path] != other[path]:
            yield f"{path} of another", parts | {path: other[path]}
    groups: dict[str, Callable[[str], bool]] = {
        "signature": lambda path: path in SIGNED,
        "claim": lambda path: path.startswith("claim/"),
        "result": lambda path: path.startswith("result/"),
        "artifact": lambda path: path.startswith(ARTIFACT),
        "record": lambda path: path.startswith(("claim/", "result/")),
        "record and artifact": lambda path: path not in SIGNED,
        "record and signature": lambda path: not path.startswith(ARTIFACT),
    }
    for name, belongs in groups.items():
        mine = {path: data for path, data in parts.items() if not belongs(path)}
        theirs = {path: data for path, data in other.items() if belongs(path)}
        made = mine | theirs
        if theirs and made not in (parts, other):
            yield f"{name} of another", {path: made[path] for path in sorted(made, key=_rank)}


def containers(good: bytes, parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Files that other readers of zip would take."""
    yield "cut off", good[:-1]
    yield "cut in the middle", good[: len(good) // 2]
    yield "only its directory", good[good.index(b"PK\1\2") :]
    yield "empty", b""
    yield "no zip", b"#!/bin/sh\n" + good
    yield "bytes behind it", good + b"\0"
    yield "a comment", good[:-2] + struct.pack("<H", 3) + b"abc"
    yield "bytes before the directory", good.replace(b"PK\1\2", b"\0PK\1\2", 1)
    yield "twice", good + good
    listing = zipfile.ZipFile(io.BytesIO(good)).read(FIRST)
    for name, how in (("compressed", zipfile.ZIP_DEFLATED), ("as zipfile writes it", zipfile.ZIP_STORED)):
        into = io.BytesIO()
        with zipfile.ZipFile(into, "w", how) as archive:
            for path, data in {FIRST: listing, **parts}.items():
                archive.writestr(path, data)
        yield name, into.getvalue()
    yield from _hostile(parts)


def _hostile(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Containers that mean harm."""
    bomb = zlib.compress(bytes(10 * 2**20))
    for name, path in (
        ("a path upwards", "artifact/../../x"), ("an absolute path", "/etc/passwd"), ("a backslash", "artifact\\x"),
        ("a drive", "C:/x"), ("a control character", "artifact/\x1b[2J"), ("an empty name", "artifact//x"),
        ("not UTF-8", "artifact/\udcff"), ("a very long path", "artifact/" + "x" * 2000),
    ):  # fmt: skip
        yield name, raw_zip([*_first(parts), (path, b"x")])
    yield "the same path twice", raw_zip([*_first(parts), ("artifact/x", b"1"), ("artifact/x", b"2")])
    yield "a file as a folder", raw_zip([*_first(parts), ("artifact/x", b"1"), ("artifact/x/y", b"2")])
    yield "a link", raw_zip([*_first(parts), ("artifact/x", b"/etc/passwd")], mode=0o120777 << 16)
    yield "compressed to nothing", raw_zip([*_first(parts), ("artifact/x", bomb)], method=8, size=2**40)
    yield "a size beyond the file", raw_zip([*_first(parts), ("artifact/x", b"x")], size=2**31)
    yield "a size of 2**63", raw_zip([*_first(parts), ("artifact/x", b"x")], size=2**63)
    yield "encrypted", raw_zip([*_first(parts), ("artifact/x", b"x")], flags=0x801)
    yield "sizes behind the data", raw_zip([*_first(parts), ("artifact/x", b"x")], flags=0x808)


def listings(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """``bundle.json`` that is not what it should be."""
    listed = [{"path": path, "size": len(data), "sha256": digest(data)} for path, data in parts.items()]
    good, path = {"schema": SCHEMA, "parts": listed}, next(name for name in parts if name.startswith(ARTIFACT))
    documents: dict[str, bytes] = {
        "of another version": canonical(good | {"schema": "headrace/bundle/2"}),
        "with a field more": canonical(good | {"note": "trust me"}),
        "without the last part": canonical(good | {"parts": listed[:-1]}),
        "in another order": canonical(good | {"parts": listed[::-1]}),
        "with spaces": json.dumps(good).encode(),
        "with a field twice": canonical(good)[:-1] + b',"schema":"headrace/bundle/1"}',
        "with a size that is no number": canonical(good).replace(b'"size":', b'"size":-', 1),
        "with a digest that is none": canonical(good).replace(digest(parts[path])[-64:].encode(), b"sha512"),
        "nested deep": b"[" * 100_000,
        "a number of a million digits": b'{"parts":[],"schema":' + b"9" * 10**6 + b"}",
        "no JSON": b"\xff\xfe",
        "far too large": b" " * (9 * 2**20),
    }
    for name, data in documents.items():
        yield name, packed(parts, data)


def raw_zip(
    entries: list[tuple[str, bytes]], *, mode: int = 0o100644 << 16, method: int = 0, flags: int = 0x800, size: int = -1
) -> bytes:
    """A zip in which the last entry is as given, and the others are as they should be."""
    body = directory = b""
    for index, (path, data) in enumerate(entries):
        last = index == len(entries) - 1
        name, crc, offset = path.encode(errors="surrogateescape"), zlib.crc32(data), len(body)
        count = size if last and size >= 0 else len(data)
        how, flag, kept = (method, flags, mode) if last else (0, 0x800, 0o100644 << 16)
        large = count >= 2**32 - 1
        extra = struct.pack("<2H2Q", 1, 16, count, count) if large else b""
        shown, version = (2**32 - 1, 45) if large else (count, 20)
        common = (version, flag, how, 0, 0x21, crc, shown, shown, len(name), len(extra))
        body += struct.pack("<4s5H3I2H", b"PK\3\4", *common) + name + extra + data
        head = struct.pack("<4sH5H3I2H", b"PK\1\2", 3 << 8 | version, *common)
        directory += head + struct.pack("<3H2I", 0, 0, 0, kept, offset) + name + extra
    count = len(entries)
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)


def _first(parts: Parts) -> list[tuple[str, bytes]]:
    return [(FIRST, canonical({"schema": SCHEMA, "parts": []}))]


def _rank(path: str) -> tuple[int, str]:
    order = [*SIGNED, "claim/text.json", "claim/evidence.json", "claim/inclusion.json"]
    order += [f"claim/sealed.{part}" for part in ("json", "bin", "key")]
    order += ["result/text.json", "result/evidence.json"] + [f"result/sealed.{part}" for part in ("json", "bin", "key")]
    return (order.index(path) if path in order else len(order), path)


def _other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return flipped(value.encode(), len(value) // 2).decode() if value and value.isascii() else value + "x"
    if isinstance(value, list):
        return [*value, value[-1] if value else 1]
    return value | {"note": "changed"}


def _each(document: Any, other: Callable[[Any], Any] = _other) -> Iterator[tuple[str, Any]]:
    """The document with each of its values changed, one at a time."""
    if isinstance(document, dict):
        for name, value in document.items():
            for where, changed in _each(value, other):
                yield f"{name}.{where}" if where else name, document | {name: changed}
    elif isinstance(document, list):
        for index, value in enumerate(document):
            for where, changed in _each(value, other):
                yield f"{index}.{where}", [*document[:index], changed, *document[index + 1 :]]
    if not isinstance(document, dict):
        yield "", other(document)
