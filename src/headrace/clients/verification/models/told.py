from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.dataset import Dataset
    from ..models.model import Model


T = TypeVar("T", bound="Told")


@_attrs_define
class Told:
    """An asset, with whatever it is made of.

    Attributes:
        asset (str): id of the one that it is about
        datasets (list[Dataset] | Unset):
        models (list[Model] | Unset):
    """

    asset: str
    datasets: list[Dataset] | Unset = UNSET
    models: list[Model] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        asset = self.asset

        datasets: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.datasets, Unset):
            datasets = []
            for datasets_item_data in self.datasets:
                datasets_item = datasets_item_data.to_dict()
                datasets.append(datasets_item)

        models: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.models, Unset):
            models = []
            for models_item_data in self.models:
                models_item = models_item_data.to_dict()
                models.append(models_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "asset": asset,
            }
        )
        if datasets is not UNSET:
            field_dict["datasets"] = datasets
        if models is not UNSET:
            field_dict["models"] = models

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.dataset import Dataset
        from ..models.model import Model

        d = dict(src_dict)
        asset = d.pop("asset")

        _datasets = d.pop("datasets", UNSET)
        datasets: list[Dataset] | Unset = UNSET
        if _datasets is not UNSET:
            datasets = []
            for datasets_item_data in _datasets:
                datasets_item = Dataset.from_dict(datasets_item_data)

                datasets.append(datasets_item)

        _models = d.pop("models", UNSET)
        models: list[Model] | Unset = UNSET
        if _models is not UNSET:
            models = []
            for models_item_data in _models:
                models_item = Model.from_dict(models_item_data)

                models.append(models_item)

        told = cls(
            asset=asset,
            datasets=datasets,
            models=models,
        )

        return told
