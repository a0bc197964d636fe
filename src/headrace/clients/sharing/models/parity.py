from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Parity")


@_attrs_define
class Parity:
    """How far a translated model's answers are from those of its original, asked the same in the sandbox that translated
    it.

        Attributes:
            inputs (int): inputs compared
            real (int): of them recorded: samples of a dataset the original was trained or evaluated on
            edge (int): of them edge cases: zeros, ones, smallest and largest values seen
            made (int): of them made at random within what was seen; if nothing was, within what the model itself knows of
                its inputs (thresholds of trees, a scaler's mean); else of a normal distribution
            worst (float): largest absolute difference
            mean (float): mean absolute difference
            scale (float): largest absolute value of the original's answers
            tolerance (float): largest difference allowed; a translation above it is refused
            constant (list[str] | None | Unset): outputs whose original answers were all the same within what was allowed,
                so that a constant would have passed; null: older than this was looked at
    """

    inputs: int
    real: int
    edge: int
    made: int
    worst: float
    mean: float
    scale: float
    tolerance: float
    constant: list[str] | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        inputs = self.inputs

        real = self.real

        edge = self.edge

        made = self.made

        worst = self.worst

        mean = self.mean

        scale = self.scale

        tolerance = self.tolerance

        constant: list[str] | None | Unset
        if isinstance(self.constant, Unset):
            constant = UNSET
        elif isinstance(self.constant, list):
            constant = self.constant

        else:
            constant = self.constant

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "inputs": inputs,
                "real": real,
                "edge": edge,
                "made": made,
                "worst": worst,
                "mean": mean,
                "scale": scale,
                "tolerance": tolerance,
            }
        )
        if constant is not UNSET:
            field_dict["constant"] = constant

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        inputs = d.pop("inputs")

        real = d.pop("real")

        edge = d.pop("edge")

        made = d.pop("made")

        worst = d.pop("worst")

        mean = d.pop("mean")

        scale = d.pop("scale")

        tolerance = d.pop("tolerance")

        def _parse_constant(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                constant_type_0 = cast(list[str], data)

                return constant_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        constant = _parse_constant(d.pop("constant", UNSET))

        parity = cls(
            inputs=inputs,
            real=real,
            edge=edge,
            made=made,
            worst=worst,
            mean=mean,
            scale=scale,
            tolerance=tolerance,
            constant=constant,
        )

        return parity
