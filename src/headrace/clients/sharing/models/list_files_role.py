from typing import Literal

ListFilesRole = Literal["code", "content", "raw"]

LIST_FILES_ROLE_VALUES: set[ListFilesRole] = {
    "code",
    "content",
    "raw",
}


def check_list_files_role(value: str) -> ListFilesRole:
    if value in LIST_FILES_ROLE_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LIST_FILES_ROLE_VALUES!r}"
    )
