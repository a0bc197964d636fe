from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Parity")


@_attrs_define
class Parity:
    """How far a translated model's answers are from those of its original, asked the same in the sandbox that translated
    it.

        Attributes:
            inputs (int): inputs compared
            real (int): of them recorded: samples of a dataset the original was trained or evaluated on
            edge (int): of them edge cases: zeros, ones, smallest and largest values seen
            made (int): of them made at random within what was seen, or of a normal distribution if nothing was
            worst (float): largest absolute difference
            mean (float): mean absolute difference
            scale (float): largest absolute value of the original's answers
            tolerance (float): largest difference allowed; a translation above it is refused
    """

    inputs: int
    real: int
    edge: int
    made: int
    worst: float
    mean: float
    scale: float
    tolerance: float

    def to_dict(self) -> dict[str, Any]:
        inputs = self.inputs

        real = self.real

        edge = self.edge

        made = self.made

        worst = self.worst

        mean = self.mean

        scale = self.scale

        tolerance = self.tolerance

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

        parity = cls(
            inputs=inputs,
            real=real,
            edge=edge,
            made=made,
            worst=worst,
            mean=mean,
            scale=scale,
            tolerance=tolerance,
        )

        return parity
