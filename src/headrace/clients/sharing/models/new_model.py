from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.new_recipe import NewRecipe


T = TypeVar("T", bound="NewModel")


@_attrs_define
class NewModel:
    """The `metadata` part of ``POST /models``: with a recipe it is trained here, without it is taken as it is.

    Attributes:
        name (str):
        description (str | Unset):  Default: ''.
        recipe (NewRecipe | None | Unset):
        confidential (bool | Unset):  Default: False.
        filename (str | Unset): left out: the part's own Default: ''.
        upload (str | Unset): id of a finished resumable upload (`/uploads`), instead of a `file` or `code` part
            Default: ''.
    """

    name: str
    description: str | Unset = ""
    recipe: NewRecipe | None | Unset = UNSET
    confidential: bool | Unset = False
    filename: str | Unset = ""
    upload: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        from ..models.new_recipe import NewRecipe

        name = self.name

        description = self.description

        recipe: dict[str, Any] | None | Unset
        if isinstance(self.recipe, Unset):
            recipe = UNSET
        elif isinstance(self.recipe, NewRecipe):
            recipe = self.recipe.to_dict()
        else:
            recipe = self.recipe

        confidential = self.confidential

        filename = self.filename

        upload = self.upload

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "name": name,
            }
        )
        if description is not UNSET:
            field_dict["description"] = description
        if recipe is not UNSET:
            field_dict["recipe"] = recipe
        if confidential is not UNSET:
            field_dict["confidential"] = confidential
        if filename is not UNSET:
            field_dict["filename"] = filename
        if upload is not UNSET:
            field_dict["upload"] = upload

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.new_recipe import NewRecipe

        d = dict(src_dict)
        name = d.pop("name")

        description = d.pop("description", UNSET)

        def _parse_recipe(data: object) -> NewRecipe | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                recipe_type_0 = NewRecipe.from_dict(data)

                return recipe_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(NewRecipe | None | Unset, data)

        recipe = _parse_recipe(d.pop("recipe", UNSET))

        confidential = d.pop("confidential", UNSET)

        filename = d.pop("filename", UNSET)

        upload = d.pop("upload", UNSET)

        new_model = cls(
            name=name,
            description=description,
            recipe=recipe,
            confidential=confidential,
            filename=filename,
            upload=upload,
        )

        return new_model
