"""The parsing functions of the prediction doors never raise anything but our own errors, whatever they are given."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import BadInput, BadTensor, HeadraceError
from headrace.services.learning import oip
from headrace.services.learning.http import _from_cloud_event, _inputs

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**30)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner), max_leaves=12
)
SHAPES = st.lists(st.integers(-2, 6) | st.sampled_from([2**31, 2**40, 2**62, 2**64, 10**30]), max_size=10)
TYPES = st.sampled_from([*oip.DTYPES, "BYTES", "FP128", "", "fp64"])

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzz
@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_bytes_are_a_request_or_refused(body: bytes, length: int | None) -> None:
    try:
        request = oip.read_infer(body, length)
        oip.arrays(request)
        request.wanted()
        assert isinstance(request.key, str)
    except BadTensor:
        pass


@fuzz
@given(
    st.dictionaries(st.sampled_from(["inputs", "id", "parameters", "outputs"]), VALUES, max_size=4),
    st.binary(max_size=40),
)
def test_json_of_any_form_is_a_request_or_refused(value: dict[str, Any], more: bytes) -> None:
    head = json.dumps(value, allow_nan=True).encode()
    for length in (None, len(head)):
        with contextlib.suppress(BadTensor):
            oip.arrays(oip.read_infer(head + (more if length else b""), length))


@fuzz
@given(SHAPES, VALUES | st.lists(st.floats(width=32), max_size=20), TYPES, st.none() | st.integers(-5, 30))
def test_tensors_fill_their_shape_or_are_refused(shape: list[int], data: Any, datatype: str, size: int | None) -> None:
    tensor = oip.Tensor("x", shape, datatype, data, {"binary_data_size": size} if size is not None else None)
    try:
        array = oip.array(tensor)
    except BadTensor as error:
        assert "x" in str(error)
    else:
        assert list(array.shape) == shape
        assert array.dtype == np.dtype(oip.DTYPES[datatype])


@fuzz
@given(SHAPES, st.binary(max_size=64), TYPES)
def test_raw_tensors_fill_their_shape_or_are_refused(shape: list[int], data: bytes, datatype: str) -> None:
    with contextlib.suppress(BadTensor):
        assert list(oip.array(oip.Tensor("x", shape, datatype, data)).shape) == shape


@fuzz
@given(VALUES)
def test_v1_instances_become_numbers_or_are_refused(value: Any) -> None:
    try:
        request = oip.read_instances(json.dumps({"instances": value}).encode())
        if request.instances:
            assert all(array.dtype == np.float64 for array in _inputs(request.instances).values())
    except BadTensor:
        pass


@fuzz
@given(st.binary(max_size=100) | VALUES.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_cloud_events_are_read_or_refused(body: bytes, structured: bool) -> None:
    kind = b"application/cloudevents+json" if structured else b"text/plain"
    scope = {"headers": [(b"content-type", kind), (b"ce-id", b"\xff\x00")]}
    try:
        oip.read_instances(_from_cloud_event(scope, body)[0])
    except HeadraceError as error:
        assert isinstance(error, BadInput)


@pytest.mark.parametrize("datatype", sorted(oip.DTYPES))
def test_json_and_raw_tensors_are_the_same(datatype: str) -> None:
    values = np.array([[0, 1], [1, 0]]).astype(oip.DTYPES[datatype])
    plain = oip.array(oip.Tensor("x", [2, 2], datatype, values.ravel().tolist()))
    raw = oip.array(oip.Tensor("x", [2, 2], datatype, values.tobytes()))
    assert plain.dtype == raw.dtype == values.dtype
    assert plain.tolist() == raw.tolist() == values.tolist()


def test_two_inputs_of_one_name_are_refused() -> None:
    one = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}
    with pytest.raises(BadTensor, match="same name"):
        oip.arrays(oip.read_infer(json.dumps({"inputs": [one, one]}).encode()))
