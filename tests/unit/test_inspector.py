"""The inspector believes an answer's form only, and says in a sentence what went wrong."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.assets import Dataset, Stored
from headrace.errors import BadInput, NoIsolation
from headrace.runners import Ended, Task
from headrace.services.sharing.sandboxed import SandboxInspector
from headrace.settings import InspectionSettings
from tests.inside import Unprotected


class Hostile(Unprotected):
    """What is inside has been taken over: it answers what it likes."""

    def __init__(self, answer: Any, ended: Ended | None = None) -> None:
        self.answer, self.ended = answer, ended or Ended("exit", 0, 0.1, None)
        self.task: Task | None = None

    async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
        self.task = task
        place = task.output / "answer.json"
        if callable(self.answer):
            self.answer(place)
        elif self.answer is not None:
            place.write_bytes(self.answer)
        return self.ended


async def test_a_dataset_and_a_model(tmp_path: Path) -> None:
    inspector = SandboxInspector(Unprotected(), tmp_path / "inspect")
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(4, 3))
    found = await inspector.inspect(tmp_path / "x.npy", "dataset")
    assert (found["media"], found["samples"], found["sample_shape"]) == ("npy", 4, [3])
    stored = Stored(size=1, sha256="sha256:0", root="sha256:0")
    about = {"id": "ds_1", "company": "a", "name": "n", "created_ms": 1, "created_by": "b", "filename": "f"}
    assert found.pop("error") == ""
    Dataset(**about, stored=stored, **found)  # it fits into the record
    (tmp_path / "lgb").write_text("tree\nversion=v4\nmax_feature_idx=6\n")
    assert (await inspector.inspect(tmp_path / "lgb", "model"))["framework"] == "lightgbm"
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        await inspector.inspect(tmp_path / "x.npy", "dataset", "parquet")
    assert list((tmp_path / "inspect").iterdir()) == [], "nothing is left behind"


GOOD = b'{"media":"csv","samples":1,"sample_shape":[2],"statistics":{}}'


@pytest.mark.parametrize(
    "answer",
    [
        None, b"", b"nonsense", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, GOOD.replace(b"1", b"NaN"), GOOD.replace(b"{}", b"[]"),
        GOOD.replace(b"1", b"-1"), GOOD.replace(b"1", b'"1"'), GOOD.replace(b"{}", b'{"mean":1e999}'),
        GOOD.replace(b"{}", b'{"\\ud800":1}'), GOOD.replace(b"{}", b'{"a":["\\udfff"]}'),
        GOOD.replace(b"csv", b"exe"), GOOD.replace(b"}}", b'},"company":"mine"}'), GOOD + b" " * 2_000_000,
        GOOD.replace(b"[2]", str(list(range(500))).encode()), b'{"error":7}', b'{"error":"' + b"x" * 5000 + b'"}',
        lambda place: place.symlink_to("/etc/hostname"), os.mkfifo, Path.mkdir,
    ],
)  # fmt: skip
async def test_an_answer_that_is_none(tmp_path: Path, answer: Any) -> None:
    (tmp_path / "f").write_bytes(b"1")
    with pytest.raises(BadInput, match="could not be looked into"):
        await SandboxInspector(Hostile(answer), tmp_path / "inspect").inspect(tmp_path / "f", "dataset")
    assert list((tmp_path / "inspect").iterdir()) == []


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended("memory", 137, 1.0, None, "it took more than 1,024 MiB of memory"), "more than 1,024 MiB"),
        (Ended("time", 137, 1.0, None, "it took more than 610 seconds"), "610 seconds"),
        (Ended("exit", 139, 1.0, None), "ended with 139"),
    ],
)
async def test_a_run_that_ends_badly(tmp_path: Path, ended: Ended, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        await SandboxInspector(Hostile(GOOD, ended), tmp_path).inspect(tmp_path, "dataset")


async def test_the_task_is_bounded_and_tells_no_name(tmp_path: Path) -> None:
    runner, settings = Hostile(GOOD), InspectionSettings()
    await SandboxInspector(runner, tmp_path / "i").inspect(tmp_path / "secret-name.csv", "dataset", "csv")
    assert runner.task is not None and set(runner.task.inputs) == {"/work/subject", "/work/request.json"}
    assert runner.task.limits.memory_bytes < 2 * settings.memory_bytes and runner.task.limits.output_files < 10
    assert "secret-name" not in " ".join(runner.task.command)


async def test_no_isolation_is_passed_on(tmp_path: Path) -> None:
    class Refusing(Unprotected):
        async def run(self, task: Task, cancel: asyncio.Event) -> Ended:
            raise NoIsolation(reason="no bubblewrap", fix="install it")

    with pytest.raises(NoIsolation):
        await SandboxInspector(Refusing(), tmp_path / "i").inspect(tmp_path, "model")
    assert list((tmp_path / "i").iterdir()) == []
