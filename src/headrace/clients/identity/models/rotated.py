from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Rotated")


@_attrs_define
class Rotated:
    """The key that signs now.

    Attributes:
        kid (str):
    """

    kid: str

    def to_dict(self) -> dict[str, Any]:
        kid = self.kid

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kid": kid,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kid = d.pop("kid")

        rotated = cls(
            kid=kid,
        )

        return rotated
