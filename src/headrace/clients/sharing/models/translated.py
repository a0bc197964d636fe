from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.translated_found import TranslatedFound
    from ..models.translation import Translation


T = TypeVar("T", bound="Translated")


@_attrs_define
class Translated:
    """A model that was translated; the file was put before.

    Attributes:
        translation (Translation): What a model was translated from, how, and how well.
        file (str):
        found (TranslatedFound):
        name (str | Unset): empty: the original's, with ` (ONNX)` Default: ''.
    """

    translation: Translation
    file: str
    found: TranslatedFound
    name: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        translation = self.translation.to_dict()

        file = self.file

        found = self.found.to_dict()

        name = self.name

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "translation": translation,
                "file": file,
                "found": found,
            }
        )
        if name is not UNSET:
            field_dict["name"] = name

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.translated_found import TranslatedFound
        from ..models.translation import Translation

        d = dict(src_dict)
        translation = Translation.from_dict(d.pop("translation"))

        file = d.pop("file")

        found = TranslatedFound.from_dict(d.pop("found"))

        name = d.pop("name", UNSET)

        translated = cls(
            translation=translation,
            file=file,
            found=found,
            name=name,
        )

        return translated
