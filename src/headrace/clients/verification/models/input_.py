from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.input_role import InputRole, check_input_role
from ..types import UNSET, Unset

T = TypeVar("T", bound="Input")


@_attrs_define
class Input:
    """What a claim says of something that its asset was made of.

    Attributes:
        role (InputRole):
        id (str):
        digest (str | Unset): of its content; empty: the claim names its contract alone Default: ''.
        contract (str | Unset):  Default: ''.
    """

    role: InputRole
    id: str
    digest: str | Unset = ""
    contract: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        role: str = self.role

        id = self.id

        digest = self.digest

        contract = self.contract

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "role": role,
                "id": id,
            }
        )
        if digest is not UNSET:
            field_dict["digest"] = digest
        if contract is not UNSET:
            field_dict["contract"] = contract

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        role = check_input_role(d.pop("role"))

        id = d.pop("id")

        digest = d.pop("digest", UNSET)

        contract = d.pop("contract", UNSET)

        input_ = cls(
            role=role,
            id=id,
            digest=digest,
            contract=contract,
        )

        return input_
