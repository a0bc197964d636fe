"""The example recipes through the real hub, queue and sandbox: trained twice, they give the same bytes; a child starts as its parent."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.assets import Job, Limits, Model, Recipe
from headrace.errors import BadInput, Forbidden
from headrace.library import weights_of
from headrace.models.backends import Shape
from headrace.models.backends.parent import fit, read
from headrace.models.backends.torch import gru_tensors
from headrace.runners.local import LocalRunner
from headrace.services.sharing import Trainer
from headrace.services.sharing.service import SharingService, now_ms
from headrace.services.training.service import TrainingService
from tests import hub as hubs
from tests.hub import ACME, BOLT
from tests.shelf import ended, text, training

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "02-train"
RUNNER = LocalRunner()
LIMITS = Limits(seconds=300)  # type: ignore[call-arg]


class Later:
    """The trainer a hub is given before there is one."""

    service: Trainer

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        await self.service.validate(who, recipe, code)

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        return await self.service.submit(who, model, recipe, priority, attempts)


@contextlib.asynccontextmanager
async def platform(folder: Path) -> AsyncIterator[tuple[SharingService, TrainingService]]:
    later = Later()
    async with (
        hubs.opened(folder / "hub", clock=now_ms, trainer=later) as hub,
        training(folder, RUNNER, sharing=hub) as service,
    ):
        later.service = service
        yield hub, service


def packed(name: str, **more: str) -> bytes:
    """The folder of an example as a zip."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for path in sorted((EXAMPLES / name).iterdir()):
            if path.is_file():
                archive.write(path, path.name)
        for file, content in more.items():
            archive.writestr(file.replace("__", "."), content)
    return into.getvalue()


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("series")
    subprocess.run([sys.executable, EXAMPLES / "hourly.py", folder], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def trained(hub: SharingService, service: TrainingService, name: str, **given: Any) -> Model:
    """The model an example makes."""
    made = await hubs.recipe(hub, ACME, packed(name), limits=LIMITS, **given)
    job = await ended(service, made.job, ACME)
    assert job.state == "done", (job.reason, await text(service, job.id, ACME))
    return await hub.model(ACME, made.id)


@pytest.mark.parametrize(
    ("name", "file"), [("gru", "model.safetensors"), ("sklearn", "model.npz"), ("keras", "model.keras")]
)
async def test_twice_the_same_recipe_gives_the_same_bytes(
    tmp_path: Path, series: dict[str, bytes], name: str, file: str
) -> None:
    async with platform(tmp_path) as (hub, service):
        data = (await hubs.dataset(hub, ACME, series["train.csv"])).id
        held_out = (await hubs.dataset(hub, ACME, series["held-out.csv"])).id
        model = await trained(hub, service, name, datasets=[data], evaluation=[held_out], parameters={"epochs": 2})
        assert [one.path for one in model.files] == sorted(["metrics.json", "scale.json", file])
        assert 0 < model.metrics["mse"] < 1 and 0 < model.metrics["train_mse"] < 1
        job = await ended(service, (await service.reproduce(ACME, model.id)).id, ACME)
        assert job.message == "reproduced", (job, await text(service, job.id, ACME))
        judged = await hub.model(ACME, model.id)
        assert (
            judged.reproducible == "reproduced"
            and "the same 3 files in the same environment" in judged.reproducible_note
        )
        job = await ended(service, (await service.evaluate(ACME, model.id, held_out)).id, ACME)
        assert job.state == "done", await text(service, job.id, ACME)
        found = (await hub.model(ACME, model.id)).metrics
        assert found[held_out] == {"job": job.id, "mse": pytest.approx(model.metrics["mse"], rel=1e-6)}


async def test_a_child_starts_with_its_parents_weights_and_learns_faster(
    tmp_path: Path, series: dict[str, bytes]
) -> None:
    async with platform(tmp_path) as (hub, service):
        first = (await hubs.dataset(hub, ACME, series["train.csv"])).id
        second = (await hubs.dataset(hub, ACME, series["held-out.csv"])).id
        parent = await trained(hub, service, "gru", datasets=[first], parameters={"epochs": 10})
        one = {"datasets": [second], "parameters": {"epochs": 1}}
        child = await trained(hub, service, "gru", parent=parent.id, **one)
        scratch = await trained(hub, service, "gru", **one)
        async with hub.content(ACME, parent.id, "train") as folder:
            weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        _, online = await weights_of(hub, ACME, parent.id, 2**20)  # what an online model would start from
        fit(read(online), gru_tensors(Shape((36, 1), 24)))
        assert child.parent == parent.id and child.metrics["initial_weights"] == weights
        assert scratch.metrics["initial_weights"] != weights
        assert child.metrics["train_mse_after_1"] < scratch.metrics["train_mse_after_1"]
        print(
            f"\nloss after one epoch: {child.metrics['train_mse']:.4f} from the parent, {scratch.metrics['train_mse']:.4f} from scratch"
        )


def test_without_data_a_recipe_ends_with_a_sentence(tmp_path: Path) -> None:
    assert len({(EXAMPLES / name / "series.py").read_bytes() for name in ("gru", "sklearn", "keras")}) == 1
    (tmp_path / "parameters.json").write_text(
        '{"history": 36, "horizon": 24, "column": "power", "hidden": 8, "epochs": 1}'
    )
    variables = {
        "HEADRACE_DATA": "", "HEADRACE_EVALUATION": "", "HEADRACE_MODE": "train", "HEADRACE_OUTPUT": str(tmp_path),
        "HEADRACE_PARAMETERS": str(tmp_path / "parameters.json"), "SEED": "0", "KERAS_BACKEND": "torch",
    }  # fmt: skip
    command = [sys.executable, "train.py"]
    done = subprocess.run(  # noqa: PLW1510
        command, cwd=EXAMPLES / "sklearn", env=os.environ | variables, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("HEADRACE_DATA is empty: this recipe needs a dataset")
    assert "Traceback" not in done.stderr


async def test_the_recipe_in_the_docs_is_trained_as_it_stands(tmp_path: Path, series: dict[str, bytes]) -> None:
    page = (EXAMPLES.parent.parent / "docs" / "training.md").read_text()
    code, declared = (re.findall(f"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("python", "yaml"))
    into, bare = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("train.py", code)
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("train.py", code)
        archive.writestr("headrace-recipe.yaml", declared)
    async with platform(tmp_path) as (hub, service):
        data = (await hubs.dataset(hub, ACME, series["train.csv"])).id
        made = await hubs.recipe(hub, ACME, into.getvalue(), datasets=[data], parameters={"noise": 0.02})
        job = await ended(service, made.job, ACME)
        assert (job.state, job.message) == ("done", "fitted"), await text(service, job.id, ACME)
        record = await hub.model(ACME, made.id)
        assert [one.path for one in record.files] == ["hyperparameters.json", "metrics.json", "weights.npy"]
        assert record.metadata["hyperparameters"] == {"noise": 0.02, "hours": 24}
        with pytest.raises(BadInput, match=r"'noise' is -1\.0, at least 0"):
            await hubs.recipe(hub, ACME, into.getvalue(), datasets=[data], parameters={"noise": -1})
        undeclared = await hubs.recipe(hub, ACME, bare.getvalue(), datasets=[data])
        job = await ended(service, undeclared.job, ACME)
        assert job.state == "done", await text(service, job.id, ACME)


async def test_the_restless_recipe_is_marked_never(tmp_path: Path) -> None:
    async with platform(tmp_path) as (hub, service):
        model = await trained(hub, service, "restless")
        assert model.reproducible == "unknown"
        job = await ended(service, (await service.reproduce(ACME, model.id)).id, ACME)
        assert job.message == "differs"
        judged = await hub.model(ACME, model.id)
        assert judged.reproducible == "never" and "'weights.npy'" in judged.reproducible_note
        again = await trained(hub, service, "restless")
        assert again.reproducible == "never"


async def test_a_held_log_of_a_failed_job_is_read_once_its_data_are_released(tmp_path: Path) -> None:
    """With the hub's own holds: from the start of the job on, for a job that fails too."""
    code = "import os; print(open(os.environ['HEADRACE_DATA']).read()); raise SystemExit(3)"
    async with platform(tmp_path) as (hub, service):
        data = (await hubs.dataset(hub, BOLT, b"secret")).id
        await hubs.grant(hub, BOLT, data, "acme", "train")
        made = await hubs.recipe(hub, ACME, packed("restless", main__py=code), entry_point="main.py", datasets=[data])
        job = await ended(service, made.job, ACME)
        assert job.state == "failed" and job.held_for == ["bolt"]
        with pytest.raises(Forbidden, match="bolt, who have not released"):
            await text(service, job.id, ACME)
        await hub.granting.release(BOLT, made.id)
        assert await text(service, job.id, ACME) == "secret\n" and (await service.job(ACME, job.id)).exit_code == 3


async def test_a_grant_revoked_in_the_hub_between_submit_and_start(tmp_path: Path) -> None:
    async with platform(tmp_path) as (hub, service):
        data = (await hubs.dataset(hub, BOLT, b"x")).id
        given = await hubs.grant(hub, BOLT, data, "acme", "derive")
        slow = packed("restless", main__py="import time; time.sleep(60)")
        first = await hubs.recipe(hub, ACME, slow, entry_point="main.py")
        second = await hubs.recipe(hub, ACME, packed("restless"), datasets=[data])
        await hub.granting.revoke(BOLT, given)
        await service.cancel(ACME, first.job)
        job = await ended(service, second.job, ACME)
        assert job.state == "failed" and "There is no dataset" in job.reason


async def test_an_evaluation_on_foreign_data_is_held_in_both_records_until_released(tmp_path: Path) -> None:
    code = """
import json, os, pathlib
out, held_out = pathlib.Path(os.environ["HEADRACE_OUTPUT"]), os.environ["HEADRACE_EVALUATION"]
(out / "w").write_text("w")
(out / "metrics.json").write_text(json.dumps({"said": open(held_out).read() if held_out else "nothing"}))
"""
    async with platform(tmp_path) as (hub, service):
        data = (await hubs.dataset(hub, BOLT, b"secret")).id
        await hubs.grant(hub, BOLT, data, "acme", "train")
        made = await hubs.recipe(hub, ACME, packed("restless", main__py=code), entry_point="main.py")
        assert (await ended(service, made.job, ACME)).metrics == {"said": "nothing"}
        job = await ended(service, (await service.evaluate(ACME, made.id, data)).id, ACME)
        assert (job.state, job.metrics, job.held_for) == ("done", {}, ["bolt"])
        assert "secret" not in (await hub.model(ACME, made.id)).model_dump_json()
        await hub.granting.release(BOLT, made.id)
        assert (await service.job(ACME, job.id)).metrics == {"said": "secret"}
        assert (await hub.model(ACME, made.id)).metrics[data] == {"said": "secret", "job": job.id}
