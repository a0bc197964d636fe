"""Pickles of scikit-learn and joblib: never unpickled. Only the names of classes are picked out of their opcodes."""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import re
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.inside.found import Found
from headrace.settings import InspectionSettings

OPCODES = 5_000_000
CLASSES = 200
_FRAMEWORKS = {"sklearn": "sklearn", "torch": "pytorch", "xgboost": "xgboost", "lightgbm": "lightgbm", "river": "river"}
_FRAMEWORKS |= {"keras": "keras", "tensorflow": "tensorflow", "catboost": "catboost", "statsmodels": "statsmodels"}
_NAMED = re.compile(
    rb"\x8c.([A-Za-z_][\w.]*)\x94\x8c.([A-Za-z_]\w*)\x94\x93|c([A-Za-z_][\w.]*)\n([A-Za-z_]\w*)\n", re.S
)
_FEATURES = re.compile(rb"n_features_in_(?:\x94|q.|r....)?(?:K(.)|M(..)|J(....))", re.S)
_COMPRESSED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
    b"\x78": zlib.decompressobj,
}


def is_pickle(head: bytes) -> bool:
    """Whether it begins as a pickle of protocol 2 to 5, perhaps compressed as joblib does."""
    plain = unpacked(head, 16)
    return len(plain) > 2 and plain[0] == 0x80 and 2 <= plain[1] <= 5


def unpacked(data: bytes, limit: int) -> bytes:
    """The first `limit` bytes, decompressed."""
    for magic, engine in _COMPRESSED.items():
        if data.startswith(magic):
            try:
                return bytes(engine().decompress(data, limit))
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                return b""
    return data[:limit]


def look(path: Path, limits: InspectionSettings) -> Found:
    """Framework by the first class that belongs to one."""
    with path.open("rb") as file:
        data = unpacked(file.read(limits.file_bytes), limits.file_bytes)
    names = list(dict.fromkeys(_named(data)))
    roots = [name.partition(".")[0] for name in names]
    framework = next((_FRAMEWORKS[root] for root in roots if root in _FRAMEWORKS), "")
    about: dict[str, Any] = {"format": "pickle", "classes": [name[:200] for name in names[:CLASSES]]}
    about["note"] = "never unpickled: read from the names in it"
    found = Found(framework, metadata=about)
    if framework == "sklearn" and (match := _FEATURES.search(data)):
        found.input_shape = [int.from_bytes(next(part for part in match.groups() if part is not None), "little")]
    return found


def _named(data: bytes) -> Iterator[str]:
    """Names of classes: by opcodes up to the first raw array of joblib, by what they look like after it."""
    end = 0
    texts: list[str] = []
    memo: dict[int, str] = {}
    last = ""
    try:
        for code, argument, place in islice(pickletools.genops(io.BytesIO(data)), OPCODES):
            end = place or 0
            if code.name in {"GLOBAL", "INST"}:
                yield str(argument).replace(" ", ".")
            elif code.name == "STACK_GLOBAL" and len(texts) > 1:
                yield ".".join(texts[-2:])
            elif code.name == "MEMOIZE":
                memo[len(memo)] = last
            elif code.name in {"BINGET", "LONG_BINGET"}:
                texts.append(memo.get(int(argument or 0), ""))
            last = argument if isinstance(argument, str) and "UNICODE" in code.name else ""
            if last:
                texts = [*texts[-1:], last]
    except Exception:  # raw bytes of an array, or damage: what is left is looked through
        for match in islice(_NAMED.finditer(data, end), CLASSES):
            yield b".".join(part for part in match.groups() if part is not None).decode()
