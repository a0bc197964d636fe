from typing import Literal

ModelAnchoring = Literal["anchored", "failed", "off", "waiting"]

MODEL_ANCHORING_VALUES: set[ModelAnchoring] = {
    "anchored",
    "failed",
    "off",
    "waiting",
}


def check_model_anchoring(value: str) -> ModelAnchoring:
    if value in MODEL_ANCHORING_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {MODEL_ANCHORING_VALUES!r}"
    )
