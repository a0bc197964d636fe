"""The documentation is what the code says, and leaves nothing out."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from headrace import events
from headrace.evaluation import periods
from headrace.plugins import Family

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_reference_is_current(reference: ModuleType) -> None:
    assert (ROOT / "docs" / "reference.md").read_text() == reference.text(), "run: python docs/generate.py"


def test_every_field_is_explained(reference: ModuleType) -> None:
    models = [*reference.SECTIONS, periods.Periods, periods.Drift, *reference.kinds_of_settings()]
    for _, family in reference.FAMILIES:
        assert isinstance(family, Family)
        models += [family.find(name).Params for name in family.names()]
    silent = [
        f"{model.__qualname__}.{name}" for model in models for name, _, about in reference.fields(model) if not about
    ]
    assert silent == []


@pytest.mark.parametrize("event", [events.Prediction, events.Score, events.Decision])
def test_every_event_is_explained(event: type) -> None:
    assert event.__doc__ and not event.__doc__.startswith(event.__name__ + "(")


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/roadmap.md"])
def test_links_and_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert all((ROOT / page).parent.joinpath(target).exists() for target in targets), targets
    named = re.findall(r"`((?:src|tests|docs|benchmarks|examples)/[\w/.-]+)`", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
