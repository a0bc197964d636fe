from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Snapshot")


@_attrs_define
class Snapshot:
    """Which learner published a model, and the part of the company's log its state is a function of.

    Attributes:
        model (str): name of the online model
        generation (str): of the applied spec
        spec (str): digest of the spec and the user's files it came with
        published_ms (int): event time of the decision
        first_position (int): log position its learner began at
        last_position (int): log position of the last record that went into it
        records (int): records of the log in that range, of all topics
        root (str): Merkle root over these raw records in log order
        environment (str): digest of the environment it was learned in
        key (str | Unset):  Default: ''.
    """

    model: str
    generation: str
    spec: str
    published_ms: int
    first_position: int
    last_position: int
    records: int
    root: str
    environment: str
    key: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        generation = self.generation

        spec = self.spec

        published_ms = self.published_ms

        first_position = self.first_position

        last_position = self.last_position

        records = self.records

        root = self.root

        environment = self.environment

        key = self.key

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
                "generation": generation,
                "spec": spec,
                "published_ms": published_ms,
                "first_position": first_position,
                "last_position": last_position,
                "records": records,
                "root": root,
                "environment": environment,
            }
        )
        if key is not UNSET:
            field_dict["key"] = key

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        model = d.pop("model")

        generation = d.pop("generation")

        spec = d.pop("spec")

        published_ms = d.pop("published_ms")

        first_position = d.pop("first_position")

        last_position = d.pop("last_position")

        records = d.pop("records")

        root = d.pop("root")

        environment = d.pop("environment")

        key = d.pop("key", UNSET)

        snapshot = cls(
            model=model,
            generation=generation,
            spec=spec,
            published_ms=published_ms,
            first_position=first_position,
            last_position=last_position,
            records=records,
            root=root,
            environment=environment,
            key=key,
        )

        return snapshot
