from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="NewCompany")


@_attrs_define
class NewCompany:
    """A company and its first administrator.

    Attributes:
        name (str): 2 to 32 of a-z, 0-9 and -; a letter first
        admin (str | Unset): name of its first user, who adds the others Default: 'admin'.
        password (None | str | Unset): his password; without one, one is made and told once
    """

    name: str
    admin: str | Unset = "admin"
    password: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        admin = self.admin

        password: None | str | Unset
        if isinstance(self.password, Unset):
            password = UNSET
        else:
            password = self.password

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
            }
        )
        if admin is not UNSET:
            field_dict["admin"] = admin
        if password is not UNSET:
            field_dict["password"] = password

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        admin = d.pop("admin", UNSET)

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        new_company = cls(
            name=name,
            admin=admin,
            password=password,
        )

        return new_company
