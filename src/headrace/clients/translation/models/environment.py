from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.environment_requires import EnvironmentRequires


T = TypeVar("T", bound="Environment")


@_attrs_define
class Environment:
    """Where a training has to run: the platform's own Python with exact versions, or a container image.

    Attributes:
        image (str | Unset): container image; needs the container runner Default: ''.
        requires (EnvironmentRequires | Unset): package -> exact version, e.g. {'torch': '2.13.0'}
        fingerprint (str | Unset): digest of the whole environment, when only that one will do Default: ''.
    """

    image: str | Unset = ""
    requires: EnvironmentRequires | Unset = UNSET
    fingerprint: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        image = self.image

        requires: dict[str, Any] | Unset = UNSET
        if not isinstance(self.requires, Unset):
            requires = self.requires.to_dict()

        fingerprint = self.fingerprint

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if image is not UNSET:
            field_dict["image"] = image
        if requires is not UNSET:
            field_dict["requires"] = requires
        if fingerprint is not UNSET:
            field_dict["fingerprint"] = fingerprint

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.environment_requires import EnvironmentRequires

        d = dict(src_dict)
        image = d.pop("image", UNSET)

        _requires = d.pop("requires", UNSET)
        requires: EnvironmentRequires | Unset
        if isinstance(_requires, Unset):
            requires = UNSET
        else:
            requires = EnvironmentRequires.from_dict(_requires)

        fingerprint = d.pop("fingerprint", UNSET)

        environment = cls(
            image=image,
            requires=requires,
            fingerprint=fingerprint,
        )

        return environment
