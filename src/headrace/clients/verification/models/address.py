from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Address")


@_attrs_define
class Address:
    """Where it is recorded.

    Attributes:
        contract (str):
    """

    contract: str

    def to_dict(self) -> dict[str, Any]:
        contract = self.contract

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "contract": contract,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        contract = d.pop("contract")

        address = cls(
            contract=contract,
        )

        return address
