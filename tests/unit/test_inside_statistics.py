"""Statistics of datasets are those of numpy and pandas, whatever dialect a file is in."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from headrace.errors import BadInput
from headrace.inside.figures import QUANTILES, describe
from headrace.inside.ranks import to_keys, to_value
from headrace.inside.statistics import inspect
from headrace.inside.work import encoded
from headrace.settings import InspectionSettings
from tests.inside import program

LIMITS = InspectionSettings()
ODD = st.one_of(
    st.floats(-1e6, 1e6),
    st.just(np.nan),
    st.just(np.inf),
    st.integers(-3, 3).map(float),
    st.just(-0.0),
    st.just(5e-324),
)


def look(path: Path, media: str = "", **limits: Any) -> dict[str, Any]:
    found = inspect(path, media, InspectionSettings(**limits))
    again = json.loads(encoded(found))
    assert encoded(inspect(path, media, InspectionSettings(**limits))) == encoded(found), "the same bytes every time"
    return again


def columns(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["statistics"]["columns"]}


def as_numpy(figures: dict[str, Any], values: np.ndarray) -> None:
    """The figures are those numpy gives."""
    finite = values[np.isfinite(values)].astype(np.float64)
    assert figures["count"] == len(finite)
    assert figures["missing"] == np.isnan(values).sum() and figures["infinite"] == np.isinf(values).sum()
    if not len(finite):
        assert figures["mean"] is None and set(figures["quantiles"].values()) == {None}
        return
    assert (figures["min"], figures["max"]) == (finite.min(), finite.max())
    scale = max(float(np.abs(finite).max()), 1e-300)
    assert figures["mean"] == pytest.approx(finite.mean(), rel=1e-10, abs=1e-11 * scale)
    if len(finite) > 1:
        assert figures["std"] == pytest.approx(finite.std(ddof=1), rel=1e-9, abs=1e-11 * scale)
    assert list(figures["quantiles"].values()) == np.quantile(finite, QUANTILES).tolist()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=ODD), st.integers(1, 7))
def test_figures_are_those_of_numpy_and_pandas(data: np.ndarray, cut: int) -> None:
    figures, matrices, rows = describe(
        lambda: iter([data[at : at + cut] for at in range(0, len(data), cut)]), data.shape[1], 64
    )
    assert rows == len(data)
    for column, found in enumerate(figures):
        as_numpy(found, data[:, column])
    if matrices is None:
        assert data.shape[1] == 1
        return
    frame = pd.DataFrame(np.where(np.isfinite(data), data, np.nan))
    scale = np.nanmax(np.abs(frame.to_numpy()), initial=1.0)
    for mine, theirs in zip(matrices["covariance"], frame.cov().to_numpy(), strict=True):
        for cell, other in zip(mine, theirs, strict=True):
            assert (cell is None) == np.isnan(other)
            assert cell is None or cell == pytest.approx(other, rel=1e-8, abs=1e-10 * scale**2)
    flat = np.array([[np.nan if cell is None else cell for cell in row] for row in matrices["correlation"]])
    assert ((flat >= -1) & (flat <= 1) | np.isnan(flat)).all()


def test_correlation_is_that_of_pandas() -> None:
    random = np.random.default_rng(1)
    data = random.normal(1e7, 1, (5000, 5)) + random.normal(0, 1, (5000, 1))
    data[random.random(data.shape) < 0.2] = np.nan
    _, matrices, _ = describe(lambda: iter(np.array_split(data, 7)), 5, 4)
    assert matrices is not None
    frame = pd.DataFrame(data[:, :4])
    np.testing.assert_allclose(matrices["correlation"], frame.corr(), rtol=1e-7)
    np.testing.assert_allclose(matrices["covariance"], frame.cov(), rtol=1e-7)


@pytest.mark.parametrize("kind", ["wide", "whole", "alike", "signs", "few"])
def test_quantiles_of_many_values_take_several_passes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.inside.ranks.FEW", 50)  # collect late: the counting has to be right by itself
    random = np.random.default_rng(2)
    data = {
        "wide": random.normal(size=20_001) * 10.0 ** random.integers(-100, 100, 20_001),
        "whole": random.integers(-(2**50), 2**50, 20_000).astype(np.float64),
        "alike": 1e9 + random.integers(0, 3, 20_000) * 1e-7,
        "signs": random.choice([-1.0, -0.0, 0.0, 1.0], 20_000),
        "few": np.repeat(0.1, 20_000),
    }[kind]
    figures, _, _ = describe(lambda: iter(np.array_split(data[:, None], 9)), 1, 64)
    as_numpy(figures[0], data)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_keys_are_in_the_order_of_their_numbers(one: float, other: float) -> None:
    first, second = (int(key) for key in to_keys(np.array([one, other])))
    assert (first < second) == (one < other) and to_value(first) == one


def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    data = pd.DataFrame({
        "time": pd.date_range("2024-03-01", periods=500, freq="10min"),
        "power": random.normal(3000, 700, 500).round(3),
        "count": random.integers(0, 90, 500),
        "place": random.choice(["Málaga", "Sevilla", "Cádiz"], 500),
    })  # fmt: skip
    data.loc[20:40, "power"] = np.nan
    return data


@pytest.mark.parametrize(
    ("options", "packed"),
    [
        ({}, False),
        ({"sep": ";", "decimal": ","}, False),
        ({"sep": "\t", "encoding": "latin-1"}, False),
        ({"sep": ";", "encoding": "utf-16"}, False),
        ({"encoding": "utf-8-sig", "lineterminator": "\r\n"}, False),
        ({"sep": "|", "quoting": 1}, False),
        ({}, True),
    ],
)
def test_csv_in_any_dialect(tmp_path: Path, options: dict[str, Any], packed: bool) -> None:
    data, path = frame(), tmp_path / "content"
    data.to_csv(path, index=False, **options)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    found = look(path)
    assert (found["media"], found["samples"], found["sample_shape"]) == ("csv", 500, [4])
    by = columns(found)
    assert [by[name]["type"] for name in data] == ["TIMESTAMP", "DOUBLE", "BIGINT", "VARCHAR"]
    as_numpy(by["power"], data["power"].to_numpy())
    as_numpy(by["count"], data["count"].to_numpy())
    assert (by["time"]["first"], by["time"]["last"]) == ("2024-03-01 00:00:00", "2024-03-04 11:10:00")
    assert by["place"]["distinct"] == 3 and by["place"]["distinct_exact"] and by["place"]["longest"] == 7
    assert found["statistics"]["matrix"]["columns"] == ["power", "count"]
    np.testing.assert_allclose(found["statistics"]["matrix"]["correlation"], data[["power", "count"]].corr(), rtol=1e-9)


def test_csv_without_header(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "c", np.arange(60).reshape(20, 3), delimiter=",", fmt="%d")
    found = look(tmp_path / "c")
    assert (found["samples"], found["sample_shape"]) == (20, [3])
    as_numpy(found["statistics"]["columns"][1], np.arange(60).reshape(20, 3)[:, 1])


def test_a_ragged_csv_is_warned_of(tmp_path: Path) -> None:
    lines = ["a,b,c"] + [",".join("xyzuvw"[: 1 + n % 6]) for n in range(60)]
    (tmp_path / "f.csv").write_text("\n".join(lines) + "\n")
    found = inspect(tmp_path / "f.csv", "csv", LIMITS)
    assert "one column of text" in found["statistics"]["warning"]
    (tmp_path / "f.csv").write_text("text\n" + "no table at all\n" * 60)
    assert "warning" not in inspect(tmp_path / "f.csv", "csv", LIMITS)["statistics"]


HOURS = [f"2024-01-{1 + hour // 24:02d}T{hour % 24:02d}:00Z,{hour},2.5,3.5" for hour in range(50)]
UNEQUAL = {
    "a footer": (["time,a,b,c", *HOURS, "total,50"], "line 52 has 2 fields, 4 expected"),
    "ragged": (["a,b,c", "1,2,3", "4,5", "6,7,8", "9,10,11,12"], "line 3 has 2 fields, 3 expected"),
    "a late one": (["a,b,c", *["1,2,3"] * 50_000, "7", "1,2,3"], "line 50,002 has 1 field, 3 expected"),
    "after lines in quotes": (["a,b", '"x', 'y",2', '"z', 't",3', "1,2", "4,5,6"], "line 7 has 3 fields, 2 expected"),
}


@pytest.mark.parametrize("name", UNEQUAL)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_that_do_not_fit_are_told_with_their_number(tmp_path: Path, name: str, packed: bool) -> None:
    lines, reason = UNEQUAL[name]
    text = ("\n".join(lines) + "\n").encode()
    (tmp_path / "c").write_bytes(gzip.compress(text) if packed else text)
    found = look(tmp_path / "c")
    assert (found["media"], found["samples"], found["statistics"]) == ("csv", None, {})
    assert found["error"].startswith(reason + ": make all lines alike")


def test_lines_before_a_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("# made by a logger\n# station 4\na,b\n1,2\n3,4\n5,6\n")
    found = look(tmp_path / "c")
    assert (found["samples"], list(columns(found))) == (3, ["a", "b"])
    assert found["statistics"]["note"] == "left out: the first 2 lines are no part of the table"


@pytest.mark.parametrize("head", ['"","a","b"', '"a","b"'])
def test_row_names_as_r_writes_them(tmp_path: Path, head: str) -> None:
    """write.csv leaves the name over the row names empty, write.table leaves it out."""
    (tmp_path / "c").write_text(head + '\n"1",1.5,2\n"2",2.5,3\n"3",1,1\n')
    found = look(tmp_path / "c")
    assert (found["samples"], list(columns(found))) == (3, ["column0", "a", "b"])
    assert columns(found)["a"]["mean"] == pytest.approx(5 / 3)


def test_a_separator_at_the_end_of_each_row_makes_no_column(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a,b\n1,2,\n3,4,\n")
    found = look(tmp_path / "c")
    assert (found["samples"], list(columns(found)), "note" in found["statistics"]) == (2, ["a", "b"], False)


def test_thousands_are_not_taken_for_decimals(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('n,price\n1,"1,500"\n2,"2,250"\n3,"9,125"\n')
    assert columns(look(tmp_path / "c"))["price"]["type"] == "VARCHAR"


def test_a_column_that_becomes_text_late(tmp_path: Path) -> None:
    rows = [f"{row},{row}" for row in range(40_000)] + ["40000,broken"]
    (tmp_path / "c").write_text("a,b\n" + "\n".join(rows) + "\n")
    by = columns(look(tmp_path / "c"))
    assert by["a"]["count"] == 40_001 and by["b"]["type"] == "VARCHAR" and by["b"]["distinct_exact"] is False


def test_bytes_that_are_no_utf_8_late(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"a,b\n" + b"1,x\n" * 50_000 + "2,Málaga\n".encode("latin-1"))
    found = look(tmp_path / "c")
    assert found["samples"] == 50_001 and columns(found)["b"]["longest"] == 6


def test_more_columns_than_are_looked_at(tmp_path: Path) -> None:
    data = pd.DataFrame(np.random.default_rng(4).normal(size=(30, 20)))
    data.to_csv(tmp_path / "c", index=False)
    found = look(tmp_path / "c", columns=10, matrix=3)
    assert found["sample_shape"] == [20] and len(found["statistics"]["columns"]) == 10
    assert found["statistics"]["note"] == "the first 10 of 20 columns"
    assert np.shape(found["statistics"]["matrix"]["covariance"]) == (3, 3)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "content"
    made = (
        "SELECT i, i / 7 AS x, i % 2 = 0 AS even, (i * 1.25)::DECIMAL(9, 2) AS money, NULL::INT AS none, [i] AS list, "
    )
    made += "'2024-01-01'::DATE + i::INT AS day FROM range(1000) t(i)"
    duckdb.sql(f"COPY ({made}) TO '{path}' (FORMAT parquet)")
    found = look(path)
    by = columns(found)
    assert (found["media"], found["samples"], found["sample_shape"]) == ("parquet", 1000, [7])
    as_numpy(by["x"], np.arange(1000) / 7)
    as_numpy(by["even"], (np.arange(1000) % 2 == 0).astype(np.float64))
    as_numpy(by["money"], np.arange(1000) * 1.25)
    as_numpy(by["none"], np.full(1000, np.nan))
    assert by["list"] == {"name": "list", "type": "BIGINT[]", "count": 1000, "missing": 0}
    assert by["day"]["last"] == "2026-09-26"


@pytest.mark.parametrize(
    ("array", "features"),
    [
        (np.random.default_rng(5).normal(size=(50, 4, 3)).astype(np.float32), 3),
        (np.asfortranarray(np.random.default_rng(5).normal(size=(50, 3))), 3),
        (np.random.default_rng(6).integers(0, 255, (20, 28, 600)).astype(np.uint8), 1),
        (np.linspace(0, 1, 99, dtype=np.float16), 1),
        (np.array([[True, False], [True, True]]), 2),
        (np.array(2.5), 1),
        (np.zeros((0, 3)), 3),
    ],
)
def test_npy(tmp_path: Path, array: np.ndarray, features: int) -> None:
    np.save(tmp_path / "x.npy", array)
    found = look(tmp_path / "x.npy")
    assert found["samples"] == (len(array) if array.ndim else 1) and found["sample_shape"] == list(array.shape[1:])
    about = found["statistics"]
    every = about["features"] if features > 1 else [about["values"]]
    flat = array.astype(np.float64).reshape(-1, features)
    assert len(every) == features
    for place, one in enumerate(every):
        as_numpy(one, flat[:, place])
    if features > 1 and len(flat) > 2:
        np.testing.assert_allclose(np.array(about["matrix"]["covariance"]), np.cov(flat.T), rtol=1e-8, atol=1e-12)


def test_npz(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    arrays = {"x": random.normal(size=(40, 24, 3)), "y": random.normal(size=40), "label": np.repeat("a", 40)}
    np.savez_compressed(tmp_path / "f", **arrays)
    found = look(tmp_path / "f.npz")
    assert (found["media"], found["samples"], found["sample_shape"]) == ("npz", 40, [24, 3])
    as_numpy(found["statistics"]["arrays"]["y"]["values"], arrays["y"])
    as_numpy(found["statistics"]["arrays"]["x"]["features"][2], arrays["x"].reshape(-1, 3)[:, 2])
    assert "no figures" in found["statistics"]["arrays"]["label"]["note"]


def picture(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def archive(path: Path, files: dict[str, bytes], form: str = "zip") -> Path:
    if form == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in files.items():
                packed.writestr(name, data)
        return path
    with tarfile.open(path, f"w:{form}") as packed_too:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed_too.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("form", ["zip", "", "gz"])
def test_images_in_classes(tmp_path: Path, form: str) -> None:
    random = np.random.default_rng(8)
    pixels = {
        f"set/{kind}/{n}.png": random.integers(0, 256, (32, 48, 3), np.uint8)
        for kind in ("cat", "dog")
        for n in range(3)
    }
    pixels["set/cat/9.png"] = random.integers(0, 256, (32, 48, 3), np.uint8)
    files = {name: picture(one) for name, one in pixels.items()}
    found = look(archive(tmp_path / "a", files | {"set/README": b"read me"}, form))
    about = found["statistics"]
    assert (found["media"], found["samples"], found["sample_shape"]) == ("images", 7, [32, 48, 3])
    assert about["classes"] == {"cat": 4, "dog": 3} and about["other_files"] == 1
    every = np.concatenate([one.reshape(-1, 3) for one in pixels.values()]).astype(np.float64)
    for place, channel in enumerate(about["modes"]["RGB"]["channels"]):
        assert channel["mean"] == pytest.approx(every[:, place].mean()) and channel["name"] == "RGB"[place]
        assert channel["std"] == pytest.approx(every[:, place].std(ddof=1))
    assert np.shape(about["modes"]["RGB"]["mean_image"]) == (16, 16, 3)
    assert np.mean(about["modes"]["RGB"]["mean_image"]) == pytest.approx(every.mean(), abs=0.5)  # of whole numbers


def test_images_in_pairs_of_several_kinds(tmp_path: Path) -> None:
    random = np.random.default_rng(9)
    files = {f"images/{n}.jpg": picture(random.integers(0, 256, (8, 8, 3), np.uint8), "JPEG") for n in range(4)}
    files |= {f"masks/{n}.png": picture(random.integers(0, 60000, (8, 8)).astype(np.uint16)) for n in range(4)}
    found = look(archive(tmp_path / "a", files))
    assert found["samples"] == 4 and found["statistics"]["pairs"] == ["images", "masks"]
    assert found["sample_shape"] is None and set(found["statistics"]["modes"]) == {"I", "RGB"}


def same_names(*folders: str) -> dict[str, bytes]:
    """Three pictures of the same names in each folder."""
    return {f"{folder}/{n}.png": picture(np.full((4, 4), n, np.uint8)) for folder in folders for n in range(3)}


@pytest.mark.parametrize("folders", [("input", "target"), ("Image", "mask"), ("A", "B"), ("base", "target")])
def test_two_folders_called_like_it_are_pairs(tmp_path: Path, folders: tuple[str, str]) -> None:
    found = look(archive(tmp_path / "a", same_names(*(f"set/{name}" for name in folders))))
    assert found["samples"] == 3 and found["statistics"]["pairs"] == list(folders)
    deep = look(archive(tmp_path / "b", same_names(*(f"{name}/{part}" for name in folders for part in ("one", "two")))))
    assert deep["samples"] == 6 and deep["statistics"]["pairs"] == list(folders)


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("cat", "dog"), {"cat": 3, "dog": 3}),
        (("cat", "dog", "fox"), {"cat": 3, "dog": 3, "fox": 3}),
        (("train/cat", "train/dog", "test/cat", "test/dog"), {"cat": 6, "dog": 6}),
        (("input", "target", "other"), {"input": 3, "target": 3, "other": 3}),
        (("train", "test"), {"train": 3, "test": 3}),
    ],
)
def test_equal_names_alone_make_no_pairs(tmp_path: Path, folders: tuple[str, ...], classes: dict[str, int]) -> None:
    found = look(archive(tmp_path / "a", same_names(*folders)))
    assert found["samples"] == 3 * len(folders)
    assert found["statistics"]["classes"] == classes and "pairs" not in found["statistics"]


def test_images_beside_folders_are_no_pairs(tmp_path: Path) -> None:
    found = look(archive(tmp_path / "a", same_names("a", "b") | {"0.png": picture(np.zeros((4, 4), np.uint8))}))
    assert found["samples"] == 7 and "pairs" not in found["statistics"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0\1\2" * 1000, b"Dear all,\n\nthis is a letter, and no table.\n", b'{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n',
        b"<html><body>1,2,3</body></html>", b"\x89PNG\r\n\x1a\n", b"%PDF-1.7\n1,2\n", b"\x1f\x8b broken",
    ],
)  # fmt: skip
def test_anything_else_is_other(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    found = look(tmp_path / "table.csv")
    assert found == {"media": "other", "samples": None, "sample_shape": None, "statistics": {"bytes": len(content)}}


def test_names_say_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "a.npy").rename(tmp_path / "picture.png")
    assert look(tmp_path / "picture.png")["media"] == "npy"
    with pytest.raises(BadInput, match="cannot be read as parquet"):
        inspect(tmp_path / "picture.png", "parquet", LIMITS)


def test_the_program_writes_the_same_bytes(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "c.csv", index=False)
    answers = []
    for _ in range(2):
        found = program("statistics", tmp_path / "c.csv", tmp_path)
        answers.append((tmp_path / "answer.json").read_bytes())
    assert answers[0] == answers[1] and found["samples"] == 500


def test_an_answer_is_text_throughout() -> None:
    assert encoded({"\ud800": {"\udfff": ["a\ud800"]}}) == b'{"?":{"?":["a?"]}}'
