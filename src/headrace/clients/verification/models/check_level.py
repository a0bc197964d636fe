from typing import Literal

CheckLevel = Literal["L0", "L1", "L2", "none"]

CHECK_LEVEL_VALUES: set[CheckLevel] = {
    "L0",
    "L1",
    "L2",
    "none",
}


def check_check_level(value: str) -> CheckLevel:
    if value in CHECK_LEVEL_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {CHECK_LEVEL_VALUES!r}"
    )
