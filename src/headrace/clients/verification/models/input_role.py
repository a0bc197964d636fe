from typing import Literal

InputRole = Literal["dataset", "held-out dataset", "original", "parent"]

INPUT_ROLE_VALUES: set[InputRole] = {
    "dataset",
    "held-out dataset",
    "original",
    "parent",
}


def check_input_role(value: str) -> InputRole:
    if value in INPUT_ROLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {INPUT_ROLE_VALUES!r}"
    )
