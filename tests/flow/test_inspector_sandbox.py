"""The inspector over the real sandbox: every kind of file is read inside, and a hostile one ends inside."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from headrace.assets import Environment
from headrace.errors import BadInput, NoIsolation
from headrace.runners import Runner
from headrace.services.sharing.sandboxed import SandboxInspector
from headrace.settings import MIB, InspectionSettings
from tests.unit.test_inside_hostile import npy_header, zip_bomb
from tests.unit.test_inside_statistics import archive, frame, picture


@pytest.fixture
def inspector(tmp_path: Path) -> SandboxInspector:
    local = pytest.importorskip("headrace.runners.local", reason="there is no local runner yet")
    runner: Runner = local.LocalRunner()
    try:
        runner.check(Environment())
    except NoIsolation as error:
        pytest.skip(str(error))
    return SandboxInspector(runner, tmp_path / "inspect", InspectionSettings(memory_bytes=512 * MIB, seconds=60))


async def test_datasets(inspector: SandboxInspector, tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "c", index=False)
    duckdb.sql(f"COPY (SELECT i FROM range(70) t(i)) TO '{tmp_path / 'p'}' (FORMAT parquet)")
    np.savez(tmp_path / "z.npz", x=np.ones((9, 3)))
    archive(tmp_path / "i", {f"{n}.png": picture(np.full((8, 8), n, np.uint8)) for n in range(3)})
    found = {name: await inspector.inspect(tmp_path / name, "dataset") for name in ("c", "p", "z.npz", "i")}
    assert {name: (one["media"], one["samples"]) for name, one in found.items()} == {
        "c": ("csv", 500), "p": ("parquet", 70), "z.npz": ("npz", 9), "i": ("images", 3),
    }  # fmt: skip


async def test_models(inspector: SandboxInspector, tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    (tmp_path / "m").mkdir()
    library.save_file({"w": np.zeros((5, 5), np.float32)}, tmp_path / "m" / "weights.safetensors")
    (tmp_path / "m" / "notes.txt").write_text("hello")
    assert (await inspector.inspect(tmp_path / "m" / "weights.safetensors", "model"))["parameters"] == 25
    folder = await inspector.inspect(tmp_path / "m", "model")
    assert folder["parameters"] == 25 and set(folder["metadata"]["files"]) == {"notes.txt", "weights.safetensors"}


async def test_a_bomb_ends_inside(inspector: SandboxInspector, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(zip_bomb("x.npy", npy_header(f"({100 * MIB},)"), 100 * MIB))
    with pytest.raises(BadInput, match="cut off"):
        await inspector.inspect(tmp_path / "b", "dataset")
    assert list((tmp_path / "inspect").iterdir()) == []
