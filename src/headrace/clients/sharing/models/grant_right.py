from typing import Literal

GrantRight = Literal["derive", "read", "train"]

GRANT_RIGHT_VALUES: set[GrantRight] = {
    "derive",
    "read",
    "train",
}


def check_grant_right(value: str) -> GrantRight:
    if value in GRANT_RIGHT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {GRANT_RIGHT_VALUES!r}"
    )
