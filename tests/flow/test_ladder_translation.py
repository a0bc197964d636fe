"""L2 of translations, in the real sandbox: the stored ONNX file is not needed, and a file that is no translation is found."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.assets import Model
from headrace.services.sharing.requests import NewModel
from headrace.services.translation import Wish
from tests.flow.test_anchoring_platform import headrace
from tests.hub import ACME, BOLT, grant, taking
from tests.ladders import RUNNER, Standing, standing
from tests.notary import impatient
from tests.running import Up
from tests.translating import line

pytestmark = pytest.mark.xdist_group("translation")
NET = """
import os, pathlib
def headrace_model(folder, parameters):
    import torch
    torch.manual_seed(int(os.environ["SEED"]) + pathlib.Path(folder, "w.bin").read_bytes()[0])
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
def headrace_inputs(files, parameters):
    import numpy as np
    return np.ones((10, 3)) * np.arange(10)[:, None]
if __name__ == "__main__":
    pathlib.Path(os.environ["HEADRACE_OUTPUT"], "w.bin").write_bytes(b"w")
"""


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with impatient():
        yield


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Standing]:
    async with standing(tmp_path / "house") as found:
        yield found


def ridge() -> bytes:
    """(n, 3) -> (n, 2), as scikit-learn pickles it."""
    import joblib  # type: ignore[import-untyped]
    from sklearn.linear_model import Ridge

    x, into = np.random.default_rng(0).normal(size=(50, 3)), io.BytesIO()
    joblib.dump(Ridge().fit(x, x[:, :2] * 2 + 1), into)
    return into.getvalue()


async def translated(on: Standing, name: str, data: bytes, **wish: Any) -> tuple[Model, Model]:
    """(uploaded original, its translation), both recorded."""
    original = await on.here.hub.register.model(ACME, NewModel(name=name), name, taking(on.here.hub, "acme", data))
    made = await on.translations.translate(ACME, original.id, Wish(**wish))
    await on.here.settled()
    return original, await on.here.hub.model(ACME, made.id)


@pytest.mark.parametrize(
    ("name", "given", "wish"), [("line.pt", line, {"input_shape": [3]}), ("ridge.joblib", ridge, {"tolerance": 0.5})]
)
async def test_its_original_gives_the_recorded_file_again(on: Standing, name: str, given: Any, wish: Any) -> None:
    original, made = await translated(on, name, given(), **wish)
    assert made.fingerprint.startswith("sha256:") and "packages" not in made.environment
    on.content(made.files[0].stored.sha256).unlink()
    report, said = await on.verify(made.id, "L2")
    assert (report.level, report.passed) == ("L0", False) and "made again it has the recorded digest" in report.says
    assert [one.state for one in report.checks if one.level == "L2"] == ["passed", "passed"]
    assert [one.name for one in report.checks if one.level == "L2"] == ["original", "translation again"]
    assert original.digest in report.checks[-2].detail
    assert report.checks[-1].detail == f"{made.digest} once more, in the same environment"
    assert any(one.state == "running" and one.name == "translation again" for one in said)
    assert any(original.id in left and "L1 only" in left for left in report.not_checked)


async def test_of_a_recipe_by_its_code(on: Standing) -> None:
    _, original = await on.trained(NET)
    made = await on.translations.translate(ACME, original.id, Wish())  # type: ignore[call-arg]
    await on.here.settled()
    report, _ = await on.verify(made.id, "L2")
    assert (report.level, report.passed) == ("L2", True), report
    assert original.recipe is not None and f"and its code {original.recipe.code.sha256}" in report.checks[-2].detail
    on.content(original.recipe.code.sha256).write_bytes(b"other")
    report, _ = await on.verify(made.id, "L2")
    assert (report.level, report.passed, report.checks[-2].state) == ("L1", False, "failed")


async def test_a_recorded_file_that_is_no_translation_of_its_original_is_found(on: Standing, tmp_path: Path) -> None:
    """Ledger, record and store agree on it, so that L0 and L1 are reached."""
    import onnx

    original, made = await translated(on, "line.pt", line(), input_shape=[3])
    async with on.here.hub.content(ACME, made.id, "read") as path:
        model = onnx.load(str(path))
    (biases,) = (one for one in model.graph.initializer if list(one.dims) == [2])
    biases.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(biases) + 1, biases.name))
    onnx.save(model, str(tmp_path / "false.onnx"))
    assert made.translation is not None
    found = {"input_shape": [3], "fingerprint": made.fingerprint}
    false = await on.here.hub.translated(ACME, original.id, made.translation, tmp_path / "false.onnx", found)
    await on.here.settled()
    report, _ = await on.verify(false.id, "L2")
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", False, "failed"), report
    assert f"a second translation in the same environment gave {made.digest}" in report.checks[-1].detail
    on.record(made.id, lambda record: record["translation"].update(digest="sha256:" + "0" * 64))
    assert "translation" in (await on.failing(made.id, "L2"))["claim"], "a changed record does not reach L0"


async def test_other_bytes_where_the_environment_was_not_recorded(
    on: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    original, made = await translated(on, "ridge.joblib", ridge())
    monkeypatch.setattr(type(RUNNER), "describe", lambda *_: {"digest": "sha256:elsewhere", "packages": {}})
    path = on.here.folder / "renamed.onnx"
    async with on.here.hub.content(ACME, made.id, "read") as content:
        model = onnx.load(str(content))
    model.producer_version = "0"
    onnx.save(model, str(path))
    assert made.translation is not None
    older = await on.here.hub.translated(ACME, original.id, made.translation, path, {"input_shape": [3]})
    await on.here.settled()
    report, _ = await on.verify(older.id, "L2")
    assert (report.level, report.passed, report.checks[-1].state) == ("L1", True, "skipped"), report
    assert "re-derived within tolerance, in an environment that may be another" in report.says
    assert (
        f"(none was recorded) (scikit-learn {made.translation.versions['scikit-learn']} then, none now" in report.says
    )
    assert "its answers are the original's within " in report.says


async def test_who_may_and_what_is_gone(on: Standing) -> None:
    original, made = await translated(on, "ridge.joblib", ridge())
    await grant(on.here.hub, ACME, made.id, "bolt", "read")
    report, _ = await on.verify(made.id, "L2", BOLT)
    assert (report.level, report.passed) == ("L1", True)
    for check in report.checks[-2:]:
        assert check.state == "skipped" and "may not be derived from by you" in check.detail
    await grant(on.here.hub, ACME, original.id, "bolt", "derive")
    assert (await on.verify(made.id, "L2", BOLT))[0].level == "L2"
    await on.here.hub.removing.delete(ACME, original.id)
    report, _ = await on.verify(made.id, "L2")
    assert (report.level, report.passed) == ("L1", True), report
    assert all("was deleted: there is nothing" in check.detail for check in report.checks[-2:])


def test_by_the_command_on_a_whole_platform(tmp_path: Path) -> None:
    (tmp_path / "line.pt").write_bytes(line())
    with Up(tmp_path / "data", "--ledger", "memory") as up:
        original = json.loads(headrace(up, "model", "add", str(tmp_path / "line.pt"), "--json"))
        made = json.loads(headrace(up, "translate", original["id"], "--input-shape", "3", "--json"))
        said = headrace(up, "verify", made["id"], "--level", "L2")
        assert f"{made['id']} verified, level L2, re-derived" in said, said
        assert "✓ L2 translation again: " in said and "once more, in the same environment" in said
        assert up.stop() == 0
