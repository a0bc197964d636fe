from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Wish")


@_attrs_define
class Wish:
    """How a model is to be translated.

    Attributes:
        opset (int | Unset):  Default: 17.
        tolerance (float | None | Unset): largest difference of answers; unset: 1e-5 of the largest answer, 1e-3 where
            dtypes narrow
        dropout (str | Unset):  Default: 'eval'.
        name (str | Unset): of the translation; unset: the original's, and ` (ONNX)` Default: ''.
        input_shape (list[int] | None | Unset): of one input without its batch axis, where neither the model nor its
            recipe says
    """

    opset: int | Unset = 17
    tolerance: float | None | Unset = UNSET
    dropout: str | Unset = "eval"
    name: str | Unset = ""
    input_shape: list[int] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        opset = self.opset

        tolerance: float | None | Unset
        if isinstance(self.tolerance, Unset):
            tolerance = UNSET
        else:
            tolerance = self.tolerance

        dropout = self.dropout

        name = self.name

        input_shape: list[int] | None | Unset
        if isinstance(self.input_shape, Unset):
            input_shape = UNSET
        elif isinstance(self.input_shape, list):
            input_shape = self.input_shape

        else:
            input_shape = self.input_shape

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if opset is not UNSET:
            field_dict["opset"] = opset
        if tolerance is not UNSET:
            field_dict["tolerance"] = tolerance
        if dropout is not UNSET:
            field_dict["dropout"] = dropout
        if name is not UNSET:
            field_dict["name"] = name
        if input_shape is not UNSET:
            field_dict["input_shape"] = input_shape

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        opset = d.pop("opset", UNSET)

        def _parse_tolerance(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        tolerance = _parse_tolerance(d.pop("tolerance", UNSET))

        dropout = d.pop("dropout", UNSET)

        name = d.pop("name", UNSET)

        def _parse_input_shape(data: object) -> list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                input_shape_type_0 = cast(list[int], data)

                return input_shape_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | Unset, data)

        input_shape = _parse_input_shape(d.pop("input_shape", UNSET))

        wish = cls(
            opset=opset,
            tolerance=tolerance,
            dropout=dropout,
            name=name,
            input_shape=input_shape,
        )

        return wish
