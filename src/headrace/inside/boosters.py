"""XGBoost (JSON and UBJSON), LightGBM and Vowpal Wabbit files: what their headers say."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from headrace.errors import BadInput
from headrace.inside.found import Found
from headrace.settings import InspectionSettings

_VW = re.compile(rb"(\d+\.\d+\.\d+)\0")
_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"u": ">H", b"l": ">i", b"m": ">I", b"L": ">q", b"M": ">Q"}
_NUMBERS |= {b"d": ">f", b"D": ">d"}
_CONSTANTS: dict[bytes, Any] = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 100


def vowpal_wabbit(head: bytes) -> Found | None:
    """Its model begins with the length of its version and the version. None: it is not one."""
    match = _VW.match(head, 4)
    if match is None or int.from_bytes(head[:4], "little") != match.end() - 4:
        return None
    return Found("vowpal_wabbit", metadata={"format": "vowpal wabbit", "version": match.group(1).decode()})


def lightgbm(path: Path, limits: InspectionSettings) -> Found:
    """Its text format."""
    with path.open("rb") as file:
        text = file.read(min(2**20, limits.file_bytes)).decode("utf-8", "replace")
    said = dict(line.split("=", 1) for line in text.split("\n\n")[0].splitlines() if "=" in line)
    features = said.get("max_feature_idx", "")
    shape = [int(features) + 1] if features.isdigit() else None
    about = {
        "format": "lightgbm text",
        "objective": said.get("objective", "")[:200],
        "classes": said.get("num_class", ""),
    }
    return Found("lightgbm", shape, None, None, about)


def tree_json(path: Path, limits: InspectionSettings) -> Found:
    """XGBoost's JSON; any other JSON has no framework. Raises BadInput."""
    return _xgboost(json.loads(_bytes(path, limits)), "xgboost json")


def tree_ubj(path: Path, limits: InspectionSettings) -> Found:
    """XGBoost's UBJSON. Raises BadInput."""
    try:
        return _xgboost(_Ubj(_bytes(path, limits)).value(), "xgboost ubj")
    except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
        raise BadInput(detail="it is no whole UBJSON file") from error


def is_ubj(head: bytes) -> bool:
    """Whether it begins as a UBJSON object with a name of a few bytes."""
    return len(head) > 3 and head[:1] == b"{" and head[1:2] in {b"i", b"U", b"I", b"l", b"L"}


def _bytes(path: Path, limits: InspectionSettings) -> bytes:
    if path.stat().st_size > limits.file_bytes:
        raise BadInput(detail=f"it is over {limits.file_bytes:,} bytes, the most that is read whole")
    return path.read_bytes()


def _xgboost(whole: Any, form: str) -> Found:
    learner = whole.get("learner") if isinstance(whole, dict) else None
    if not isinstance(learner, dict) or "gradient_booster" not in learner:
        return Found()
    said = learner.get("learner_model_param", {})
    outputs = max(int(said.get("num_class", 0)), int(said.get("num_target", 1)), 1)
    booster = learner["gradient_booster"]
    trees = booster.get("model", {}).get("trees", [])
    nodes = sum(int(tree.get("tree_param", {}).get("num_nodes", 0)) for tree in trees if isinstance(tree, dict))
    about = {
        "format": form,
        "version": whole.get("version"),
        "booster": booster.get("name"),
        "objective": learner.get("objective", {}).get("name"),
        "trees": len(trees),
        "nodes": nodes,
        "feature_names": [str(name)[:100] for name in learner.get("feature_names", [])[:500]],
    }
    return Found("xgboost", [int(said.get("num_feature", 0))], [outputs], None, about)


class _Ubj:
    """Universal Binary JSON (ubjson.org, draft 12), as far as XGBoost writes it."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._depth = data, 0, 0

    def _take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._data):
            raise IndexError(size)
        self._at += size
        return self._data[self._at - size : self._at]

    def value(self, mark: bytes = b"") -> Any:
        """The next value; `mark`: its type, if that was said already."""
        mark = mark or self._take(1)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        if mark in _NUMBERS:
            return struct.unpack(_NUMBERS[mark], self._take(struct.calcsize(_NUMBERS[mark])))[0]
        if mark in {b"S", b"H"}:
            return self._text()
        if mark == b"C":
            return self._take(1).decode()
        if mark not in {b"[", b"{"} or self._depth > _DEEPEST:
            raise KeyError(mark)
        self._depth += 1
        found = self._list() if mark == b"[" else self._object()
        self._depth -= 1
        return found

    def _text(self) -> str:
        return self._take(int(self.value())).decode()

    def _counted(self) -> tuple[bytes, int | None]:
        """(type of all values or b"", how many or None)."""
        mark, count = b"", None
        if self._data[self._at : self._at + 1] == b"$":
            mark = self._take(2)[1:]
        if self._data[self._at : self._at + 1] == b"#":
            self._take(1)
            count = int(self.value())
        if count is not None and count > len(self._data):
            raise IndexError(count)
        return mark, count

    def _list(self) -> list[Any]:
        mark, count = self._counted()
        if count is not None:
            return [self.value(mark) for _ in range(count)]
        found = []
        while (next_mark := self._take(1)) != b"]":
            found.append(self.value(next_mark))
        return found

    def _object(self) -> dict[str, Any]:
        mark, count = self._counted()
        found: dict[str, Any] = {}
        while count is None or len(found) < count:
            if count is None and self._data[self._at : self._at + 1] == b"}":
                self._take(1)
                break
            name = self._text()
            if name in found:
                raise KeyError(name)
            found[name] = self.value(mark)
        return found
