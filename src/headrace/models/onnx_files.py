"""Whether an ONNX file that a stranger's code may have written is a plain graph: no program, nothing beside it.

It may be damaged, but must have no graph within a graph (Loop, If and Scan run for ever), no function, no operator of a
domain that is not asked for, no file beside it. How much a permitted graph computes is not known beforehand.

Field numbers: onnx.proto3 of ONNX; wire format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import mmap
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

NODES = 10_000
"""Operators of one ONNX graph."""
FIELDS = 5_000_000
"""Parts of the file that are looked at, so that a look ends; a network of 10,000 operators has some 200,000."""
SECONDS = 120.0
"""A look of that many parts takes 3 s on one core, and may on a busy machine."""
REFUSED = 3
"""Exit code of a look that found no plain graph."""
PLAIN = ("", "ai.onnx")
"""Domains of the operators that every runtime has."""
CLASSIC = (*PLAIN, "ai.onnx.ml")
"""Also those of trees, linear models and encoders."""
ORT = b"ORTM"
"""What ONNX Runtime's own format has at byte 4: it would be opened as that, whatever a look finds in it."""
_KNOWN = {
    "model": {*range(1, 9), 14, 20, 25, 26},
    "graph": {1, 2, 5, *range(10, 17)},
    "node": {*range(1, 11)},
    "attribute": {*range(1, 12), *range(13, 16), *range(20, 24)},
    "tensor": {*range(1, 15), 16},
}
"""Fields of the messages that are looked at (onnx.proto3 of ONNX 1.19): whoever reads one of another number might take it for
one of these."""
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_ATTRIBUTE, _DOMAIN = 5, 7
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
_SPARSE_TENSOR, _SPARSE_TENSORS = 22, 23
_EXTERNAL, _LOCATION = 13, 14


def check_graph(data: bytes | memoryview, domains: Collection[str] = PLAIN) -> None:
    """Raises ValueError: it is no plain graph; the message says what it is."""
    _Look(domains).model(memoryview(data))


def check_apart(path: Path, domains: Collection[str] = PLAIN) -> None:
    """`check_graph` of a file, in a process of its own: millions of parts take seconds of one core, in which whoever asks would
    answer nobody else. Raises ValueError."""
    command = [sys.executable, "-m", __name__, str(path), *domains]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"an ONNX model that takes more than {SECONDS:g} s to look through") from error
    if ended.returncode == REFUSED:
        raise ValueError(ended.stdout.decode("utf-8", "replace").strip()[:500])
    if ended.returncode != 0:
        raise ValueError(f"an ONNX model that cannot be looked through (code {ended.returncode})")


def main() -> None:
    """``PATH DOMAIN…``: ends with `REFUSED` and the reason, or 0."""
    path, *domains = sys.argv[1:]
    with Path(path).open("rb") as file:  # mapped, not read: of tensors only the heads are looked at
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        check_graph(memoryview(data), domains)
    except ValueError as error:
        print(error)
        sys.exit(REFUSED)


class _Look:
    """One look at one file."""

    def __init__(self, domains: Collection[str]) -> None:
        self._domains = {domain.encode() for domain in domains}
        self._left = FIELDS

    def model(self, data: memoryview) -> None:
        if bytes(data[4:8]) == ORT:
            raise ValueError("a file of ONNX Runtime's own format, and no ONNX model")
        graphs = 0
        for number, value in self._fields(data, "model"):
            if number in (_TRAINING, _FUNCTIONS):
                raise ValueError("an ONNX model with functions of its own")
            if number == _GRAPH:
                graphs += 1
                self._graph(_message(value))
        if graphs != 1:  # protobuf would merge several
            raise ValueError(
                "an ONNX model with several graphs" if graphs else "no ONNX model: there is no graph in it"
            )

    def _graph(self, data: memoryview) -> None:
        nodes = 0
        for number, value in self._fields(data, "graph"):
            if number == _NODE:
                nodes += 1
                self._node(_message(value))
            elif number == _INITIALIZER:
                self._tensor(_message(value))
            elif number == _SPARSE:
                raise _sparse()
        if nodes > NODES:
            raise ValueError(f"an ONNX model of {nodes:,} operators, and {NODES:,} may be")

    def _node(self, data: memoryview) -> None:
        for number, value in self._fields(data, "node"):
            if number == _DOMAIN and bytes(_message(value)) not in self._domains:
                raise ValueError("an ONNX model with operators of another domain")
            for kind, inner in self._fields(_message(value), "attribute") if number == _ATTRIBUTE else ():
                if kind in (_SUBGRAPH, _SUBGRAPHS):
                    raise ValueError("an ONNX model with a graph within its graph")
                if kind in (_SPARSE_TENSOR, _SPARSE_TENSORS):
                    raise _sparse()
                if kind in (_TENSOR, _TENSORS):
                    self._tensor(_message(inner))

    def _tensor(self, data: memoryview) -> None:
        if any(
            number == _EXTERNAL or (number == _LOCATION and value) for number, value in self._fields(data, "tensor")
        ):
            raise ValueError("an ONNX model with a file beside it")

    def _fields(self, data: memoryview, message: str) -> Iterator[tuple[int, memoryview | int]]:
        known = _KNOWN[message]
        for number, value in fields(data):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"an ONNX model of more than {FIELDS:,} parts")
            if number not in known:
                raise ValueError(f"an ONNX model whose {message} has a part {number} that is not known here")
            yield number, value


def _sparse() -> ValueError:
    """No exporter writes them, and their values could lie in a file beside as well."""
    return ValueError("an ONNX model with sparse tensors")


def fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of a protobuf message: bytes, or a number. Raises ValueError.

    >>> [(number, bytes(value)) for number, value in fields(memoryview(b"\\x12\\x02ok"))]
    [(2, b'ok')]
    """
    place = 0
    while place < len(data):
        key, place = _number(data, place)
        if not 8 <= key < 2**32:  # other readers cut it to 32 bits, and see another number
            raise ValueError("no protobuf message")
        kind = key & 7
        if kind == 0:
            value, place = _number(data, place)
            yield key >> 3, value
            continue
        if kind == 2:
            size, place = _number(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf message")
        if place + size > len(data):
            raise ValueError("a protobuf message that ends too early")
        yield key >> 3, data[place : place + size]
        place += size


def _number(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("no protobuf message")


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("no ONNX model")  # noqa: TRY004 whoever reads files is told of values
    return value


if __name__ == "__main__":
    main()
