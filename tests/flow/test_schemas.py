"""Every service does what its OpenAPI document says, and nothing else: Schemathesis asks a running platform.

`--full` asks for many more examples. What a check may find without our mending it stands in `EXPLAINED`, with its reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from tools.client import SERVICES, document

from tests.running import FULL, Up

pytestmark = pytest.mark.xdist_group("schemas")
SEED, EXAMPLES, MANY = 20260101, 8, 150
REFUSED = [400, 401, 403, 404, 405, 409, 412, 413, 415]
"""What may be answered to a request that the schema forbids; 412 and 415 are the tus protocol's."""
_RIGHT = "positive_data_acceptance"
EXPLAINED: dict[str, dict[str, str]] = {
    "token": {_RIGHT: "a made-up password, secret or refresh token is refused with 400 (RFC 6749, section 5.2)"},
    "add_person": {_RIGHT: "which roles a kind may have, and what a topic filter is, is more than a schema can say"},
    "register_dataset_from_stream": {_RIGHT: "that a range begins before it ends is more than a schema can say"},
    "register_dataset": {_RIGHT: "the part metadata comes before the file; OpenAPI knows no order of parts"},
    "register_model": {_RIGHT: "metadata comes first, and code goes with a recipe: OpenAPI knows neither"},
    "create_upload": {
        _RIGHT: "one of Upload-Length and Upload-Defer-Length; OpenAPI cannot ask for one of two headers"
    },
    "validate_recipe": {_RIGHT: "the recipe is JSON in a text field of a form; its own schema is `Recipe`"},
}
"""Operation id, or "" for all -> check that is left out there -> why."""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("schemas") / "data", "--ledger", "memory")
    yield up
    assert up.stop() == 0


@schemathesis.serializer("application/offset+octet-stream")
def piece(ctx: Any, value: Any) -> bytes:
    """The bytes of a PATCH, as they are."""
    return value if isinstance(value, bytes) else str(value).encode()


def schema(service: str) -> Any:
    """A service's own document; asked for without a server, so that each operation is a test of its own."""
    refused = {"expected-statuses": REFUSED}
    checks = {"negative_data_rejection": refused, "missing_required_header": refused}
    config = schemathesis.Config.from_dict({"seed": SEED, "checks": checks})
    examples = MANY if os.environ.get(FULL) else EXAMPLES
    config.projects.default.generation.update(
        max_examples=examples, deterministic=True, database="none", no_shrink=True,
        allow_extra_parameters=False,  # parameters nobody knows are passed over, as HTTP does
    )  # fmt: skip
    return schemathesis.openapi.from_dict(document(service), config=config)


def ask(case: Case, platform: Up) -> None:
    """One request, and every check of the answer."""
    load_all_checks()
    name = case.operation.definition.raw.get("operationId")
    excluded = [CHECKS.get_one(check) for check in EXPLAINED.get("", {}) | EXPLAINED.get(name, {})]
    headers = {"Authorization": platform.headers["authorization"]}  # as a check that leaves it out looks for it
    case.call_and_validate(platform.http, headers=headers, excluded_checks=excluded, timeout=20)


def kept(api: Any, operation: str) -> Any:
    """The test of one operation. Each has a name of its own: workers that share tests by name would run one of them all."""

    @api.include(operation_id=operation).parametrize()
    def test(case: Case, platform: Up) -> None:
        ask(case, platform)

    return test


def _name_of(found: Any) -> str:
    return str(found.ok().definition.raw["operationId"])


OPERATIONS = {service: schema(service) for service in SERVICES}
for _service, _api in OPERATIONS.items():
    for _found in _api.get_all_operations():
        _name = _name_of(_found)
        globals()[f"test_{_service}_{_name}"] = kept(_api, _name)


def test_every_operation_is_tested(request: pytest.FixtureRequest) -> None:
    wanted = {
        f"test_{service}_{_name_of(one)}" for service, api in OPERATIONS.items() for one in api.get_all_operations()
    }
    assert len(wanted) > 50 and wanted <= set(globals())
    ids = [item.nodeid for item in request.session.items if item.path == request.path]
    assert len(ids) == len(set(ids))
