"""Every service does what its OpenAPI document says, and nothing else: Schemathesis asks a running platform.

`--full` asks for many more examples. What a check may find without our mending it stands in `EXPLAINED`, with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks

from tests.running import FULL, Up
from tools.client import document

pytestmark = pytest.mark.xdist_group("schemas")
SEED, EXAMPLES, MANY = 20260101, 4, 150
EXPLAINED: dict[str, dict[str, str]] = {}
"""Operation id, or "" for all -> check that is left out there -> why."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("schemas") / "data")
    yield up
    assert up.stop() == 0


def schema(service: str) -> Any:
    """A service's own document; asked for without a server, so that each operation is a test of its own."""
    config = schemathesis.Config.from_dict({"seed": SEED})
    examples = MANY if os.environ.get(FULL) else EXAMPLES
    config.projects.default.generation.update(
        max_examples=examples, deterministic=True, database="none", no_shrink=True
    )
    return schemathesis.openapi.from_dict(document(service), config=config)


def ask(case: Case, platform: Up) -> None:
    """One request, and every check of the answer."""
    load_all_checks()
    name = case.operation.definition.raw.get("operationId")
    excluded = [CHECKS.get_one(check) for check in EXPLAINED.get("", {}) | EXPLAINED.get(name, {})]
    case.call_and_validate(platform.http, headers=platform.headers, excluded_checks=excluded, timeout=20)


@schema("identity").parametrize()
def test_identity_keeps_its_schema(case: Case, platform: Up) -> None:
    ask(case, platform)


@schema("sharing").parametrize()
def test_sharing_keeps_its_schema(case: Case, platform: Up) -> None:
    ask(case, platform)


@schema("training").parametrize()
def test_training_keeps_its_schema(case: Case, platform: Up) -> None:
    ask(case, platform)
