from typing import Literal

PatchUploadsIdPatchTusResumable = Literal["1.0.0"]

PATCH_UPLOADS_ID_PATCH_TUS_RESUMABLE_VALUES: set[PatchUploadsIdPatchTusResumable] = {
    "1.0.0",
}


def check_patch_uploads_id_patch_tus_resumable(value: str) -> PatchUploadsIdPatchTusResumable:
    if value in PATCH_UPLOADS_ID_PATCH_TUS_RESUMABLE_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {PATCH_UPLOADS_ID_PATCH_TUS_RESUMABLE_VALUES!r}")
