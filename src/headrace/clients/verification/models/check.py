from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.check_level import CheckLevel, check_check_level
from ..models.check_state import CheckState, check_check_state
from ..types import UNSET, Unset

T = TypeVar("T", bound="Check")


@_attrs_define
class Check:
    """One thing that was looked at.

    Attributes:
        level (CheckLevel):
        name (str): what was checked, for people
        state (CheckState): running: how far one is that takes long, said until it has ended; never in a report
        detail (str | Unset): what was found; of a skipped one: why Default: ''.
        seconds (float | Unset):  Default: 0.0.
    """

    level: CheckLevel
    name: str
    state: CheckState
    detail: str | Unset = ""
    seconds: float | Unset = 0.0

    def to_dict(self) -> dict[str, Any]:
        level: str = self.level

        name = self.name

        state: str = self.state

        detail = self.detail

        seconds = self.seconds

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "level": level,
                "name": name,
                "state": state,
            }
        )
        if detail is not UNSET:
            field_dict["detail"] = detail
        if seconds is not UNSET:
            field_dict["seconds"] = seconds

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        level = check_check_level(d.pop("level"))

        name = d.pop("name")

        state = check_check_state(d.pop("state"))

        detail = d.pop("detail", UNSET)

        seconds = d.pop("seconds", UNSET)

        check = cls(
            level=level,
            name=name,
            state=state,
            detail=detail,
            seconds=seconds,
        )

        return check
