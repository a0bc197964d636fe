"""The container of bundles: what other tools make of it, and what of theirs it takes (nothing)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import BadInput, Tampered
from headrace.services.verification import container
from headrace.services.verification.container import Container, Part, Writer, clash, proper

PARTS = {"bundle.json": b"{}", "artifact/a b.csv": b"x" * 3000, "artifact/ü/empty": b""}


def write(path: Path, parts: dict[str, bytes]) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        for name, data in parts.items():
            writer.add(name, len(data), [data[:100], data[100:]])
        writer.finish()
    return path


def test_other_tools_read_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", PARTS)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {one.filename: archive.read(one) for one in archive.infolist()} == PARTS
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-q", path, "-d", tmp_path / "out"], check=True)
        assert (tmp_path / "out/artifact/a b.csv").read_bytes() == PARTS["artifact/a b.csv"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text("abcÜ/ ._-", min_size=1, max_size=12), st.binary(max_size=60), max_size=5))
def test_it_reads_what_it_writes_and_what_it_writes_follows_from_its_parts(
    tmp_path_factory: pytest.TempPathFactory, parts: dict[str, bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.zip"
    fine = all(map(proper, parts)) and not clash(list(parts))
    if not fine:
        with pytest.raises(BadInput):
            write(path, parts)
        return
    first = write(path, parts).read_bytes()
    with Container(path) as opened:
        assert {part.path: b"".join(opened.pieces(part)) for part in opened.parts} == parts
    assert write(path, parts).read_bytes() == first


def test_files_and_offsets_over_four_gigabytes(tmp_path: Path) -> None:
    """A hole in the place of the large file: nothing reads it here, and its checksum is that of zeros."""
    path, size = tmp_path / "large.zip", 5 * 2**30
    large = Part("artifact/large", size, 0, 0)
    small = Part("artifact/small", 3, zlib.crc32(b"abc"), large.start + size)
    with path.open("wb") as file:
        file.write(container._local(b"artifact/large", size, 0))
        file.seek(small.offset)
        file.write(container._local(b"artifact/small", 3, small.crc) + b"abc")
        file.write(container._directory([large, small], file.tell()))
    with Container(path) as opened:
        assert opened.parts == [large, small]
        assert b"".join(opened.pieces(small)) == b"abc"
    with zipfile.ZipFile(path) as archive:
        assert [(one.filename, one.file_size) for one in archive.infolist()] == [(large.path, size), (small.path, 3)]
        assert archive.read("artifact/small") == b"abc"


def test_checking_many_deep_paths_takes_little() -> None:
    """Not a set of all their folders: 20,000 paths of 500 levels would be gigabytes."""
    paths = ["/".join(["a"] * 500) + f"/{index}" for index in range(2000)]
    tracemalloc.start()
    assert clash(paths) == ""
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()
    assert clash(["a/b", "a-b", "a"]) == "a" and clash(["a", "b", "a"]) == "a" and not clash(["ab/c", "a", "a-b/c"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/Model.bin", "a/model.bin"),
        ("caf\u00e9", "cafe\u0301"),
        ("A", "a/b"),
        ("\u212bng", "\u00e5NG"),
        ("STRASSE", "straße"),
    ],
)
def test_names_that_are_one_where_case_and_form_do_not_count(tmp_path: Path, one: str, other: str) -> None:
    """There one of the two would be lost when it is unpacked, and nobody would know which was checked."""
    path, parts = tmp_path / "a.zip", {one: b"good", other: b"bad"}
    assert clash(list(parts)) in parts
    with pytest.raises(BadInput, match="disks that do not know case"):
        write(path, parts)
    with path.open("wb") as file:  # as somebody else would
        writer = Writer(file)
        for name, data in parts.items():
            writer.add(name, len(data), [data])
        file.write(container._directory(writer._parts, file.tell()))
    with pytest.raises(Tampered, match="two parts of the bundle would be at"):
        Container(path)


def test_too_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"artifact/{index}": b"" for index in range(12)}
    path = write(tmp_path / "many.zip", many)
    monkeypatch.setattr(container, "PARTS", 10)
    with pytest.raises(Tampered, match="more than 10 parts"):
        Container(path)
    with pytest.raises(BadInput, match="at most 10 parts"):
        write(tmp_path / "again.zip", many)


def test_a_file_that_is_not_as_long_as_said() -> None:
    with pytest.raises(Tampered, match="has 3 bytes, its record says 4"):
        Writer(io.BytesIO()).add("a", 4, [b"abc"])


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", PARTS)
    with Container(path) as opened:
        path.write_bytes(b"")
        with pytest.raises(Tampered, match="cut off"):
            list(opened.pieces(opened.parts[0]))
