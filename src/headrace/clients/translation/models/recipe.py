from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.environment import Environment
    from ..models.limits import Limits
    from ..models.recipe_parameters import RecipeParameters
    from ..models.recipe_seeds import RecipeSeeds
    from ..models.stored import Stored


T = TypeVar("T", bound="Recipe")


@_attrs_define
class Recipe:
    """Everything a training depends on.

    Attributes:
        code (Stored): Content that was taken in whole: its size and what it is known by.
        entry_point (str | Unset): Python file in the archive Default: 'train.py'.
        parameters (RecipeParameters | Unset):
        seeds (RecipeSeeds | Unset): environment variables
        environment (Environment | Unset): Where a training has to run: the platform's own Python with exact versions,
            or a container image.
        datasets (list[str] | Unset): ids, mounted read-only in this order
        evaluation (list[str] | Unset): ids of held-out datasets the metrics are made on
        parent (str | Unset): id of the model whose weights it starts from Default: ''.
        limits (Limits | Unset): What a job's whole process tree may use.
        deterministic (bool | Unset): false: declared non-deterministic, for ever Default: True.
    """

    code: Stored
    entry_point: str | Unset = "train.py"
    parameters: RecipeParameters | Unset = UNSET
    seeds: RecipeSeeds | Unset = UNSET
    environment: Environment | Unset = UNSET
    datasets: list[str] | Unset = UNSET
    evaluation: list[str] | Unset = UNSET
    parent: str | Unset = ""
    limits: Limits | Unset = UNSET
    deterministic: bool | Unset = True

    def to_dict(self) -> dict[str, Any]:
        code = self.code.to_dict()

        entry_point = self.entry_point

        parameters: dict[str, Any] | Unset = UNSET
        if not isinstance(self.parameters, Unset):
            parameters = self.parameters.to_dict()

        seeds: dict[str, Any] | Unset = UNSET
        if not isinstance(self.seeds, Unset):
            seeds = self.seeds.to_dict()

        environment: dict[str, Any] | Unset = UNSET
        if not isinstance(self.environment, Unset):
            environment = self.environment.to_dict()

        datasets: list[str] | Unset = UNSET
        if not isinstance(self.datasets, Unset):
            datasets = self.datasets

        evaluation: list[str] | Unset = UNSET
        if not isinstance(self.evaluation, Unset):
            evaluation = self.evaluation

        parent = self.parent

        limits: dict[str, Any] | Unset = UNSET
        if not isinstance(self.limits, Unset):
            limits = self.limits.to_dict()

        deterministic = self.deterministic

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "code": code,
            }
        )
        if entry_point is not UNSET:
            field_dict["entry_point"] = entry_point
        if parameters is not UNSET:
            field_dict["parameters"] = parameters
        if seeds is not UNSET:
            field_dict["seeds"] = seeds
        if environment is not UNSET:
            field_dict["environment"] = environment
        if datasets is not UNSET:
            field_dict["datasets"] = datasets
        if evaluation is not UNSET:
            field_dict["evaluation"] = evaluation
        if parent is not UNSET:
            field_dict["parent"] = parent
        if limits is not UNSET:
            field_dict["limits"] = limits
        if deterministic is not UNSET:
            field_dict["deterministic"] = deterministic

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.environment import Environment
        from ..models.limits import Limits
        from ..models.recipe_parameters import RecipeParameters
        from ..models.recipe_seeds import RecipeSeeds
        from ..models.stored import Stored

        d = dict(src_dict)
        code = Stored.from_dict(d.pop("code"))

        entry_point = d.pop("entry_point", UNSET)

        _parameters = d.pop("parameters", UNSET)
        parameters: RecipeParameters | Unset
        if isinstance(_parameters, Unset):
            parameters = UNSET
        else:
            parameters = RecipeParameters.from_dict(_parameters)

        _seeds = d.pop("seeds", UNSET)
        seeds: RecipeSeeds | Unset
        if isinstance(_seeds, Unset):
            seeds = UNSET
        else:
            seeds = RecipeSeeds.from_dict(_seeds)

        _environment = d.pop("environment", UNSET)
        environment: Environment | Unset
        if isinstance(_environment, Unset):
            environment = UNSET
        else:
            environment = Environment.from_dict(_environment)

        datasets = cast(list[str], d.pop("datasets", UNSET))

        evaluation = cast(list[str], d.pop("evaluation", UNSET))

        parent = d.pop("parent", UNSET)

        _limits = d.pop("limits", UNSET)
        limits: Limits | Unset
        if isinstance(_limits, Unset):
            limits = UNSET
        else:
            limits = Limits.from_dict(_limits)

        deterministic = d.pop("deterministic", UNSET)

        recipe = cls(
            code=code,
            entry_point=entry_point,
            parameters=parameters,
            seeds=seeds,
            environment=environment,
            datasets=datasets,
            evaluation=evaluation,
            parent=parent,
            limits=limits,
            deterministic=deterministic,
        )

        return recipe
