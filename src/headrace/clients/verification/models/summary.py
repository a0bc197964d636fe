from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.input_ import Input
    from ..models.summary_details import SummaryDetails
    from ..models.summary_metrics import SummaryMetrics


T = TypeVar("T", bound="Summary")


@_attrs_define
class Summary:
    """What was verified, in the words of its claim on the ledger and of nothing else.

    Attributes:
        kind (str): dataset, model (trained from a recipe), model_unverified (uploaded), translation or snapshot
        says (str): the kind in words
        name (str):
        company (str):
        created_ms (int | None | Unset): when it was registered, as its claim says
        recorded_ms (int | None | Unset): when the ledger took its claim, by its operator's clock; null: unknown
        digest (str | Unset): of its content; empty: no result is recorded, or not for the reader Default: ''.
        files (int | None | Unset):
        size (int | None | Unset): bytes of its content
        metrics (SummaryMetrics | Unset): as its company recorded them when it was trained or uploaded
        inputs (list[Input] | Unset): what it was made of, as far as it is recorded
        details (SummaryDetails | Unset): what else the claim says of one of its kind
    """

    kind: str
    says: str
    name: str
    company: str
    created_ms: int | None | Unset = UNSET
    recorded_ms: int | None | Unset = UNSET
    digest: str | Unset = ""
    files: int | None | Unset = UNSET
    size: int | None | Unset = UNSET
    metrics: SummaryMetrics | Unset = UNSET
    inputs: list[Input] | Unset = UNSET
    details: SummaryDetails | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        says = self.says

        name = self.name

        company = self.company

        created_ms: int | None | Unset
        if isinstance(self.created_ms, Unset):
            created_ms = UNSET
        else:
            created_ms = self.created_ms

        recorded_ms: int | None | Unset
        if isinstance(self.recorded_ms, Unset):
            recorded_ms = UNSET
        else:
            recorded_ms = self.recorded_ms

        digest = self.digest

        files: int | None | Unset
        if isinstance(self.files, Unset):
            files = UNSET
        else:
            files = self.files

        size: int | None | Unset
        if isinstance(self.size, Unset):
            size = UNSET
        else:
            size = self.size

        metrics: dict[str, Any] | Unset = UNSET
        if not isinstance(self.metrics, Unset):
            metrics = self.metrics.to_dict()

        inputs: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.inputs, Unset):
            inputs = []
            for inputs_item_data in self.inputs:
                inputs_item = inputs_item_data.to_dict()
                inputs.append(inputs_item)

        details: dict[str, Any] | Unset = UNSET
        if not isinstance(self.details, Unset):
            details = self.details.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "kind": kind,
                "says": says,
                "name": name,
                "company": company,
            }
        )
        if created_ms is not UNSET:
            field_dict["created_ms"] = created_ms
        if recorded_ms is not UNSET:
            field_dict["recorded_ms"] = recorded_ms
        if digest is not UNSET:
            field_dict["digest"] = digest
        if files is not UNSET:
            field_dict["files"] = files
        if size is not UNSET:
            field_dict["size"] = size
        if metrics is not UNSET:
            field_dict["metrics"] = metrics
        if inputs is not UNSET:
            field_dict["inputs"] = inputs
        if details is not UNSET:
            field_dict["details"] = details

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.input_ import Input
        from ..models.summary_details import SummaryDetails
        from ..models.summary_metrics import SummaryMetrics

        d = dict(src_dict)
        kind = d.pop("kind")

        says = d.pop("says")

        name = d.pop("name")

        company = d.pop("company")

        def _parse_created_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        created_ms = _parse_created_ms(d.pop("created_ms", UNSET))

        def _parse_recorded_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        recorded_ms = _parse_recorded_ms(d.pop("recorded_ms", UNSET))

        digest = d.pop("digest", UNSET)

        def _parse_files(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        files = _parse_files(d.pop("files", UNSET))

        def _parse_size(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        size = _parse_size(d.pop("size", UNSET))

        _metrics = d.pop("metrics", UNSET)
        metrics: SummaryMetrics | Unset
        if isinstance(_metrics, Unset):
            metrics = UNSET
        else:
            metrics = SummaryMetrics.from_dict(_metrics)

        _inputs = d.pop("inputs", UNSET)
        inputs: list[Input] | Unset = UNSET
        if _inputs is not UNSET:
            inputs = []
            for inputs_item_data in _inputs:
                inputs_item = Input.from_dict(inputs_item_data)

                inputs.append(inputs_item)

        _details = d.pop("details", UNSET)
        details: SummaryDetails | Unset
        if isinstance(_details, Unset):
            details = UNSET
        else:
            details = SummaryDetails.from_dict(_details)

        summary = cls(
            kind=kind,
            says=says,
            name=name,
            company=company,
            created_ms=created_ms,
            recorded_ms=recorded_ms,
            digest=digest,
            files=files,
            size=size,
            metrics=metrics,
            inputs=inputs,
            details=details,
        )

        return summary
