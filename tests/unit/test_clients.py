"""The committed clients are what the generator makes of the services' documents today."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from tools import client

from headrace import clients

pytestmark = pytest.mark.xdist_group("clients")


@pytest.fixture(scope="module")
def generator() -> Path:
    """The generator's environment; without a way to get it a laptop skips, and CI fails."""
    try:
        return client.generator()
    except subprocess.CalledProcessError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(
            f"{client.GENERATOR} cannot be installed here ({error}): try `python -m tools.client --check` online"
        )


@pytest.mark.parametrize("service", client.SERVICES)
def test_a_client_is_what_its_document_says(service: str, generator: Path) -> None:
    assert client.differences(service) == [], "run `python -m tools.client` and commit what it wrote"


def test_a_change_of_a_document_is_a_difference(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = client.document("training")
    changed["paths"]["/jobs/{id}"]["get"]["operationId"] = "another_name"
    monkeypatch.setattr(client, "document", lambda service: changed)
    found = {Path(name).name for name in client.differences("training")}
    assert {"get_job.py", "another_name.py"} <= found


@pytest.mark.parametrize("service", client.SERVICES)
def test_a_document_names_and_groups_every_operation(service: str) -> None:
    document = client.document(service)
    operations = [one for path in document["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names)) >= {"translation": 1}.get(service, 7)
    assert all(
        one.get("tags") and name.islower() and "__" not in name for one, name in zip(operations, names, strict=True)
    )
    assert '"422"' not in json.dumps(document)


def test_every_generated_module_can_be_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(clients.__path__, "headrace.clients.")]
    assert len(names) > 100
    for name in names:
        import_module(name)


def test_the_clients_need_nothing_of_the_services() -> None:
    code = "import sys, headrace.clients.sharing, headrace.clients.training.api.training.get_job as _\n"
    code += "print([name for name in sys.modules if name.startswith(('headrace.services', 'fastapi', 'sqlalchemy'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
