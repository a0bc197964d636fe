from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.new_recipe import NewRecipe


T = TypeVar("T", bound="NewModelOfUpload")


@_attrs_define
class NewModelOfUpload:
    """It was uploaded before.

    Attributes:
        name (str):
        upload (str): id of a finished resumable upload (`/uploads`), instead of a `file` or `code` part Default: ''.
        description (str | Unset):  Default: ''.
        recipe (NewRecipe | None | Unset):
        confidential (bool | Unset):  Default: False.
        filename (str | Unset): left out: the part's own Default: ''.
    """

    name: str
    upload: str = ""
    description: str | Unset = ""
    recipe: NewRecipe | None | Unset = UNSET
    confidential: bool | Unset = False
    filename: str | Unset = ""
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.new_recipe import NewRecipe

        name = self.name

        upload = self.upload

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

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "upload": upload,
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

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.new_recipe import NewRecipe

        d = dict(src_dict)
        name = d.pop("name")

        upload = d.pop("upload")

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

        new_model_of_upload = cls(
            name=name,
            upload=upload,
            description=description,
            recipe=recipe,
            confidential=confidential,
            filename=filename,
        )

        new_model_of_upload.additional_properties = d
        return new_model_of_upload

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
