from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.told import Told


T = TypeVar("T", bound="Revoked")


@_attrs_define
class Revoked:
    """An asset that is not to be relied upon any more.

    Attributes:
        told (Told): An asset, with whatever it is made of.
        reason (str):
    """

    told: Told
    reason: str

    def to_dict(self) -> dict[str, Any]:
        told = self.told.to_dict()

        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "told": told,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.told import Told

        d = dict(src_dict)
        told = Told.from_dict(d.pop("told"))

        reason = d.pop("reason")

        revoked = cls(
            told=told,
            reason=reason,
        )

        return revoked
