from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.who_kind import WhoKind, check_who_kind
from ..types import UNSET, Unset

T = TypeVar("T", bound="Who")


@_attrs_define
class Who:
    """The caller.

    Attributes:
        company (str):
        subject (str):
        kind (WhoKind):
        roles (list[str]):
        topics (list[str]):
        expires_ms (int | None): null: his token does not expire
        companies (int | None | Unset): how many there are; told to operators
    """

    company: str
    subject: str
    kind: WhoKind
    roles: list[str]
    topics: list[str]
    expires_ms: int | None
    companies: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        company = self.company

        subject = self.subject

        kind: str = self.kind

        roles = self.roles

        topics = self.topics

        expires_ms: int | None
        expires_ms = self.expires_ms

        companies: int | None | Unset
        if isinstance(self.companies, Unset):
            companies = UNSET
        else:
            companies = self.companies

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "company": company,
                "subject": subject,
                "kind": kind,
                "roles": roles,
                "topics": topics,
                "expires_ms": expires_ms,
            }
        )
        if companies is not UNSET:
            field_dict["companies"] = companies

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        company = d.pop("company")

        subject = d.pop("subject")

        kind = check_who_kind(d.pop("kind"))

        roles = cast(list[str], d.pop("roles"))

        topics = cast(list[str], d.pop("topics"))

        def _parse_expires_ms(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        expires_ms = _parse_expires_ms(d.pop("expires_ms"))

        def _parse_companies(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        companies = _parse_companies(d.pop("companies", UNSET))

        who = cls(
            company=company,
            subject=subject,
            kind=kind,
            roles=roles,
            topics=topics,
            expires_ms=expires_ms,
            companies=companies,
        )

        return who
