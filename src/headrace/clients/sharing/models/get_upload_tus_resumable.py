from typing import Literal

GetUploadTusResumable = Literal["1.0.0"]

GET_UPLOAD_TUS_RESUMABLE_VALUES: set[GetUploadTusResumable] = {
    "1.0.0",
}


def check_get_upload_tus_resumable(value: str) -> GetUploadTusResumable:
    if value in GET_UPLOAD_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {GET_UPLOAD_TUS_RESUMABLE_VALUES!r}"
    )
