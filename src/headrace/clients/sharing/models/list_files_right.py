from typing import Literal

ListFilesRight = Literal["derive", "read", "train"]

LIST_FILES_RIGHT_VALUES: set[ListFilesRight] = {
    "derive",
    "read",
    "train",
}


def check_list_files_right(value: str) -> ListFilesRight:
    if value in LIST_FILES_RIGHT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LIST_FILES_RIGHT_VALUES!r}"
    )
