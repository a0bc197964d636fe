from typing import Literal

DatasetAnchoring = Literal["anchored", "failed", "off", "waiting"]

DATASET_ANCHORING_VALUES: set[DatasetAnchoring] = {
    "anchored",
    "failed",
    "off",
    "waiting",
}


def check_dataset_anchoring(value: str) -> DatasetAnchoring:
    if value in DATASET_ANCHORING_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {DATASET_ANCHORING_VALUES!r}"
    )
