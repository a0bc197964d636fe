from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.evaluated_metrics import EvaluatedMetrics
    from ..models.job import Job


T = TypeVar("T", bound="Evaluated")


@_attrs_define
class Evaluated:
    """What a job measured.

    Attributes:
        job (Job): A run of a recipe. The table is the truth; what is said about it elsewhere is a nudge.
        metrics (EvaluatedMetrics):
    """

    job: Job
    metrics: EvaluatedMetrics

    def to_dict(self) -> dict[str, Any]:
        job = self.job.to_dict()

        metrics = self.metrics.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "job": job,
                "metrics": metrics,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.evaluated_metrics import EvaluatedMetrics
        from ..models.job import Job

        d = dict(src_dict)
        job = Job.from_dict(d.pop("job"))

        metrics = EvaluatedMetrics.from_dict(d.pop("metrics"))

        evaluated = cls(
            job=job,
            metrics=metrics,
        )

        return evaluated
