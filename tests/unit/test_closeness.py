"""How far files of arrays are apart, and which are not compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.inside import closeness
from headrace.models.backends.saved import safetensors


def saved(path: Path, **arrays: Any) -> Path:
    """In the format of its name."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["w"])
    else:
        path.write_bytes(safetensors(arrays))
    return path


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_as_a_part_of_the_largest_recorded_value(tmp_path: Path, suffix: str) -> None:
    one = saved(tmp_path / f"one{suffix}", w=np.array([2.0, -4.0]))
    other = saved(tmp_path / f"other{suffix}", w=np.array([2.0, -5.0]))
    assert closeness.apart(one, other) == 0.25 and closeness.apart(one, one) == 0.0


def test_what_is_not_compared(tmp_path: Path) -> None:
    one = saved(tmp_path / "one.npz", w=np.array([1.0, np.nan]))
    assert closeness.apart(one, saved(tmp_path / "same.npz", w=np.array([1.0, np.nan]))) == 0.0
    for number, arrays in enumerate(
        [
            {"w": np.array([1.0, 2.0])},
            {"w": np.array([np.nan, 1.0])},
            {"w": np.array([1.0, np.nan, 0.0])},
            {"v": np.array([1.0, np.nan])},
            {"w": np.array(["1", "2"])},
        ]
    ):
        assert closeness.apart(one, saved(tmp_path / f"{number}.npz", **arrays)) is None
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "w.pt").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(one.read_bytes()[:50])
    for path in (objects, tmp_path / "w.pt", tmp_path / "cut.npz", tmp_path / "none.npz"):
        assert closeness.apart(path, path) is None


def test_the_program_says_the_worst_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.inside.place.WORK", tmp_path)
    for folder in ("recorded", "made", "output"):
        (tmp_path / folder).mkdir()
        for name, value in (("a.npy", 1.0), ("b.npy", 2.0 if folder == "made" else 4.0)):
            saved(tmp_path / folder / name, w=np.array([value]))
    (tmp_path / "request.json").write_text(json.dumps({"files": ["a.npy", "b.npy"]}))
    closeness.main()
    assert json.loads((tmp_path / "output" / "answer.json").read_text()) == {"worst": 0.5}
