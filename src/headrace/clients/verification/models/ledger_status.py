from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="LedgerStatus")


@_attrs_define
class LedgerStatus:
    """The ledger at a glance.

    Attributes:
        kind (str):
        chain (int): EIP-155 chain id
        genesis (str): hash of the first block
        height (int):
        single (bool): true: one operator runs it alone, and could write another one
        operator (str): fingerprint of the key that signs its tree heads: what a verifier pins
        says (str): the same for people
        company (str): the caller's
        account (str): address of its account there
        warning (str | Unset): what is wrong: another chain than the records name, a changed log; empty: nothing
            Default: ''.
    """

    kind: str
    chain: int
    genesis: str
    height: int
    single: bool
    operator: str
    says: str
    company: str
    account: str
    warning: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        chain = self.chain

        genesis = self.genesis

        height = self.height

        single = self.single

        operator = self.operator

        says = self.says

        company = self.company

        account = self.account

        warning = self.warning

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "chain": chain,
                "genesis": genesis,
                "height": height,
                "single": single,
                "operator": operator,
                "says": says,
                "company": company,
                "account": account,
            }
        )
        if warning is not UNSET:
            field_dict["warning"] = warning

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = d.pop("kind")

        chain = d.pop("chain")

        genesis = d.pop("genesis")

        height = d.pop("height")

        single = d.pop("single")

        operator = d.pop("operator")

        says = d.pop("says")

        company = d.pop("company")

        account = d.pop("account")

        warning = d.pop("warning", UNSET)

        ledger_status = cls(
            kind=kind,
            chain=chain,
            genesis=genesis,
            height=height,
            single=single,
            operator=operator,
            says=says,
            company=company,
            account=account,
            warning=warning,
        )

        return ledger_status
