from typing import Literal

DeleteUploadsIdDeleteTusResumable = Literal["1.0.0"]

DELETE_UPLOADS_ID_DELETE_TUS_RESUMABLE_VALUES: set[DeleteUploadsIdDeleteTusResumable] = {
    "1.0.0",
}


def check_delete_uploads_id_delete_tus_resumable(value: str) -> DeleteUploadsIdDeleteTusResumable:
    if value in DELETE_UPLOADS_ID_DELETE_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {DELETE_UPLOADS_ID_DELETE_TUS_RESUMABLE_VALUES!r}")
