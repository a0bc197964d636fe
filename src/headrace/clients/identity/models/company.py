from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Company")


@_attrs_define
class Company:
    """A company of this platform.

    Attributes:
        name (str):
        created_ms (int):
        people (int): users, devices and services
    """

    name: str
    created_ms: int
    people: int

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        created_ms = self.created_ms

        people = self.people

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
                "created_ms": created_ms,
                "people": people,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        created_ms = d.pop("created_ms")

        people = d.pop("people")

        company = cls(
            name=name,
            created_ms=created_ms,
            people=people,
        )

        return company
