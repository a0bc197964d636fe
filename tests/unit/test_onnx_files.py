"""What other readers of ONNX would take for something else than the look does is refused; and where it is run, nothing lies beside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.models.onnx_files import CLASSIC, check_graph, fields

helper = pytest.importorskip("onnx").helper
import onnx  # noqa: E402


def identity(**graph: Any) -> onnx.ModelProto:
    """y = x."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n"])
    made = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y], **graph)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def beside(name: str, size: int) -> bytes:
    """A model that gives what lies in a file beside it."""
    secret = onnx.TensorProto(
        name="secret", data_type=onnx.TensorProto.UINT8, dims=[size], data_location=onnx.TensorProto.EXTERNAL
    )
    for key, value in (("location", name), ("offset", "0"), ("length", str(size))):
        secret.external_data.add(key=key, value=value)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, None)
    graph = helper.make_graph([helper.make_node("Identity", ["secret"], ["y"])], "g", [], [y], [secret])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(made.SerializeToString())


def varint(number: int) -> bytes:
    """As protobuf writes it."""
    made = b""
    while number > 0x7F:
        made, number = made + bytes([number & 0x7F | 0x80]), number >> 7
    return made + bytes([number])


def disguised(data: bytes, tag: bytes) -> bytes:
    """The same model, its graph under another tag."""
    made = b""
    for number, value in fields(memoryview(data)):
        if isinstance(value, int):
            made += varint(number << 3) + varint(value)
        else:
            made += (tag if number == 7 else varint(number << 3 | 2)) + varint(len(value)) + bytes(value)
    return made


def test_a_plain_one_is_fine_and_read_alike() -> None:
    data = identity().SerializeToString()
    check_graph(data)
    check_graph(disguised(data, varint(7 << 3 | 2)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (beside("a", 3), "a file beside it"),
        (disguised(beside("a", 3), b"\xba\x80\x80\x80\x10"), "no protobuf message"),  # 32 bits of it are field 7
        (disguised(beside("a", 3), b"\xba\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "no protobuf message"),
        (disguised(beside("a", 3), varint(27 << 3 | 2)), "whose model has a part 27"),
        (disguised(identity().SerializeToString(), b"\x02"), "no protobuf message"),  # field 0
        (b"", "there is no graph"),
        (identity().SerializeToString() * 2, "several graphs"),
        (b"\x08\x0a\x12\x00ORTM" + identity().SerializeToString(), "ONNX Runtime's own format"),
    ],
)
def test_what_is_not_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_graph(data, CLASSIC)


def test_nothing_lies_beside_a_deployed_model(tmp_path: Path) -> None:
    """Even if a look let one pass."""
    (tmp_path / "beside.txt").write_bytes(b"secret")
    (tmp_path / "it.onnx").write_bytes(beside("beside.txt", 6))
    ask = (
        "import sys; from headrace.models.onnx_session import open_session; data = open('it.onnx', 'rb').read(); {}\n"
        "print(bytes(open_session(data).run(None, {{}})[0]))"
    )
    leave = "from headrace.services.learning.deployed.program import nowhere; nowhere()"
    said = []
    for first in ("", leave):
        line = [sys.executable, "-c", ask.format(first)]
        said.append(subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60))
    assert said[0].stdout == "b'secret'\n", "ONNX Runtime reads it"
    assert said[1].returncode != 0 and "secret'" not in said[1].stdout
