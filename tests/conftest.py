"""Options every test may use."""

from __future__ import annotations

import pytest

collect_ignore_glob = ["live/oracles/*"]
"""Scripts for other environments."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the code gives into tests/golden")
    parser.addoption("--oracles", action="store_true", help="also ask with other people's clients (installs them)")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
