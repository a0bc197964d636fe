from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="Keys")


@_attrs_define
class Keys:
    """What a company's records are signed with.

    Attributes:
        company (str):
        account (str): address of its account on the ledger
        operator (str): fingerprint of the key that signs the ledger's tree heads
        signing_key (str | Unset): public key of its signatures, PEM; empty: nothing is signed here Default: ''.
        signer (str | Unset): fingerprint of that key: what a verifier pins Default: ''.
    """

    company: str
    account: str
    operator: str
    signing_key: str | Unset = ""
    signer: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        company = self.company

        account = self.account

        operator = self.operator

        signing_key = self.signing_key

        signer = self.signer

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "company": company,
                "account": account,
                "operator": operator,
            }
        )
        if signing_key is not UNSET:
            field_dict["signing_key"] = signing_key
        if signer is not UNSET:
            field_dict["signer"] = signer

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        company = d.pop("company")

        account = d.pop("account")

        operator = d.pop("operator")

        signing_key = d.pop("signing_key", UNSET)

        signer = d.pop("signer", UNSET)

        keys = cls(
            company=company,
            account=account,
            operator=operator,
            signing_key=signing_key,
            signer=signer,
        )

        return keys
