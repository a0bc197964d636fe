from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Event")


@_attrs_define
class Event:
    """Something that happened to a job.

    Attributes:
        time_ms (int):
        what (str):
        detail (str):
    """

    time_ms: int
    what: str
    detail: str

    def to_dict(self) -> dict[str, Any]:
        time_ms = self.time_ms

        what = self.what

        detail = self.detail

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "time_ms": time_ms,
                "what": what,
                "detail": detail,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        time_ms = d.pop("time_ms")

        what = d.pop("what")

        detail = d.pop("detail")

        event = cls(
            time_ms=time_ms,
            what=what,
            detail=detail,
        )

        return event
