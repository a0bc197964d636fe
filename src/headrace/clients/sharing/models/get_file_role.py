from typing import Literal

GetFileRole = Literal["code", "content", "raw"]

GET_FILE_ROLE_VALUES: set[GetFileRole] = {
    "code",
    "content",
    "raw",
}


def check_get_file_role(value: str) -> GetFileRole:
    if value in GET_FILE_ROLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {GET_FILE_ROLE_VALUES!r}"
    )
