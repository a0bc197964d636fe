from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="NewEvaluation")


@_attrs_define
class NewEvaluation:
    """A trained model, and the held-out dataset it is to be measured on.

    Attributes:
        model (str):
        dataset (str):
        entry_point (str | Unset): Python file of the code archive; empty: the recipe's Default: ''.
        priority (int | Unset):  Default: 0.
    """

    model: str
    dataset: str
    entry_point: str | Unset = ""
    priority: int | Unset = 0

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        dataset = self.dataset

        entry_point = self.entry_point

        priority = self.priority

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
                "dataset": dataset,
            }
        )
        if entry_point is not UNSET:
            field_dict["entry_point"] = entry_point
        if priority is not UNSET:
            field_dict["priority"] = priority

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        model = d.pop("model")

        dataset = d.pop("dataset")

        entry_point = d.pop("entry_point", UNSET)

        priority = d.pop("priority", UNSET)

        new_evaluation = cls(
            model=model,
            dataset=dataset,
            entry_point=entry_point,
            priority=priority,
        )

        return new_evaluation
