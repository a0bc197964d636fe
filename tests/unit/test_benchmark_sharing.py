"""The benchmark of large content runs and measures each thing once a round; no figure is judged here."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import sharing
from benchmarks.report import Run


def test_a_round_measures_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SMALL", 5)
    run = Run({})
    sharing.measure(run, tmp_path, megabytes=6)
    assert {name: len(values) for name, values in run.samples.items()} == dict.fromkeys(run.samples, 1)
    wanted = {side for goal in sharing.GOALS for side in (goal.ours, goal.theirs)}
    wanted |= {f"sharing.{name}.mb_s" for name in ("read", "checked", "http", "http_checked")}
    assert wanted <= run.samples.keys() and all(
        values[0] > 0 for name, values in run.samples.items() if "cpu" not in name
    )
    assert list(tmp_path.iterdir()) == []
