from typing import Literal

NewPersonKind = Literal["device", "service", "user"]

NEW_PERSON_KIND_VALUES: set[NewPersonKind] = {
    "device",
    "service",
    "user",
}


def check_new_person_kind(value: str) -> NewPersonKind:
    if value in NEW_PERSON_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {NEW_PERSON_KIND_VALUES!r}"
    )
