from typing import Literal

CheckRightRight = Literal["derive", "read", "train"]

CHECK_RIGHT_RIGHT_VALUES: set[CheckRightRight] = {
    "derive",
    "read",
    "train",
}


def check_check_right_right(value: str) -> CheckRightRight:
    if value in CHECK_RIGHT_RIGHT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {CHECK_RIGHT_RIGHT_VALUES!r}"
    )
