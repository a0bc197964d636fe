"""Code archives: what is taken is the same every time, what means harm is refused by name."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import BadArchive
from headrace.runners.archive import Bounds, check_name, unpack

FILES = {"train.py": b"print('hi')\n", "lib/model.py": b"x = 1\n", "lib/größe.txt": b""}


def zipped(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def taped(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def refused(archive: Path, into: Path, *words: str, bounds: Bounds | None = None) -> None:
    into.mkdir(exist_ok=True)
    before = set(into.parent.iterdir())
    with pytest.raises(BadArchive) as caught:
        unpack(archive, into, bounds or Bounds())
    for word in words:
        assert word in str(caught.value)
    assert set(into.parent.iterdir()) == before, "something was written outside"


@pytest.mark.parametrize("kind", ["zip", "stored", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_every_kind_gives_the_same(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / f"code.{kind}"
    if kind in ("zip", "stored"):
        how = zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_STORED
        zipped(archive, [("lib/", b""), *FILES.items()], how)
    else:
        mode = "w:" + kind.removeprefix("tar").removeprefix(".")
        entries = [(info(f"./{name}", mode=0o4777, uid=7, mtime=9), data) for name, data in FILES.items()]
        taped(archive, [(info(".", tarfile.DIRTYPE), b""), (info("lib", tarfile.DIRTYPE), b""), *entries], mode)
    into = tmp_path / "code"
    into.mkdir()
    assert unpack(archive, into) == sorted(FILES)
    assert {name: (into / name).read_bytes() for name in FILES} == FILES
    assert {stat.S_IMODE((into / name).stat().st_mode) for name in FILES} == {0o644}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../outside.py", "outside"),
        ("a/../../outside.py", "outside"),
        ("/etc/cron.d/x", "absolute"),
        ("C:/x", "absolute"),
        ("..\\outside", "backslash"),
        ("a\nb.py", "control"),
        ("d/" * 40 + "x", "deep"),
        ("x" * 300, "long"),
    ],
)
def test_path_traversal(name: str, word: str, tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a.zip", [("good.py", b""), (name, b"x")]), tmp_path / "into", word)
    refused(taped(tmp_path / "a.tgz", [(info("good.py"), b""), (info(name), b"x")]), tmp_path / "into", word)


def test_a_name_with_nul(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("train.pyX.txt")
    data = zipped(tmp_path / "a.zip", [(entry, b"x")]).read_bytes().replace(b"train.pyX", b"train.py\0")
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", tmp_path / "into", "NUL")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_of_a_tar(kind: bytes, tmp_path: Path) -> None:
    link = info("link", kind, linkname="/etc/passwd")
    refused(taped(tmp_path / "a.tar", [(link, b""), (info("link/x"), b"x")], "w"), tmp_path / "into", "'link'")


def test_links_of_a_zip(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(zipped(tmp_path / "a.zip", [(entry, b"/etc/passwd")]), tmp_path / "into", "'link'")


def test_zip_bomb(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", [(f"{n}.py", bytes(2**24)) for n in range(3)])
    assert bomb.stat().st_size < 10**5
    refused(bomb, tmp_path / "into", "grows")
    refused(taped(tmp_path / "a.tgz", [(info("x"), bytes(2**25))]), tmp_path / "into", "grows")
    big = zipped(tmp_path / "b.zip", [("x", bytes(1000)), ("y", bytes(1000))], zipfile.ZIP_STORED)
    refused(big, tmp_path / "into", "2 KiB", bounds=Bounds(total=1500))


def test_a_size_that_is_a_lie(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("x", bytes(3 * 10**5))])
    true, lie = (3 * 10**5).to_bytes(4, "little"), (10).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(true, lie))
    refused(path, tmp_path / "into")


def test_too_many_entries(tmp_path: Path) -> None:
    refused(
        zipped(tmp_path / "a.zip", [(f"{n}", b"") for n in range(11)]),
        tmp_path / "into",
        "10 entries",
        bounds=Bounds(10),
    )
    folders = [(info(f"{n}", tarfile.DIRTYPE), b"") for n in range(11)]
    refused(taped(tmp_path / "a.tar", folders, "w"), tmp_path / "into", "10 entries", bounds=Bounds(10))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a.py", "a.py"), ("a.py", "A.py"), ("ä", "a\u0308"), ("a", "a/b"), ("lib/./a", "lib/a"), ("A/x", "a")]
)
def test_names_that_collide(names: tuple[str, str], tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a.zip", [(name, b"x") for name in names]), tmp_path / "into")
    refused(taped(tmp_path / "a.tar", [(info(name), b"x") for name in names], "w"), tmp_path / "into")


def test_encrypted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [("x", b"secret")], zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, tmp_path / "into", "encrypted")


@pytest.mark.parametrize("kind", ["zip", "tgz", "txz"])
@pytest.mark.parametrize("left", [0.3, 0.6, 0.95])
def test_cut_off(kind: str, left: float, tmp_path: Path) -> None:
    import random

    data = random.Random(1).randbytes(20_000)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        zipped(path, [("x", data)])
    else:
        taped(path, [(info("x"), data)], "w:gz" if kind == "tgz" else "w:xz")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    refused(path, tmp_path / "into")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x05\x06" + bytes(10), bytes(100), b"\x1f\x8b\x08"])
def test_no_archive(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    refused(tmp_path / "a", tmp_path / "into")


@given(st.text(max_size=40))
def test_no_name_leads_outside(name: str) -> None:
    try:
        path = check_name(name)
    except BadArchive:
        return
    home = Path("/home/here")
    assert path and (home / path).resolve().is_relative_to(home) and check_name(path) == path
