from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.grant_right import GrantRight, check_grant_right
from ..types import UNSET, Unset

T = TypeVar("T", bound="Grant")


@_attrs_define
class Grant:
    """One dataset or model opened to another company.

    read: download it. train: have a job read it; what that job makes (files, metrics, log) stays with the owner until
    released. derive: have a job read it, and keep what it makes.

        Attributes:
            id (str):
            asset (str): id of the dataset or model
            company (str): the owner
            grantee (str): the other company
            right (GrantRight):
            created_ms (int):
            created_by (str):
            expires_ms (int | None | Unset):
            revoked_ms (int | None | Unset):
    """

    id: str
    asset: str
    company: str
    grantee: str
    right: GrantRight
    created_ms: int
    created_by: str
    expires_ms: int | None | Unset = UNSET
    revoked_ms: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        asset = self.asset

        company = self.company

        grantee = self.grantee

        right: str = self.right

        created_ms = self.created_ms

        created_by = self.created_by

        expires_ms: int | None | Unset
        if isinstance(self.expires_ms, Unset):
            expires_ms = UNSET
        else:
            expires_ms = self.expires_ms

        revoked_ms: int | None | Unset
        if isinstance(self.revoked_ms, Unset):
            revoked_ms = UNSET
        else:
            revoked_ms = self.revoked_ms

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "asset": asset,
                "company": company,
                "grantee": grantee,
                "right": right,
                "created_ms": created_ms,
                "created_by": created_by,
            }
        )
        if expires_ms is not UNSET:
            field_dict["expires_ms"] = expires_ms
        if revoked_ms is not UNSET:
            field_dict["revoked_ms"] = revoked_ms

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        id = d.pop("id")

        asset = d.pop("asset")

        company = d.pop("company")

        grantee = d.pop("grantee")

        right = check_grant_right(d.pop("right"))

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        def _parse_expires_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        expires_ms = _parse_expires_ms(d.pop("expires_ms", UNSET))

        def _parse_revoked_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        revoked_ms = _parse_revoked_ms(d.pop("revoked_ms", UNSET))

        grant = cls(
            id=id,
            asset=asset,
            company=company,
            grantee=grantee,
            right=right,
            created_ms=created_ms,
            created_by=created_by,
            expires_ms=expires_ms,
            revoked_ms=revoked_ms,
        )

        return grant
