from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.new_dataset_media_type_0 import (
    NewDatasetMediaType0,
    check_new_dataset_media_type_0,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="NewDatasetOfUpload")


@_attrs_define
class NewDatasetOfUpload:
    """It was uploaded before.

    Attributes:
        name (str):
        upload (str): id of a finished resumable upload (`/uploads`), instead of a `file` or `code` part Default: ''.
        description (str | Unset):  Default: ''.
        media (NewDatasetMediaType0 | None | Unset): left out: by what is in it; images: an archive of an image folder
        confidential (bool | Unset):  Default: False.
        filename (str | Unset): left out: the part's own Default: ''.
    """

    name: str
    upload: str = ""
    description: str | Unset = ""
    media: NewDatasetMediaType0 | None | Unset = UNSET
    confidential: bool | Unset = False
    filename: str | Unset = ""
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        upload = self.upload

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
        if media is not UNSET:
            field_dict["media"] = media
        if confidential is not UNSET:
            field_dict["confidential"] = confidential
        if filename is not UNSET:
            field_dict["filename"] = filename

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        upload = d.pop("upload")

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

        new_dataset_of_upload = cls(
            name=name,
            upload=upload,
            description=description,
            media=media,
            confidential=confidential,
            filename=filename,
        )

        new_dataset_of_upload.additional_properties = d
        return new_dataset_of_upload

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
