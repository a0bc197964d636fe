from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.stored import Stored


T = TypeVar("T", bound="OutputFile")


@_attrs_define
class OutputFile:
    """One file of a model: where it stands among its outputs.

    Attributes:
        path (str):
        stored (Stored): Content that was taken in whole: its size and what it is known by.
    """

    path: str
    stored: Stored

    def to_dict(self) -> dict[str, Any]:
        path = self.path

        stored = self.stored.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "path": path,
                "stored": stored,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.stored import Stored

        d = dict(src_dict)
        path = d.pop("path")

        stored = Stored.from_dict(d.pop("stored"))

        output_file = cls(
            path=path,
            stored=stored,
        )

        return output_file
