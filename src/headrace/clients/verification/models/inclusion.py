from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="Inclusion")


@_attrs_define
class Inclusion:
    """The proof that a claim is one of many that were anchored together (RFC 9162, section 2.1.3.2).

    Attributes:
        place (int): index of the leaf, from 0
        count (int): leaves of the batch
        path (list[str]): sha256:…, from the leaf upwards
        root (str): what the ledger has
    """

    place: int
    count: int
    path: list[str]
    root: str

    def to_dict(self) -> dict[str, Any]:
        place = self.place

        count = self.count

        path = self.path

        root = self.root

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "place": place,
                "count": count,
                "path": path,
                "root": root,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        place = d.pop("place")

        count = d.pop("count")

        path = cast(list[str], d.pop("path"))

        root = d.pop("root")

        inclusion = cls(
            place=place,
            count=count,
            path=path,
            root=root,
        )

        return inclusion
