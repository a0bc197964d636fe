"""Options every test may use, and what no test may do: read the user's environment, leave a task or a process behind."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.running import FULL, HOME

SCRUBBED = ("HEADRACE_", "OMP_", "MKL_", "OPENBLAS_", "PIP_", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
collect_ignore_glob = ["live/oracles/*"]
"""Scripts for other environments."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the code gives into tests/golden")
    parser.addoption("--oracles", action="store_true", help="also ask with other people's clients (installs them)")
    parser.addoption("--full", action="store_true", help="figures that take a minute or two to make, too")
    parser.addoption("--chaos", action="store_true", help="the long kill -9 runs too")


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.startswith(SCRUBBED) and name != "HEADRACE_KSERVE_ENV":
            del os.environ[name]
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and tables would fit themselves into it
    os.environ["HEADRACE_HOME"] = HOME
    if config.getoption("--full"):
        os.environ[FULL] = "1"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.scheduling import Groups

    return Groups(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in item.keywords and not config.getoption("--chaos"):
            item.add_marker(pytest.mark.skip(reason="a long run: --chaos"))
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _leaves_no_task(item.obj)


def _leaves_no_task(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test, failing if tasks it started are still running after it. Those of its fixtures are theirs to end."""

    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        for _ in range(20):
            left = asyncio.all_tasks() - before
            if not left:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"tasks left behind: {left}")

    return checked


@pytest.fixture(scope="session", autouse=True)
def _leaves_no_process() -> Iterator[None]:
    yield
    left = [child for child in psutil.Process().children(recursive=True) if _ours(child)]
    for child in left:
        child.kill()
    assert not left, f"processes left behind: {left}"


def _ours(process: psutil.Process) -> bool:
    try:
        return "headrace" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
