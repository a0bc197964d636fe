from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="TokenBodyType0")


@_attrs_define
class TokenBodyType0:
    """
    Attributes:
        grant_type (Literal['password']):
        username (str):
        password (str):
        company (str | Unset):
        client_id (str | Unset):
    """

    grant_type: Literal["password"]
    username: str
    password: str
    company: str | Unset = UNSET
    client_id: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        grant_type = self.grant_type

        username = self.username

        password = self.password

        company = self.company

        client_id = self.client_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "grant_type": grant_type,
                "username": username,
                "password": password,
            }
        )
        if company is not UNSET:
            field_dict["company"] = company
        if client_id is not UNSET:
            field_dict["client_id"] = client_id

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        grant_type = cast(Literal["password"], d.pop("grant_type"))
        if grant_type != "password":
            raise ValueError(
                f"grant_type must match const 'password', got '{grant_type}'"
            )

        username = d.pop("username")

        password = d.pop("password")

        company = d.pop("company", UNSET)

        client_id = d.pop("client_id", UNSET)

        token_body_type_0 = cls(
            grant_type=grant_type,
            username=username,
            password=password,
            company=company,
            client_id=client_id,
        )

        token_body_type_0.additional_properties = d
        return token_body_type_0

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
