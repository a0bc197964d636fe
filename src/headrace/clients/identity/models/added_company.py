from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.added import Added
    from ..models.company import Company


T = TypeVar("T", bound="AddedCompany")


@_attrs_define
class AddedCompany:
    """A company that was added just now.

    Attributes:
        company (Company): A company of this platform.
        admin (Added): Somebody who was added just now.
    """

    company: Company
    admin: Added

    def to_dict(self) -> dict[str, Any]:
        company = self.company.to_dict()

        admin = self.admin.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "company": company,
                "admin": admin,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.added import Added
        from ..models.company import Company

        d = dict(src_dict)
        company = Company.from_dict(d.pop("company"))

        admin = Added.from_dict(d.pop("admin"))

        added_company = cls(
            company=company,
            admin=admin,
        )

        return added_company
