from typing import Literal

CreateUploadsPostTusResumable = Literal["1.0.0"]

CREATE_UPLOADS_POST_TUS_RESUMABLE_VALUES: set[CreateUploadsPostTusResumable] = {
    "1.0.0",
}


def check_create_uploads_post_tus_resumable(value: str) -> CreateUploadsPostTusResumable:
    if value in CREATE_UPLOADS_POST_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {CREATE_UPLOADS_POST_TUS_RESUMABLE_VALUES!r}")
