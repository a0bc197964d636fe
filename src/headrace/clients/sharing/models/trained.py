from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.job import Job
    from ..models.trained_found import TrainedFound


T = TypeVar("T", bound="Trained")


@_attrs_define
class Trained:
    """A job that ended well; its files were put before.

    Attributes:
        job (Job): A run of a recipe. The table is the truth; what is said about it elsewhere is a nudge.
        paths (list[str]):
        found (TrainedFound):
    """

    job: Job
    paths: list[str]
    found: TrainedFound

    def to_dict(self) -> dict[str, Any]:
        job = self.job.to_dict()

        paths = self.paths

        found = self.found.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "job": job,
                "paths": paths,
                "found": found,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.job import Job
        from ..models.trained_found import TrainedFound

        d = dict(src_dict)
        job = Job.from_dict(d.pop("job"))

        paths = cast(list[str], d.pop("paths"))

        found = TrainedFound.from_dict(d.pop("found"))

        trained = cls(
            job=job,
            paths=paths,
            found=found,
        )

        return trained
