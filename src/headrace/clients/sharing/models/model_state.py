from typing import Literal

ModelState = Literal[
    "cancelled", "failed", "registered", "trained", "training", "uploaded"
]

MODEL_STATE_VALUES: set[ModelState] = {
    "cancelled",
    "failed",
    "registered",
    "trained",
    "training",
    "uploaded",
}


def check_model_state(value: str) -> ModelState:
    if value in MODEL_STATE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {MODEL_STATE_VALUES!r}"
    )
