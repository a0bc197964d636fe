from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.new_dataset_media_type_0 import (
    NewDatasetMediaType0,
    check_new_dataset_media_type_0,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewDataset")


@_attrs_define
class NewDataset:
    """The `metadata` part of ``POST /datasets``.

    Attributes:
        name (str):
        description (str | Unset):  Default: ''.
        media (NewDatasetMediaType0 | None | Unset): left out: by what is in it; images: an archive of an image folder
        confidential (bool | Unset):  Default: False.
        filename (str | Unset): left out: the part's own Default: ''.
        upload (str | Unset): id of a finished resumable upload (`/uploads`), instead of a `file` or `code` part
            Default: ''.
    """

    name: str
    description: str | Unset = ""
    media: NewDatasetMediaType0 | None | Unset = UNSET
    confidential: bool | Unset = False
    filename: str | Unset = ""
    upload: str | Unset = ""

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        description = self.description

        media: None | str | Unset
        if isinstance(self.media, Unset):
            media = UNSET
        elif isinstance(self.media, str):
            media = self.media
        else:
            media = self.media

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
        if media is not UNSET:
            field_dict["media"] = media
        if confidential is not UNSET:
            field_dict["confidential"] = confidential
        if filename is not UNSET:
            field_dict["filename"] = filename
        if upload is not UNSET:
            field_dict["upload"] = upload

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        description = d.pop("description", UNSET)

        def _parse_media(data: object) -> NewDatasetMediaType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                media_type_0 = check_new_dataset_media_type_0(data)

                return media_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(NewDatasetMediaType0 | None | Unset, data)

        media = _parse_media(d.pop("media", UNSET))

        confidential = d.pop("confidential", UNSET)

        filename = d.pop("filename", UNSET)

        upload = d.pop("upload", UNSET)

        new_dataset = cls(
            name=name,
            description=description,
            media=media,
            confidential=confidential,
            filename=filename,
            upload=upload,
        )

        return new_dataset
