from typing import Literal

NewGrantRight = Literal["derive", "read", "train"]

NEW_GRANT_RIGHT_VALUES: set[NewGrantRight] = {
    "derive",
    "read",
    "train",
}


def check_new_grant_right(value: str) -> NewGrantRight:
    if value in NEW_GRANT_RIGHT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {NEW_GRANT_RIGHT_VALUES!r}"
    )
