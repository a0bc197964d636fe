from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.said_kind import SaidKind, check_said_kind
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.inclusion import Inclusion
    from ..models.place import Place
    from ..models.said_claim import SaidClaim
    from ..models.said_opened_type_0 import SaidOpenedType0
    from ..models.said_result_opened_type_0 import SaidResultOpenedType0
    from ..models.said_result_type_0 import SaidResultType0


T = TypeVar("T", bound="Said")


@_attrs_define
class Said:
    """All that the ledger says of an asset.

    Attributes:
        asset (str):
        company (str):
        address (str): of its contract; of a snapshot that of the contract its batch was anchored in
        kind (SaidKind):
        owner (str): address of the company's account
        claim (SaidClaim): as it stands there
        claim_digest (str): of its canonical JSON
        deployed (Place): Where an act stands in the chain.
        opened (None | SaidOpenedType0 | Unset): of a sealed claim: what it says, for whom it may concern
        result (None | SaidResultType0 | Unset): of a training; null: none has ended, or it may not be shown
        result_digest (str | Unset):  Default: ''.
        result_opened (None | SaidResultOpenedType0 | Unset):
        revoked (None | str | Unset): the reason; null: it is not
        recorded (None | Place | Unset):
        inclusion (Inclusion | None | Unset): of a snapshot
    """

    asset: str
    company: str
    address: str
    kind: SaidKind
    owner: str
    claim: SaidClaim
    claim_digest: str
    deployed: Place
    opened: None | SaidOpenedType0 | Unset = UNSET
    result: None | SaidResultType0 | Unset = UNSET
    result_digest: str | Unset = ""
    result_opened: None | SaidResultOpenedType0 | Unset = UNSET
    revoked: None | str | Unset = UNSET
    recorded: None | Place | Unset = UNSET
    inclusion: Inclusion | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.inclusion import Inclusion
        from ..models.place import Place
        from ..models.said_opened_type_0 import SaidOpenedType0
        from ..models.said_result_opened_type_0 import SaidResultOpenedType0
        from ..models.said_result_type_0 import SaidResultType0

        asset = self.asset

        company = self.company

        address = self.address

        kind: str = self.kind

        owner = self.owner

        claim = self.claim.to_dict()

        claim_digest = self.claim_digest

        deployed = self.deployed.to_dict()

        opened: dict[str, Any] | None | Unset
        if isinstance(self.opened, Unset):
            opened = UNSET
        elif isinstance(self.opened, SaidOpenedType0):
            opened = self.opened.to_dict()
        else:
            opened = self.opened

        result: dict[str, Any] | None | Unset
        if isinstance(self.result, Unset):
            result = UNSET
        elif isinstance(self.result, SaidResultType0):
            result = self.result.to_dict()
        else:
            result = self.result

        result_digest = self.result_digest

        result_opened: dict[str, Any] | None | Unset
        if isinstance(self.result_opened, Unset):
            result_opened = UNSET
        elif isinstance(self.result_opened, SaidResultOpenedType0):
            result_opened = self.result_opened.to_dict()
        else:
            result_opened = self.result_opened

        revoked: None | str | Unset
        if isinstance(self.revoked, Unset):
            revoked = UNSET
        else:
            revoked = self.revoked

        recorded: dict[str, Any] | None | Unset
        if isinstance(self.recorded, Unset):
            recorded = UNSET
        elif isinstance(self.recorded, Place):
            recorded = self.recorded.to_dict()
        else:
            recorded = self.recorded

        inclusion: dict[str, Any] | None | Unset
        if isinstance(self.inclusion, Unset):
            inclusion = UNSET
        elif isinstance(self.inclusion, Inclusion):
            inclusion = self.inclusion.to_dict()
        else:
            inclusion = self.inclusion

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "asset": asset,
                "company": company,
                "address": address,
                "kind": kind,
                "owner": owner,
                "claim": claim,
                "claim_digest": claim_digest,
                "deployed": deployed,
            }
        )
        if opened is not UNSET:
            field_dict["opened"] = opened
        if result is not UNSET:
            field_dict["result"] = result
        if result_digest is not UNSET:
            field_dict["result_digest"] = result_digest
        if result_opened is not UNSET:
            field_dict["result_opened"] = result_opened
        if revoked is not UNSET:
            field_dict["revoked"] = revoked
        if recorded is not UNSET:
            field_dict["recorded"] = recorded
        if inclusion is not UNSET:
            field_dict["inclusion"] = inclusion

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.inclusion import Inclusion
        from ..models.place import Place
        from ..models.said_claim import SaidClaim
        from ..models.said_opened_type_0 import SaidOpenedType0
        from ..models.said_result_opened_type_0 import SaidResultOpenedType0
        from ..models.said_result_type_0 import SaidResultType0

        d = dict(src_dict)
        asset = d.pop("asset")

        company = d.pop("company")

        address = d.pop("address")

        kind = check_said_kind(d.pop("kind"))

        owner = d.pop("owner")

        claim = SaidClaim.from_dict(d.pop("claim"))

        claim_digest = d.pop("claim_digest")

        deployed = Place.from_dict(d.pop("deployed"))

        def _parse_opened(data: object) -> None | SaidOpenedType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                opened_type_0 = SaidOpenedType0.from_dict(data)

                return opened_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SaidOpenedType0 | Unset, data)

        opened = _parse_opened(d.pop("opened", UNSET))

        def _parse_result(data: object) -> None | SaidResultType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                result_type_0 = SaidResultType0.from_dict(data)

                return result_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SaidResultType0 | Unset, data)

        result = _parse_result(d.pop("result", UNSET))

        result_digest = d.pop("result_digest", UNSET)

        def _parse_result_opened(data: object) -> None | SaidResultOpenedType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                result_opened_type_0 = SaidResultOpenedType0.from_dict(data)

                return result_opened_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | SaidResultOpenedType0 | Unset, data)

        result_opened = _parse_result_opened(d.pop("result_opened", UNSET))

        def _parse_revoked(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        revoked = _parse_revoked(d.pop("revoked", UNSET))

        def _parse_recorded(data: object) -> None | Place | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                recorded_type_0 = Place.from_dict(data)

                return recorded_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Place | Unset, data)

        recorded = _parse_recorded(d.pop("recorded", UNSET))

        def _parse_inclusion(data: object) -> Inclusion | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                inclusion_type_0 = Inclusion.from_dict(data)

                return inclusion_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(Inclusion | None | Unset, data)

        inclusion = _parse_inclusion(d.pop("inclusion", UNSET))

        said = cls(
            asset=asset,
            company=company,
            address=address,
            kind=kind,
            owner=owner,
            claim=claim,
            claim_digest=claim_digest,
            deployed=deployed,
            opened=opened,
            result=result,
            result_digest=result_digest,
            result_opened=result_opened,
            revoked=revoked,
            recorded=recorded,
            inclusion=inclusion,
        )

        return said
