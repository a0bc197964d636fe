from typing import Literal

ModelReproducible = Literal["never", "reproduced", "unknown"]

MODEL_REPRODUCIBLE_VALUES: set[ModelReproducible] = {
    "never",
    "reproduced",
    "unknown",
}


def check_model_reproducible(value: str) -> ModelReproducible:
    if value in MODEL_REPRODUCIBLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {MODEL_REPRODUCIBLE_VALUES!r}"
    )
