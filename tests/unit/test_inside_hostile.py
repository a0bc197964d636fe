"""Files made to hurt: each gets a reason in plain words, within the bounds of time and memory, and no process dies of it."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from headrace.settings import MIB
from tests.inside import program
from tests.unit.test_inside_statistics import archive, picture

MEMORY = 512 * MIB


def npy_header(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    padded = text + " " * (64 - (len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode()


def npy_pickle() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def zip_bomb(name: str, head: bytes, size: int) -> bytes:
    """A zip whose one member says to be small and unpacks to `size` zeros after `head`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed, packed.open(name, "w", force_zip64=True) as file:
        file.write(head)
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says to be of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    )


def parquet(tmp_path: Path, change: Callable[[bytes], bytes]) -> bytes:
    duckdb.sql(f"COPY (SELECT i, i * 0.5 AS x FROM range(5000) t(i)) TO '{tmp_path / 'p'}' (FORMAT parquet)")
    return change((tmp_path / "p").read_bytes())


def lying(data: bytes) -> bytes:
    """The footer says 2**62 rows instead of 5,000 (thrift's zigzag varints)."""

    def varint(value: int) -> bytes:
        value, out = value << 1, bytearray()
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        return bytes(out + bytes([value]))

    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8].replace(varint(5000), varint(2**62))
    return data[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def small_archive(tmp_path: Path, data: dict[str, bytes]) -> bytes:
    return archive(tmp_path / "z", data).read_bytes()


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "npy of 1e18 values": (lambda _: npy_header("(10**18,)".replace("10**18", str(10**18))) + bytes(80), "cut off"),
    "npy of a negative shape": (lambda _: npy_header("(-4, 2)") + bytes(80), "negative"),
    "npy of a shape that is code": (lambda _: npy_header("(__import__('os').getpid(),)"), "header cannot be read"),
    "npy of objects": (lambda _: npy_pickle(), "unpickling"),
    "npy cut off": (lambda _: npy_header("(100,)") + bytes(799), "cut off"),
    "npy with a long header": (
        lambda _: b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{" * 50_000,
        "header of 2,147,483,648 bytes",
    ),
    "npz with a member that lies": (
        lambda tmp: small_archive(tmp, {"x.npy": npy_header("(10000000000,)") + bytes(64)}),
        "cut off",
    ),
    "npz cut off": (lambda tmp: small_archive(tmp, {"x.npy": npy_header("(8,)") + bytes(64)})[:90], "damaged or cut off"),
    "csv of a million columns": (lambda _: ",".join(map(str, range(1_000_000))).encode()[: 2 * MIB - 9] + b"\n1\n", "columns"),
    "csv of one endless line": (lambda _: b"1," * (3 * MIB), "first line is longer"),
    "csv with an endless second line": (lambda _: b"a,b\n1,2\n" + b"1," * (3 * MIB), "cannot be read as csv|MiB of memory"),
    "parquet cut off": (lambda tmp: parquet(tmp, lambda data: data[:-200]), "cannot be read as parquet"),
    "parquet with a footer that lies": (lambda tmp: parquet(tmp, lying), "cannot be read as parquet"),
    "parquet of noise": (lambda _: b"PAR1" + bytes(range(256)) * 40 + b"PAR1", "cannot be read as parquet"),
    "image of 1e5 x 1e5": (lambda tmp: small_archive(tmp, {"a.png": huge_png(100_000, 100_000)}), "100,000 x 100,000 pixels"),
    "image that ends early": (
        lambda tmp: small_archive(tmp, {"a.png": picture(np.arange(7500, dtype=np.uint8).reshape(50, 50, 3))[:90]}),
        "none of its files is an image",
    ),
    "image of 1 GB of zeros": (lambda _: zip_bomb("a.png", b"\x89PNG\r\n\x1a\n", 1024 * MIB), "bytes are the most|are the most"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_dataset_gets_a_reason(name: str, tmp_path: Path) -> None:
    make, reason = HOSTILE[name]
    (tmp_path / "content").write_bytes(make(tmp_path))
    media = next((one for one in ("csv", "parquet") if name.startswith(one)), "")
    started = time.monotonic()
    found = program("statistics", tmp_path / "content", tmp_path, media, memory_bytes=MEMORY, seconds=20)
    assert set(found) == {"error"}
    assert any(part in found["error"] for part in reason.split("|")), found
    assert str(tmp_path) not in found["error"], "no path of the platform in it"
    assert time.monotonic() - started < 20


def test_a_zip_bomb_of_an_array_ends_in_time(tmp_path: Path) -> None:
    size = 400 * MIB
    (tmp_path / "content").write_bytes(zip_bomb("x.npy", npy_header(f"({size // 8},)"), size))
    assert (tmp_path / "content").stat().st_size < MIB
    found = program("statistics", tmp_path / "content", tmp_path, memory_bytes=MEMORY, seconds=0.5)
    assert found == {"error": "looking into it took more than 0.5 seconds"}


def test_a_gzip_bomb_of_a_table_ends_in_time(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "content", "wb", compresslevel=1) as file:
        file.write(b"a,b\n")
        for _ in range(400):
            file.write(b"hello,world\n" * 90_000)
    assert (tmp_path / "content").stat().st_size < 4 * MIB
    found = program("statistics", tmp_path / "content", tmp_path, memory_bytes=MEMORY, seconds=1)
    assert found == {"error": "looking into it took more than 1 seconds"}


def test_memory_is_bounded_from_within(tmp_path: Path) -> None:
    rows = "\n".join(f"{row},{'x' * 1000}{row}" for row in range(30_000))
    (tmp_path / "content").write_text("a,b\n" + rows + "\n")
    found = program("statistics", tmp_path / "content", tmp_path, memory_bytes=40 * MIB)
    assert "40 MiB of memory" in found["error"] or "cannot be read" in found["error"]


def test_an_answer_is_never_too_large(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 500)))
    found = program("statistics", tmp_path / "x.npy", tmp_path, answer_bytes=10_000)
    assert "10,000 are the most" in found["error"]


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.place, "owned"))


def torch_zip(tmp_path: Path, data: bytes) -> bytes:
    return small_archive(tmp_path, {"m/data.pkl": data, "m/version": b"3"})


MODELS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "safetensors that promise too much": (lambda _: struct.pack("<Q", 900) + b'{"a": 1}' + bytes(80), ""),
    "safetensors cut off": (
        lambda _: struct.pack("<Q", 62) + b'{"a":{"dtype":"F32","shape":[900],"data_offsets":[0,3600]}}   ' + bytes(80),
        "are there",
    ),
    "onnx cut off": (lambda _: bytes([8, 9, 0x3A, 200, 1]) + bytes(20), "no whole ONNX"),
    "hdf5 cut off": (lambda _: b"\x89HDF\r\n\x1a\n" + bytes(600), "cannot be read"),
    "a checkpoint of garbage": (lambda tmp: torch_zip(tmp, b"\x80\x02}q\x00(garbage"), "cannot be read"),
    "a keras file without weights": (
        lambda tmp: small_archive(tmp, {"config.json": b"{", "model.weights.h5": b""}),
        "read",
    ),
    "json nested deep": (lambda _: b'{"a":' * 100_000, "nested|read"),
    "a zip cut off": (lambda tmp: small_archive(tmp, {"a": bytes(100)})[:50], "damaged or cut off"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model_gets_a_reason(name: str, tmp_path: Path) -> None:
    make, reason = MODELS[name]
    (tmp_path / "content").write_bytes(make(tmp_path))
    found = program("metadata", tmp_path / "content", tmp_path, memory_bytes=MEMORY, seconds=20)
    if reason:
        assert any(part in found["error"] for part in reason.split("|")), found
    else:
        assert found["framework"] == "" or "promises" in found["error"], found


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_no_pickle_is_ever_unpickled(protocol: int, tmp_path: Path) -> None:
    evil = pickle.dumps({"weights": Evil(tmp_path / "owned")}, protocol)
    (tmp_path / "plain").write_bytes(evil)
    found = program("metadata", tmp_path / "plain", tmp_path)
    assert found["metadata"]["format"] == "pickle"
    (tmp_path / "checkpoint").write_bytes(torch_zip(tmp_path, evil))
    found = program("metadata", tmp_path / "checkpoint", tmp_path)
    assert found["framework"] == "pytorch" and found["parameters"] == 0
    assert not (tmp_path / "owned").exists()
    pickle.loads(evil)
    assert (tmp_path / "owned").read_text() == "owned", "it would have"
