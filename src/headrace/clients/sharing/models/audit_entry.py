from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="AuditEntry")


@_attrs_define
class AuditEntry:
    """What somebody did, or tried to do, with what companies share.

    Attributes:
        id (int):
        time_ms (int):
        company (str):
        subject (str):
        action (str):
        asset (str):
        allowed (bool):
        detail (str | Unset):  Default: ''.
    """

    id: int
    time_ms: int
    company: str
    subject: str
    action: str
    asset: str
    allowed: bool
    detail: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        time_ms = self.time_ms

        company = self.company

        subject = self.subject

        action = self.action

        asset = self.asset

        allowed = self.allowed

        detail = self.detail

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "time_ms": time_ms,
                "company": company,
                "subject": subject,
                "action": action,
                "asset": asset,
                "allowed": allowed,
            }
        )
        if detail is not UNSET:
            field_dict["detail"] = detail

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        id = d.pop("id")

        time_ms = d.pop("time_ms")

        company = d.pop("company")

        subject = d.pop("subject")

        action = d.pop("action")

        asset = d.pop("asset")

        allowed = d.pop("allowed")

        detail = d.pop("detail", UNSET)

        audit_entry = cls(
            id=id,
            time_ms=time_ms,
            company=company,
            subject=subject,
            action=action,
            asset=asset,
            allowed=allowed,
            detail=detail,
        )

        return audit_entry
