from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.stored import Stored


T = TypeVar("T", bound="StreamRange")


@_attrs_define
class StreamRange:
    """The part of a stream a dataset was made of.

    Attributes:
        topic (str):
        from_ms (int):
        to_ms (int):
        first_position (int): log position of its first record
        last_position (int): log position of its last record
        records (int):
        root (str): Merkle root over its raw records in log order
        raw (None | Stored | Unset): the file of these records, JSON lines: each line is a leaf of the root
    """

    topic: str
    from_ms: int
    to_ms: int
    first_position: int
    last_position: int
    records: int
    root: str
    raw: None | Stored | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.stored import Stored

        topic = self.topic

        from_ms = self.from_ms

        to_ms = self.to_ms

        first_position = self.first_position

        last_position = self.last_position

        records = self.records

        root = self.root

        raw: dict[str, Any] | None | Unset
        if isinstance(self.raw, Unset):
            raw = UNSET
        elif isinstance(self.raw, Stored):
            raw = self.raw.to_dict()
        else:
            raw = self.raw

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "topic": topic,
                "from_ms": from_ms,
                "to_ms": to_ms,
                "first_position": first_position,
                "last_position": last_position,
                "records": records,
                "root": root,
            }
        )
        if raw is not UNSET:
            field_dict["raw"] = raw

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.stored import Stored

        d = dict(src_dict)
        topic = d.pop("topic")

        from_ms = d.pop("from_ms")

        to_ms = d.pop("to_ms")

        first_position = d.pop("first_position")

        last_position = d.pop("last_position")

        records = d.pop("records")

        root = d.pop("root")

        def _parse_raw(data: object) -> None | Stored | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                raw_type_0 = Stored.from_dict(data)

                return raw_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Stored | Unset, data)

        raw = _parse_raw(d.pop("raw", UNSET))

        stream_range = cls(
            topic=topic,
            from_ms=from_ms,
            to_ms=to_ms,
            first_position=first_position,
            last_position=last_position,
            records=records,
            root=root,
            raw=raw,
        )

        return stream_range
