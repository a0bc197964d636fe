from typing import Literal

DeleteUploadTusResumable = Literal["1.0.0"]

DELETE_UPLOAD_TUS_RESUMABLE_VALUES: set[DeleteUploadTusResumable] = {
    "1.0.0",
}


def check_delete_upload_tus_resumable(value: str) -> DeleteUploadTusResumable:
    if value in DELETE_UPLOAD_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {DELETE_UPLOAD_TUS_RESUMABLE_VALUES!r}"
    )
