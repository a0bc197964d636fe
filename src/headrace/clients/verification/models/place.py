from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Place")


@_attrs_define
class Place:
    """Where an act stands in the chain.

    Attributes:
        transaction (str):
        contract (str):
        block (int):
        block_hash (str):
    """

    transaction: str
    contract: str
    block: int
    block_hash: str

    def to_dict(self) -> dict[str, Any]:
        transaction = self.transaction

        contract = self.contract

        block = self.block

        block_hash = self.block_hash

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "transaction": transaction,
                "contract": contract,
                "block": block,
                "block_hash": block_hash,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        transaction = d.pop("transaction")

        contract = d.pop("contract")

        block = d.pop("block")

        block_hash = d.pop("block_hash")

        place = cls(
            transaction=transaction,
            contract=contract,
            block=block,
            block_hash=block_hash,
        )

        return place
