from typing import Literal

NewDatasetMediaType0 = Literal["csv", "images", "npy", "npz", "other", "parquet"]

NEW_DATASET_MEDIA_TYPE_0_VALUES: set[NewDatasetMediaType0] = {
    "csv",
    "images",
    "npy",
    "npz",
    "other",
    "parquet",
}


def check_new_dataset_media_type_0(value: str) -> NewDatasetMediaType0:
    if value in NEW_DATASET_MEDIA_TYPE_0_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {NEW_DATASET_MEDIA_TYPE_0_VALUES!r}"
    )
