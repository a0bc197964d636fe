from typing import Literal

CreateUploadUploadDeferLength = Literal["1"]

CREATE_UPLOAD_UPLOAD_DEFER_LENGTH_VALUES: set[CreateUploadUploadDeferLength] = {
    "1",
}


def check_create_upload_upload_defer_length(
    value: str,
) -> CreateUploadUploadDeferLength:
    if value in CREATE_UPLOAD_UPLOAD_DEFER_LENGTH_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {CREATE_UPLOAD_UPLOAD_DEFER_LENGTH_VALUES!r}"
    )
