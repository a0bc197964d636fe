from typing import Literal

DatasetStatisticsState = Literal["done", "failed", "none", "pending"]

DATASET_STATISTICS_STATE_VALUES: set[DatasetStatisticsState] = {
    "done",
    "failed",
    "none",
    "pending",
}


def check_dataset_statistics_state(value: str) -> DatasetStatisticsState:
    if value in DATASET_STATISTICS_STATE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {DATASET_STATISTICS_STATE_VALUES!r}"
    )
