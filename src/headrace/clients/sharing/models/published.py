from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.published_found import PublishedFound
    from ..models.snapshot import Snapshot


T = TypeVar("T", bound="Published")


@_attrs_define
class Published:
    """What an online model published; its weights were put before.

    Attributes:
        snapshot (Snapshot): Which learner published a model, and the part of the company's log its state is a function
            of.
        name (str):
        content (str):
        found (PublishedFound):
    """

    snapshot: Snapshot
    name: str
    content: str
    found: PublishedFound

    def to_dict(self) -> dict[str, Any]:
        snapshot = self.snapshot.to_dict()

        name = self.name

        content = self.content

        found = self.found.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "snapshot": snapshot,
                "name": name,
                "content": content,
                "found": found,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.published_found import PublishedFound
        from ..models.snapshot import Snapshot

        d = dict(src_dict)
        snapshot = Snapshot.from_dict(d.pop("snapshot"))

        name = d.pop("name")

        content = d.pop("content")

        found = PublishedFound.from_dict(d.pop("found"))

        published = cls(
            snapshot=snapshot,
            name=name,
            content=content,
            found=found,
        )

        return published
