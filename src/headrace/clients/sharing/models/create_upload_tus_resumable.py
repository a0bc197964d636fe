from typing import Literal

CreateUploadTusResumable = Literal["1.0.0"]

CREATE_UPLOAD_TUS_RESUMABLE_VALUES: set[CreateUploadTusResumable] = {
    "1.0.0",
}


def check_create_upload_tus_resumable(value: str) -> CreateUploadTusResumable:
    if value in CREATE_UPLOAD_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {CREATE_UPLOAD_TUS_RESUMABLE_VALUES!r}"
    )
