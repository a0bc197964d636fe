from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.judged_verdict import JudgedVerdict, check_judged_verdict

T = TypeVar("T", bound="Judged")


@_attrs_define
class Judged:
    """What running a recipe again has shown.

    Attributes:
        verdict (JudgedVerdict):
        note (str):
    """

    verdict: JudgedVerdict
    note: str

    def to_dict(self) -> dict[str, Any]:
        verdict: str = self.verdict

        note = self.note

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "verdict": verdict,
                "note": note,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        verdict = check_judged_verdict(d.pop("verdict"))

        note = d.pop("note")

        judged = cls(
            verdict=verdict,
            note=note,
        )

        return judged
