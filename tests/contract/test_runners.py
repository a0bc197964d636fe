"""Every runner that can be had here passes its family's suite, as whoever runs the tests: root or an ordinary user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.assets import Environment
from headrace.checks.runners import CHECKS, Stage
from headrace.errors import NoIsolation
from headrace.runners import RUNNERS


def _environment(name: str) -> Environment:
    return Environment()  # type: ignore[call-arg]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", RUNNERS.names())
async def test_runner(name: str, check: str, tmp_path: Path) -> None:
    runner, environment = RUNNERS.find(name)(), _environment(name)
    try:
        runner.check(environment)
    except NoIsolation as error:
        if os.environ.get("CI") == "true" and name == "local":
            raise
        pytest.skip(str(error))
    await CHECKS[check](Stage(runner, tmp_path, environment))
