from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.recipe import Recipe


T = TypeVar("T", bound="NewJob")


@_attrs_define
class NewJob:
    """What the hub sends to have a registered model trained.

    Attributes:
        model (str):
        recipe (Recipe): Everything a training depends on.
        priority (int | Unset): higher goes first Default: 0.
        attempts (int | Unset): how often the code may fail before the job counts as failed; a retry counts anew
            Default: 1.
    """

    model: str
    recipe: Recipe
    priority: int | Unset = 0
    attempts: int | Unset = 1

    def to_dict(self) -> dict[str, Any]:
        model = self.model

        recipe = self.recipe.to_dict()

        priority = self.priority

        attempts = self.attempts

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "model": model,
                "recipe": recipe,
            }
        )
        if priority is not UNSET:
            field_dict["priority"] = priority
        if attempts is not UNSET:
            field_dict["attempts"] = attempts

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.recipe import Recipe

        d = dict(src_dict)
        model = d.pop("model")

        recipe = Recipe.from_dict(d.pop("recipe"))

        priority = d.pop("priority", UNSET)

        attempts = d.pop("attempts", UNSET)

        new_job = cls(
            model=model,
            recipe=recipe,
            priority=priority,
            attempts=attempts,
        )

        return new_job
