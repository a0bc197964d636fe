from typing import Literal

ModelState = Literal[
    "cancelled",
    "failed",
    "registered",
    "snapshot",
    "trained",
    "training",
    "translated",
    "uploaded",
]

MODEL_STATE_VALUES: set[ModelState] = {
    "cancelled",
    "failed",
    "registered",
    "snapshot",
    "trained",
    "training",
    "translated",
    "uploaded",
}


def check_model_state(value: str) -> ModelState:
    if value in MODEL_STATE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {MODEL_STATE_VALUES!r}"
    )
