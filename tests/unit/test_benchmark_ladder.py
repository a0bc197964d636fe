"""The benchmark of the ladder runs and measures each thing; no figure is judged here."""

from __future__ import annotations

from pathlib import Path

from benchmarks import ladder


async def test_a_run_measures_everything(tmp_path: Path) -> None:
    found = await ladder.measure(tmp_path, 2)
    assert all(value > 0 for value in found.values()) and found["megabytes"] == 2
