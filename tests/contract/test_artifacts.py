"""Every artifact store passes the family's suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.checks.artifacts import check_artifacts
from headrace.stores.artifacts import ARTIFACTS

DURABLE = {"files": True, "memory": False}


@pytest.mark.parametrize("name", ARTIFACTS.names())
async def test_artifacts(name: str, tmp_path: Path) -> None:
    await check_artifacts(ARTIFACTS.find(name), tmp_path, durable=DURABLE[name])
