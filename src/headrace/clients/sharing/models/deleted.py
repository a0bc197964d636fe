from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Deleted")


@_attrs_define
class Deleted:
    """What was deleted.

    Attributes:
        deleted (str):
        tombstone (bool): true: its record is left, because something depends on it
    """

    deleted: str
    tombstone: bool

    def to_dict(self) -> dict[str, Any]:
        deleted = self.deleted

        tombstone = self.tombstone

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "deleted": deleted,
                "tombstone": tombstone,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        deleted = d.pop("deleted")

        tombstone = d.pop("tombstone")

        deleted = cls(
            deleted=deleted,
            tombstone=tombstone,
        )

        return deleted
