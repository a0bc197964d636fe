"""Every log and every object store passes its family's suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.checks.logs import check_log
from headrace.checks.objects import check_objects
from headrace.stores.objects import OBJECTS
from headrace.streams.logs import LOGS

DURABLE = {"sqlite": True, "memory": False}


@pytest.mark.parametrize("name", LOGS.names())
async def test_log(name: str, tmp_path: Path) -> None:
    await check_log(LOGS.find(name), tmp_path, durable=DURABLE[name])


@pytest.mark.parametrize("name", OBJECTS.names())
def test_objects(name: str, tmp_path: Path) -> None:
    check_objects(OBJECTS.find(name)(tmp_path))
