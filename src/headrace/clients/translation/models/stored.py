from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Stored")


@_attrs_define
class Stored:
    """Content that was taken in whole: its size and what it is known by.

    Attributes:
        size (int): bytes
        sha256 (str): digest of the whole content
        root (str): Merkle root over leaves of 1 MiB (RFC 6962 hashing)
    """

    size: int
    sha256: str
    root: str

    def to_dict(self) -> dict[str, Any]:
        size = self.size

        sha256 = self.sha256

        root = self.root

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "size": size,
                "sha256": sha256,
                "root": root,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        size = d.pop("size")

        sha256 = d.pop("sha256")

        root = d.pop("root")

        stored = cls(
            size=size,
            sha256=sha256,
            root=root,
        )

        return stored
