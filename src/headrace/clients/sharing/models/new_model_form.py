from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from .. import types
from ..types import UNSET, File, FileTypes, Unset

if TYPE_CHECKING:
    from ..models.new_model import NewModel


T = TypeVar("T", bound="NewModelForm")


@_attrs_define
class NewModelForm:
    """`metadata`, then the file.

    Attributes:
        metadata (NewModel): The `metadata` part of ``POST /models``: with a recipe it is trained here, without it is
            taken as it is.
        code (File | Unset):
        file (File | Unset):
    """

    metadata: NewModel
    code: File | Unset = UNSET
    file: File | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        metadata = self.metadata.to_dict()

        code: FileTypes | Unset = UNSET
        if not isinstance(self.code, Unset):
            code = self.code.to_tuple()

        file: FileTypes | Unset = UNSET
        if not isinstance(self.file, Unset):
            file = self.file.to_tuple()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "metadata": metadata,
            }
        )
        if code is not UNSET:
            field_dict["code"] = code
        if file is not UNSET:
            field_dict["file"] = file

        return field_dict

    def to_multipart(self) -> types.RequestFiles:
        files: types.RequestFiles = []

        files.append(
            (
                "metadata",
                (
                    None,
                    json.dumps(self.metadata.to_dict()).encode(),
                    "application/json",
                ),
            )
        )

        if not isinstance(self.code, Unset):
            files.append(("code", self.code.to_tuple()))

        if not isinstance(self.file, Unset):
            files.append(("file", self.file.to_tuple()))

        return files

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.new_model import NewModel

        d = dict(src_dict)
        metadata = NewModel.from_dict(d.pop("metadata"))

        _code = d.pop("code", UNSET)
        code: File | Unset
        if isinstance(_code, Unset):
            code = UNSET
        else:
            code = File(payload=BytesIO(_code))

        _file = d.pop("file", UNSET)
        file: File | Unset
        if isinstance(_file, Unset):
            file = UNSET
        else:
            file = File(payload=BytesIO(_file))

        new_model_form = cls(
            metadata=metadata,
            code=code,
            file=file,
        )

        return new_model_form
