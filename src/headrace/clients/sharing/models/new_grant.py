from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.new_grant_right import NewGrantRight, check_new_grant_right
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewGrant")


@_attrs_define
class NewGrant:
    """The body of ``POST /grants``.

    Attributes:
        asset (str): id of a dataset or model of one's own
        grantee (str): the other company
        right (NewGrantRight):
        expires_ms (int | None | Unset): null: until revoked
    """

    asset: str
    grantee: str
    right: NewGrantRight
    expires_ms: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        asset = self.asset

        grantee = self.grantee

        right: str = self.right

        expires_ms: int | None | Unset
        if isinstance(self.expires_ms, Unset):
            expires_ms = UNSET
        else:
            expires_ms = self.expires_ms

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "asset": asset,
                "grantee": grantee,
                "right": right,
            }
        )
        if expires_ms is not UNSET:
            field_dict["expires_ms"] = expires_ms

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        asset = d.pop("asset")

        grantee = d.pop("grantee")

        right = check_new_grant_right(d.pop("right"))

        def _parse_expires_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        expires_ms = _parse_expires_ms(d.pop("expires_ms", UNSET))

        new_grant = cls(
            asset=asset,
            grantee=grantee,
            right=right,
            expires_ms=expires_ms,
        )

        return new_grant
