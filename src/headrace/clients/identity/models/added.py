from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.added_kind import AddedKind, check_added_kind
from ..types import UNSET, Unset

T = TypeVar("T", bound="Added")


@_attrs_define
class Added:
    """Somebody who was added just now.

    Attributes:
        company (str):
        name (str):
        kind (AddedKind):
        roles (list[str]):
        topics (list[str]): topic filters he may publish and subscribe to
        created_ms (int):
        created_by (str):
        password (None | str | Unset): password or secret that was made; it is told this once
    """

    company: str
    name: str
    kind: AddedKind
    roles: list[str]
    topics: list[str]
    created_ms: int
    created_by: str
    password: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        company = self.company

        name = self.name

        kind: str = self.kind

        roles = self.roles

        topics = self.topics

        created_ms = self.created_ms

        created_by = self.created_by

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

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
        if password is not UNSET:
            field_dict["password"] = password

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        company = d.pop("company")

        name = d.pop("name")

        kind = check_added_kind(d.pop("kind"))

        roles = cast(list[str], d.pop("roles"))

        topics = cast(list[str], d.pop("topics"))

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        added = cls(
            company=company,
            name=name,
            kind=kind,
            roles=roles,
            topics=topics,
            created_ms=created_ms,
            created_by=created_by,
            password=password,
        )

        return added
