"""The benchmark of anchoring runs and measures each thing; no figure is judged here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import anchor


async def test_a_run_measures_everything(tmp_path: Path) -> None:
    found: dict[str, Any] = await anchor.compare(tmp_path, 3, 4)
    assert found["blocks"] == 1 + (3 + anchor.WARM) + 3 + anchor.FEW + 1
    assert found["version"]["p50"] > 0 < found["least"]["p50"]
    assert all(value > 0 for value in (*found["claims_per_s"].values(), *found["rss_mb"].values(), found["start_s"]))
