from typing import Literal

HeadUploadsIdHeadTusResumable = Literal["1.0.0"]

HEAD_UPLOADS_ID_HEAD_TUS_RESUMABLE_VALUES: set[HeadUploadsIdHeadTusResumable] = {
    "1.0.0",
}


def check_head_uploads_id_head_tus_resumable(value: str) -> HeadUploadsIdHeadTusResumable:
    if value in HEAD_UPLOADS_ID_HEAD_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {HEAD_UPLOADS_ID_HEAD_TUS_RESUMABLE_VALUES!r}")
