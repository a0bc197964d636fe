from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.new_person_kind import NewPersonKind, check_new_person_kind
from ..models.new_person_roles_type_0_item import (
    NewPersonRolesType0Item,
    check_new_person_roles_type_0_item,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewPerson")


@_attrs_define
class NewPerson:
    """Somebody to add to one's own company.

    Attributes:
        name (str): letters, digits and . _ @ -; unique in the company
        kind (NewPersonKind | Unset):  Default: 'user'.
        roles (list[NewPersonRolesType0Item] | None | Unset): default: developer, device or service, as the kind is
        topics (list[str] | Unset): topic filters inside the company's topics
        password (None | str | Unset): chosen; without one, one is made and told once
    """

    name: str
    kind: NewPersonKind | Unset = "user"
    roles: list[NewPersonRolesType0Item] | None | Unset = UNSET
    topics: list[str] | Unset = UNSET
    password: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        kind: str | Unset = UNSET
        if not isinstance(self.kind, Unset):
            kind = self.kind

        roles: list[str] | None | Unset
        if isinstance(self.roles, Unset):
            roles = UNSET
        elif isinstance(self.roles, list):
            roles = []
            for roles_type_0_item_data in self.roles:
                roles_type_0_item: str = roles_type_0_item_data
                roles.append(roles_type_0_item)

        else:
            roles = self.roles

        topics: list[str] | Unset = UNSET
        if not isinstance(self.topics, Unset):
            topics = self.topics

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
        if kind is not UNSET:
            field_dict["kind"] = kind
        if roles is not UNSET:
            field_dict["roles"] = roles
        if topics is not UNSET:
            field_dict["topics"] = topics
        if password is not UNSET:
            field_dict["password"] = password

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        _kind = d.pop("kind", UNSET)
        kind: NewPersonKind | Unset
        if isinstance(_kind, Unset):
            kind = UNSET
        else:
            kind = check_new_person_kind(_kind)

        def _parse_roles(data: object) -> list[NewPersonRolesType0Item] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                roles_type_0 = []
                _roles_type_0 = data
                for roles_type_0_item_data in _roles_type_0:
                    roles_type_0_item = check_new_person_roles_type_0_item(
                        roles_type_0_item_data
                    )

                    roles_type_0.append(roles_type_0_item)

                return roles_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[NewPersonRolesType0Item] | None | Unset, data)

        roles = _parse_roles(d.pop("roles", UNSET))

        topics = cast(list[str], d.pop("topics", UNSET))

        def _parse_password(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        password = _parse_password(d.pop("password", UNSET))

        new_person = cls(
            name=name,
            kind=kind,
            roles=roles,
            topics=topics,
            password=password,
        )

        return new_person
