from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.dataset_anchoring import DatasetAnchoring, check_dataset_anchoring
from ..models.dataset_statistics_state import (
    DatasetStatisticsState,
    check_dataset_statistics_state,
)
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.dataset_statistics_type_0 import DatasetStatisticsType0
    from ..models.stored import Stored
    from ..models.stream_range import StreamRange


T = TypeVar("T", bound="Dataset")


@_attrs_define
class Dataset:
    """A registered dataset.

    Attributes:
        id (str):
        company (str): the owner
        name (str):
        created_ms (int):
        created_by (str):
        media (str): csv, parquet, npy, npz, images or other
        filename (str):
        stored (Stored): Content that was taken in whole: its size and what it is known by.
        description (str | Unset):  Default: ''.
        statistics_state (DatasetStatisticsState | Unset):  Default: 'pending'.
        statistics_error (str | Unset):  Default: ''.
        samples (int | None | Unset): number of samples
        sample_shape (list[int] | None | Unset):
        statistics (DatasetStatisticsType0 | None | Unset): unidimensional and matrix statistics
        stream (None | StreamRange | Unset): set when it was made of a stream
        confidential (bool | Unset): its metadata are encrypted beside the ledger, which holds their digest Default:
            False.
        contract (str | Unset): address of its contract; of a snapshot that of the contract its batch was anchored in;
            empty: not recorded yet Default: ''.
        anchoring (DatasetAnchoring | Unset): off: no ledger here; waiting; anchored: the ledger has its claim, and a
            training's result; failed: see the note Default: 'off'.
        anchoring_note (str | Unset): what it waits for, or why it failed Default: ''.
        deleted_ms (int | None | Unset): set: a tombstone; only the record is left
    """

    id: str
    company: str
    name: str
    created_ms: int
    created_by: str
    media: str
    filename: str
    stored: Stored
    description: str | Unset = ""
    statistics_state: DatasetStatisticsState | Unset = "pending"
    statistics_error: str | Unset = ""
    samples: int | None | Unset = UNSET
    sample_shape: list[int] | None | Unset = UNSET
    statistics: DatasetStatisticsType0 | None | Unset = UNSET
    stream: None | StreamRange | Unset = UNSET
    confidential: bool | Unset = False
    contract: str | Unset = ""
    anchoring: DatasetAnchoring | Unset = "off"
    anchoring_note: str | Unset = ""
    deleted_ms: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.dataset_statistics_type_0 import DatasetStatisticsType0
        from ..models.stream_range import StreamRange

        id = self.id

        company = self.company

        name = self.name

        created_ms = self.created_ms

        created_by = self.created_by

        media = self.media

        filename = self.filename

        stored = self.stored.to_dict()

        description = self.description

        statistics_state: str | Unset = UNSET
        if not isinstance(self.statistics_state, Unset):
            statistics_state = self.statistics_state

        statistics_error = self.statistics_error

        samples: int | None | Unset
        if isinstance(self.samples, Unset):
            samples = UNSET
        else:
            samples = self.samples

        sample_shape: list[int] | None | Unset
        if isinstance(self.sample_shape, Unset):
            sample_shape = UNSET
        elif isinstance(self.sample_shape, list):
            sample_shape = self.sample_shape

        else:
            sample_shape = self.sample_shape

        statistics: dict[str, Any] | None | Unset
        if isinstance(self.statistics, Unset):
            statistics = UNSET
        elif isinstance(self.statistics, DatasetStatisticsType0):
            statistics = self.statistics.to_dict()
        else:
            statistics = self.statistics

        stream: dict[str, Any] | None | Unset
        if isinstance(self.stream, Unset):
            stream = UNSET
        elif isinstance(self.stream, StreamRange):
            stream = self.stream.to_dict()
        else:
            stream = self.stream

        confidential = self.confidential

        contract = self.contract

        anchoring: str | Unset = UNSET
        if not isinstance(self.anchoring, Unset):
            anchoring = self.anchoring

        anchoring_note = self.anchoring_note

        deleted_ms: int | None | Unset
        if isinstance(self.deleted_ms, Unset):
            deleted_ms = UNSET
        else:
            deleted_ms = self.deleted_ms

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "company": company,
                "name": name,
                "created_ms": created_ms,
                "created_by": created_by,
                "media": media,
                "filename": filename,
                "stored": stored,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description
        if statistics_state is not UNSET:
            field_dict["statistics_state"] = statistics_state
        if statistics_error is not UNSET:
            field_dict["statistics_error"] = statistics_error
        if samples is not UNSET:
            field_dict["samples"] = samples
        if sample_shape is not UNSET:
            field_dict["sample_shape"] = sample_shape
        if statistics is not UNSET:
            field_dict["statistics"] = statistics
        if stream is not UNSET:
            field_dict["stream"] = stream
        if confidential is not UNSET:
            field_dict["confidential"] = confidential
        if contract is not UNSET:
            field_dict["contract"] = contract
        if anchoring is not UNSET:
            field_dict["anchoring"] = anchoring
        if anchoring_note is not UNSET:
            field_dict["anchoring_note"] = anchoring_note
        if deleted_ms is not UNSET:
            field_dict["deleted_ms"] = deleted_ms

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.dataset_statistics_type_0 import DatasetStatisticsType0
        from ..models.stored import Stored
        from ..models.stream_range import StreamRange

        d = dict(src_dict)
        id = d.pop("id")

        company = d.pop("company")

        name = d.pop("name")

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        media = d.pop("media")

        filename = d.pop("filename")

        stored = Stored.from_dict(d.pop("stored"))

        description = d.pop("description", UNSET)

        _statistics_state = d.pop("statistics_state", UNSET)
        statistics_state: DatasetStatisticsState | Unset
        if isinstance(_statistics_state, Unset):
            statistics_state = UNSET
        else:
            statistics_state = check_dataset_statistics_state(_statistics_state)

        statistics_error = d.pop("statistics_error", UNSET)

        def _parse_samples(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        samples = _parse_samples(d.pop("samples", UNSET))

        def _parse_sample_shape(data: object) -> list[int] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                sample_shape_type_0 = cast(list[int], data)

                return sample_shape_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[int] | None | Unset, data)

        sample_shape = _parse_sample_shape(d.pop("sample_shape", UNSET))

        def _parse_statistics(data: object) -> DatasetStatisticsType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                statistics_type_0 = DatasetStatisticsType0.from_dict(data)

                return statistics_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DatasetStatisticsType0 | None | Unset, data)

        statistics = _parse_statistics(d.pop("statistics", UNSET))

        def _parse_stream(data: object) -> None | StreamRange | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                stream_type_0 = StreamRange.from_dict(data)

                return stream_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | StreamRange | Unset, data)

        stream = _parse_stream(d.pop("stream", UNSET))

        confidential = d.pop("confidential", UNSET)

        contract = d.pop("contract", UNSET)

        _anchoring = d.pop("anchoring", UNSET)
        anchoring: DatasetAnchoring | Unset
        if isinstance(_anchoring, Unset):
            anchoring = UNSET
        else:
            anchoring = check_dataset_anchoring(_anchoring)

        anchoring_note = d.pop("anchoring_note", UNSET)

        def _parse_deleted_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        deleted_ms = _parse_deleted_ms(d.pop("deleted_ms", UNSET))

        dataset = cls(
            id=id,
            company=company,
            name=name,
            created_ms=created_ms,
            created_by=created_by,
            media=media,
            filename=filename,
            stored=stored,
            description=description,
            statistics_state=statistics_state,
            statistics_error=statistics_error,
            samples=samples,
            sample_shape=sample_shape,
            statistics=statistics,
            stream=stream,
            confidential=confidential,
            contract=contract,
            anchoring=anchoring,
            anchoring_note=anchoring_note,
            deleted_ms=deleted_ms,
        )

        return dataset
