from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="FromStream")


@_attrs_define
class FromStream:
    """The body of ``POST /datasets/from-stream``.

    Attributes:
        topic (str):
        from_ms (int): first event time, ms since the epoch
        to_ms (int): event time where it ends, itself not in it
        name (str):
        description (str | Unset):  Default: ''.
        confidential (bool | Unset):  Default: False.
    """

    topic: str
    from_ms: int
    to_ms: int
    name: str
    description: str | Unset = ""
    confidential: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        topic = self.topic

        from_ms = self.from_ms

        to_ms = self.to_ms

        name = self.name

        description = self.description

        confidential = self.confidential

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "topic": topic,
                "from_ms": from_ms,
                "to_ms": to_ms,
                "name": name,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description
        if confidential is not UNSET:
            field_dict["confidential"] = confidential

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        topic = d.pop("topic")

        from_ms = d.pop("from_ms")

        to_ms = d.pop("to_ms")

        name = d.pop("name")

        description = d.pop("description", UNSET)

        confidential = d.pop("confidential", UNSET)

        from_stream = cls(
            topic=topic,
            from_ms=from_ms,
            to_ms=to_ms,
            name=name,
            description=description,
            confidential=confidential,
        )

        return from_stream
