from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.person_kind import PersonKind, check_person_kind

T = TypeVar("T", bound="Person")


@_attrs_define
class Person:
    """A user, device or service.

    Attributes:
        company (str):
        name (str):
        kind (PersonKind):
        roles (list[str]):
        topics (list[str]): topic filters he may publish and subscribe to
        created_ms (int):
        created_by (str):
    """

    company: str
    name: str
    kind: PersonKind
    roles: list[str]
    topics: list[str]
    created_ms: int
    created_by: str

    def to_dict(self) -> dict[str, Any]:
        company = self.company

        name = self.name

        kind: str = self.kind

        roles = self.roles

        topics = self.topics

        created_ms = self.created_ms

        created_by = self.created_by

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "company": company,
                "name": name,
                "kind": kind,
                "roles": roles,
                "topics": topics,
                "created_ms": created_ms,
                "created_by": created_by,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        company = d.pop("company")

        name = d.pop("name")

        kind = check_person_kind(d.pop("kind"))

        roles = cast(list[str], d.pop("roles"))

        topics = cast(list[str], d.pop("topics"))

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        person = cls(
            company=company,
            name=name,
            kind=kind,
            roles=roles,
            topics=topics,
            created_ms=created_ms,
            created_by=created_by,
        )

        return person
