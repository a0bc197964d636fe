from typing import Literal

AppendUploadTusResumable = Literal["1.0.0"]

APPEND_UPLOAD_TUS_RESUMABLE_VALUES: set[AppendUploadTusResumable] = {
    "1.0.0",
}


def check_append_upload_tus_resumable(value: str) -> AppendUploadTusResumable:
    if value in APPEND_UPLOAD_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {APPEND_UPLOAD_TUS_RESUMABLE_VALUES!r}"
    )
