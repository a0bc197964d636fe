from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.lineage_node_kind import LineageNodeKind, check_lineage_node_kind
from ..types import UNSET, Unset

T = TypeVar("T", bound="LineageNode")


@_attrs_define
class LineageNode:
    """One thing in a lineage. What the caller may not see has a kind only; if it was made of something of his, also
    company
    and state; if his was made of it, also that it was revoked.

        Attributes:
            id (str): its id; `hidden_1` and so on, which means nothing, for what the caller may not see
            kind (LineageNodeKind):
            name (str | Unset):  Default: ''.
            company (str | Unset):  Default: ''.
            state (str | Unset):  Default: ''.
            deleted (bool | Unset):  Default: False.
            revoked (str | Unset): why its owner took it back; empty: it was not Default: ''.
    """

    id: str
    kind: LineageNodeKind
    name: str | Unset = ""
    company: str | Unset = ""
    state: str | Unset = ""
    deleted: bool | Unset = False
    revoked: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        kind: str = self.kind

        name = self.name

        company = self.company

        state = self.state

        deleted = self.deleted

        revoked = self.revoked

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "kind": kind,
            }
        )
        if name is not UNSET:
            field_dict["name"] = name
        if company is not UNSET:
            field_dict["company"] = company
        if state is not UNSET:
            field_dict["state"] = state
        if deleted is not UNSET:
            field_dict["deleted"] = deleted
        if revoked is not UNSET:
            field_dict["revoked"] = revoked

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        id = d.pop("id")

        kind = check_lineage_node_kind(d.pop("kind"))

        name = d.pop("name", UNSET)

        company = d.pop("company", UNSET)

        state = d.pop("state", UNSET)

        deleted = d.pop("deleted", UNSET)

        revoked = d.pop("revoked", UNSET)

        lineage_node = cls(
            id=id,
            kind=kind,
            name=name,
            company=company,
            state=state,
            deleted=deleted,
            revoked=revoked,
        )

        return lineage_node
