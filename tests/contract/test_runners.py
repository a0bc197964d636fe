"""Every runner that can be had here passes its family's suite, as whoever runs the tests: root or an ordinary user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import runner_image
from headrace.assets import Environment
from headrace.checks.runners import CHECKS, Stage
from headrace.errors import NoIsolation
from headrace.runners import RUNNERS


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python in it; empty where there is no podman."""
    return runner_image.image(tmp_path_factory.mktemp("image"))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", RUNNERS.names())
async def test_runner(name: str, check: str, image: str, tmp_path: Path) -> None:
    runner = RUNNERS.find(name)()
    environment = Environment.model_validate({"image": image if name == "container" else ""})
    try:
        runner.check(environment)
    except NoIsolation as error:
        if os.environ.get("CI") == "true" and name == "local":
            raise
        pytest.skip(str(error))
    await CHECKS[check](Stage(runner, tmp_path, environment))
