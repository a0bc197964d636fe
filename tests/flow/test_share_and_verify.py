"""The chapter's evaluation as the example runs it, on a whole platform with a chain, with few and small facades."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from headrace.assets import OutputFile
from headrace.claims import digest_of
from tests.running import Up, scrubbed

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "02-share-and-verify"
SMALL = ("--pictures", "12", "--epochs", "1", "--width", "4", "--size", "32")


def _module(name: str) -> ModuleType:
    """A file of the example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def facades() -> Iterator[ModuleType]:
    yield _module("facades")
    del sys.modules["facades"]


def run(folder: Path, *more: str) -> str:
    """What the example prints."""
    env = scrubbed() | {"HEADRACE_LEDGER": "embedded", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, EXAMPLE / "run.py", folder, *SMALL, *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("facades")
    return folder, run(folder, "--again")


@pytest.mark.xdist_group("share-and-verify")
def test_the_whole_evaluation(ran: tuple[Path, str]) -> None:
    folder, said = ran
    found = {name: one["found"] for name, one in json.loads((folder / "state.json").read_text()).items()}
    assert "::progress 1.000 epoch 1 of 1" in said and "level L1" in found["bundle, verified offline"]
    # the contract says what was downloaded
    files = {
        path.relative_to(folder / "model").as_posix(): path for path in (folder / "model").rglob("*") if path.is_file()
    }
    assert sorted(files) == ["generator.safetensors", "metrics.json", "samples.png"]
    with Up(folder / "data", HEADRACE_LEDGER="embedded") as up:
        id = found["register the model"]["id"]
        model = up.call("GET", f"/models/{id}").json()
        (said_there,) = up.call("GET", f"/contracts?asset={id}").json()["items"]
        (of_onnx,) = up.call("GET", f"/contracts?asset={found['translate to ONNX']['id']}").json()["items"]
    for one in model["files"]:
        assert one["stored"]["sha256"] == f"sha256:{hashlib.sha256(files[one['path']].read_bytes()).hexdigest()}"
    digest = digest_of(OutputFile.model_validate(one) for one in model["files"])
    assert said_there["result"]["digest"] == model["digest"] == digest
    assert said_there["result"]["metrics"]["l1"] == model["metrics"]["l1"]
    assert [one["id"] for one in said_there["claim"]["datasets"]] == model["datasets"]
    # trained again: the same bytes
    assert found["train again, the same bytes"] == model["reproducible"] == "reproduced"
    # the translation answers as the original does
    parity, apart = found["translate to ONNX"]["parity"], found["compare the pictures"]
    assert parity["real"] == 12 and parity["worst"] <= parity["tolerance"] < 0.01
    assert apart["worst"] <= parity["tolerance"] and apart["l1"] == pytest.approx(
        model["metrics"]["l1_of_255"], abs=1e-3
    )
    # and so it does at the inference doors
    served = found["deploy, and ask for a picture"]
    assert (served["model"], served["provider"]) == (found["translate to ONNX"]["id"], "cpu")
    assert served["worst"] <= parity["tolerance"]
    with Image.open(folder / "answer.png") as answer:
        assert answer.size == (32, 32)
    onnx = hashlib.sha256((folder / "generator.onnx").read_bytes()).hexdigest()
    assert of_onnx["claim"]["files"][0]["sha256"] == f"sha256:{onnx}" and of_onnx["address"] != said_there["address"]
    with Image.open(folder / "figure.png") as figure:
        assert figure.width > 5 * 192 and len(figure.convert("RGB").getcolors(1 << 24) or []) > 200
    assert said_there["address"] in (folder / "card.md").read_text()
    assert json.loads((folder / "bom.cdx.json").read_text())["metadata"]["component"]["bom-ref"] == id


@pytest.mark.xdist_group("share-and-verify")
def test_it_goes_on_where_it_stopped(ran: tuple[Path, str]) -> None:
    folder, first = ran
    state = folder / "state.json"
    done = json.loads(state.read_text())
    lost = ("verified download", "translate to ONNX", "model card and bill of materials", "train again, the same bytes")
    state.write_text(json.dumps({name: one for name, one in done.items() if name not in lost}))
    (folder / "generator.onnx").unlink()
    said = run(folder)
    assert "headrace model train" in first and "headrace model train" not in said
    again = json.loads(state.read_text())
    assert again["register the model"] == done["register the model"] and (folder / "generator.onnx").is_file()
    assert again["translate to ONNX"]["found"] == done["translate to ONNX"]["found"]  # asked again: the same one


def test_a_drawn_set_looks_like_cmps(tmp_path: Path, facades: Any) -> None:
    facades.draw(tmp_path / "set", 8)
    names = sorted(path.name for path in (tmp_path / "set" / "base").iterdir())
    assert names[:3] == ["cmp_b0001.jpg", "cmp_b0001.png", "cmp_b0002.jpg"] and len(names) == 16
    seen: set[int] = set()
    for path in sorted((tmp_path / "set" / "base").glob("*.png")):
        with Image.open(path) as label, Image.open(path.with_suffix(".jpg")) as picture:
            assert label.mode == "P" and label.size == picture.size == (128, 128) and picture.mode == "RGB"
            colours = label.getcolors()
            assert colours is not None and label.getpalette()[: 3 * 13] == [v for one in facades.PALETTE for v in one]  # type: ignore[index]
            seen |= {int(value) for _, value in colours}  # type: ignore[arg-type]
    assert seen == set(range(1, 13))
    facades.draw(tmp_path / "again", 8)
    for name in names:
        assert (tmp_path / "set" / "base" / name).read_bytes() == (tmp_path / "again" / "base" / name).read_bytes()


def test_cmps_archive_and_its_folder_give_the_same_datasets(tmp_path: Path, facades: Any) -> None:
    facades.draw(tmp_path / "set", 7, size=96)
    with zipfile.ZipFile(tmp_path / "CMP_facade_DB_base.zip", "w") as archive:
        for path in (tmp_path / "set" / "base").iterdir():
            archive.write(path, f"base/{path.name}")
        archive.writestr("base/cmp_b0001.xml", "<object/>")
        archive.writestr("readme.txt", "CMP")
    made = facades.pack(tmp_path / "set", tmp_path / "a", 64)
    same = facades.pack(tmp_path / "CMP_facade_DB_base.zip", tmp_path / "b", 64)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in same]
    with zipfile.ZipFile(made[0]) as train, zipfile.ZipFile(made[1]) as held_out:
        assert len(train.namelist()) == 12 and held_out.namelist() == ["input/cmp_b0006.png", "target/cmp_b0006.jpg"]
    (tmp_path / "set" / "base" / "cmp_b0003.jpg").unlink()
    with pytest.raises(SystemExit, match=r"has .*cmp_b0003.png, and no .*cmp_b0003.jpg"):
        facades.pack(tmp_path / "set", tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="this is not the CMP Facade Database"):
        facades.pack(tmp_path / "empty", tmp_path / "c")
