from typing import Literal

GetFileRight = Literal["derive", "read", "train"]

GET_FILE_RIGHT_VALUES: set[GetFileRight] = {
    "derive",
    "read",
    "train",
}


def check_get_file_right(value: str) -> GetFileRight:
    if value in GET_FILE_RIGHT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {GET_FILE_RIGHT_VALUES!r}"
    )
