from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.job_kind import JobKind, check_job_kind
from ..models.job_state import JobState, check_job_state
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.job_metrics import JobMetrics


T = TypeVar("T", bound="Job")


@_attrs_define
class Job:
    """A run of a recipe. The table is the truth; what is said about it elsewhere is a nudge.

    Attributes:
        id (str):
        company (str):
        model (str):
        created_ms (int):
        created_by (str):
        kind (JobKind | Unset): train; evaluate the trained model; reproduce: train again and compare Default: 'train'.
        dataset (str | Unset): id of the held-out dataset of an evaluation Default: ''.
        state (JobState | Unset):  Default: 'queued'.
        priority (int | Unset): higher goes first Default: 0.
        attempt (int | Unset): how often it was started, by whatever cause Default: 0.
        attempts (int | Unset): how often the code may fail before the job counts as failed; a retry counts anew
            Default: 1.
        started_ms (int | None | Unset):
        ended_ms (int | None | Unset):
        progress (float | None | Unset): 0 to 1, as the code says
        message (str | Unset): the code's last word about its progress Default: ''.
        reason (str | Unset): why it failed or was cancelled, and what to do Default: ''.
        exit_code (int | None | Unset):
        peak_memory_bytes (int | None | Unset):
        log_bytes (int | Unset): of all attempts whose logs are kept Default: 0.
        runner (str | Unset): local, container, or unsafe: without a sandbox (`--unsafe-no-sandbox`) Default: ''.
        metrics (JobMetrics | Unset): what the code measured; empty while held
        held_for (list[str] | Unset): companies whose data it may only train on: until they release, only its state and
            times are shown
    """

    id: str
    company: str
    model: str
    created_ms: int
    created_by: str
    kind: JobKind | Unset = "train"
    dataset: str | Unset = ""
    state: JobState | Unset = "queued"
    priority: int | Unset = 0
    attempt: int | Unset = 0
    attempts: int | Unset = 1
    started_ms: int | None | Unset = UNSET
    ended_ms: int | None | Unset = UNSET
    progress: float | None | Unset = UNSET
    message: str | Unset = ""
    reason: str | Unset = ""
    exit_code: int | None | Unset = UNSET
    peak_memory_bytes: int | None | Unset = UNSET
    log_bytes: int | Unset = 0
    runner: str | Unset = ""
    metrics: JobMetrics | Unset = UNSET
    held_for: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        id = self.id

        company = self.company

        model = self.model

        created_ms = self.created_ms

        created_by = self.created_by

        kind: str | Unset = UNSET
        if not isinstance(self.kind, Unset):
            kind = self.kind

        dataset = self.dataset

        state: str | Unset = UNSET
        if not isinstance(self.state, Unset):
            state = self.state

        priority = self.priority

        attempt = self.attempt

        attempts = self.attempts

        started_ms: int | None | Unset
        if isinstance(self.started_ms, Unset):
            started_ms = UNSET
        else:
            started_ms = self.started_ms

        ended_ms: int | None | Unset
        if isinstance(self.ended_ms, Unset):
            ended_ms = UNSET
        else:
            ended_ms = self.ended_ms

        progress: float | None | Unset
        if isinstance(self.progress, Unset):
            progress = UNSET
        else:
            progress = self.progress

        message = self.message

        reason = self.reason

        exit_code: int | None | Unset
        if isinstance(self.exit_code, Unset):
            exit_code = UNSET
        else:
            exit_code = self.exit_code

        peak_memory_bytes: int | None | Unset
        if isinstance(self.peak_memory_bytes, Unset):
            peak_memory_bytes = UNSET
        else:
            peak_memory_bytes = self.peak_memory_bytes

        log_bytes = self.log_bytes

        runner = self.runner

        metrics: dict[str, Any] | Unset = UNSET
        if not isinstance(self.metrics, Unset):
            metrics = self.metrics.to_dict()

        held_for: list[str] | Unset = UNSET
        if not isinstance(self.held_for, Unset):
            held_for = self.held_for

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "id": id,
                "company": company,
                "model": model,
                "created_ms": created_ms,
                "created_by": created_by,
            }
        )
        if kind is not UNSET:
            field_dict["kind"] = kind
        if dataset is not UNSET:
            field_dict["dataset"] = dataset
        if state is not UNSET:
            field_dict["state"] = state
        if priority is not UNSET:
            field_dict["priority"] = priority
        if attempt is not UNSET:
            field_dict["attempt"] = attempt
        if attempts is not UNSET:
            field_dict["attempts"] = attempts
        if started_ms is not UNSET:
            field_dict["started_ms"] = started_ms
        if ended_ms is not UNSET:
            field_dict["ended_ms"] = ended_ms
        if progress is not UNSET:
            field_dict["progress"] = progress
        if message is not UNSET:
            field_dict["message"] = message
        if reason is not UNSET:
            field_dict["reason"] = reason
        if exit_code is not UNSET:
            field_dict["exit_code"] = exit_code
        if peak_memory_bytes is not UNSET:
            field_dict["peak_memory_bytes"] = peak_memory_bytes
        if log_bytes is not UNSET:
            field_dict["log_bytes"] = log_bytes
        if runner is not UNSET:
            field_dict["runner"] = runner
        if metrics is not UNSET:
            field_dict["metrics"] = metrics
        if held_for is not UNSET:
            field_dict["held_for"] = held_for

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.job_metrics import JobMetrics

        d = dict(src_dict)
        id = d.pop("id")

        company = d.pop("company")

        model = d.pop("model")

        created_ms = d.pop("created_ms")

        created_by = d.pop("created_by")

        _kind = d.pop("kind", UNSET)
        kind: JobKind | Unset
        if isinstance(_kind, Unset):
            kind = UNSET
        else:
            kind = check_job_kind(_kind)

        dataset = d.pop("dataset", UNSET)

        _state = d.pop("state", UNSET)
        state: JobState | Unset
        if isinstance(_state, Unset):
            state = UNSET
        else:
            state = check_job_state(_state)

        priority = d.pop("priority", UNSET)

        attempt = d.pop("attempt", UNSET)

        attempts = d.pop("attempts", UNSET)

        def _parse_started_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        started_ms = _parse_started_ms(d.pop("started_ms", UNSET))

        def _parse_ended_ms(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        ended_ms = _parse_ended_ms(d.pop("ended_ms", UNSET))

        def _parse_progress(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        progress = _parse_progress(d.pop("progress", UNSET))

        message = d.pop("message", UNSET)

        reason = d.pop("reason", UNSET)

        def _parse_exit_code(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        exit_code = _parse_exit_code(d.pop("exit_code", UNSET))

        def _parse_peak_memory_bytes(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        peak_memory_bytes = _parse_peak_memory_bytes(d.pop("peak_memory_bytes", UNSET))

        log_bytes = d.pop("log_bytes", UNSET)

        runner = d.pop("runner", UNSET)

        _metrics = d.pop("metrics", UNSET)
        metrics: JobMetrics | Unset
        if isinstance(_metrics, Unset):
            metrics = UNSET
        else:
            metrics = JobMetrics.from_dict(_metrics)

        held_for = cast(list[str], d.pop("held_for", UNSET))

        job = cls(
            id=id,
            company=company,
            model=model,
            created_ms=created_ms,
            created_by=created_by,
            kind=kind,
            dataset=dataset,
            state=state,
            priority=priority,
            attempt=attempt,
            attempts=attempts,
            started_ms=started_ms,
            ended_ms=ended_ms,
            progress=progress,
            message=message,
            reason=reason,
            exit_code=exit_code,
            peak_memory_bytes=peak_memory_bytes,
            log_bytes=log_bytes,
            runner=runner,
            metrics=metrics,
            held_for=held_for,
        )

        return job
