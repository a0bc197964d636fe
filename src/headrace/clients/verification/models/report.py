from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.report_level import ReportLevel, check_report_level
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.check import Check
    from ..models.summary import Summary


T = TypeVar("T", bound="Report")


@_attrs_define
class Report:
    """What a verification found. The level is the highest all of whose checks passed, never a higher one.

    Attributes:
        id (str):
        level (ReportLevel):
        says (str): the level in words, with every reservation
        passed (bool): false: at least one check failed. True says nothing of the level: look there
        checks (list[Check]):
        not_checked (list[str]): what this verification did not look at, and would have to be trusted
        chain (str | Unset): which chain, and who runs it Default: ''.
        about (None | Summary | Unset): what was verified; null: nothing was, so that nothing can be said of it
    """

    id: str
    level: ReportLevel
    says: str
    passed: bool
    checks: list[Check]
    not_checked: list[str]
    chain: str | Unset = ""
    about: None | Summary | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.summary import Summary

        id = self.id

        level: str = self.level

        says = self.says

        passed = self.passed

        checks = []
        for checks_item_data in self.checks:
            checks_item = checks_item_data.to_dict()
            checks.append(checks_item)

        not_checked = self.not_checked

        chain = self.chain

        about: dict[str, Any] | None | Unset
        if isinstance(self.about, Unset):
            about = UNSET
        elif isinstance(self.about, Summary):
            about = self.about.to_dict()
        else:
            about = self.about

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "level": level,
                "says": says,
                "passed": passed,
                "checks": checks,
                "not_checked": not_checked,
            }
        )
        if chain is not UNSET:
            field_dict["chain"] = chain
        if about is not UNSET:
            field_dict["about"] = about

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.check import Check
        from ..models.summary import Summary

        d = dict(src_dict)
        id = d.pop("id")

        level = check_report_level(d.pop("level"))

        says = d.pop("says")

        passed = d.pop("passed")

        checks = []
        _checks = d.pop("checks")
        for checks_item_data in _checks:
            checks_item = Check.from_dict(checks_item_data)

            checks.append(checks_item)

        not_checked = cast(list[str], d.pop("not_checked"))

        chain = d.pop("chain", UNSET)

        def _parse_about(data: object) -> None | Summary | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                about_type_0 = Summary.from_dict(data)

                return about_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Summary | Unset, data)

        about = _parse_about(d.pop("about", UNSET))

        report = cls(
            id=id,
            level=level,
            says=says,
            passed=passed,
            checks=checks,
            not_checked=not_checked,
            chain=chain,
            about=about,
        )

        return report
