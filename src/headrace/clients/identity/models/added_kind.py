from typing import Literal

AddedKind = Literal["device", "install", "service", "user"]

ADDED_KIND_VALUES: set[AddedKind] = {
    "device",
    "install",
    "service",
    "user",
}


def check_added_kind(value: str) -> AddedKind:
    if value in ADDED_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {ADDED_KIND_VALUES!r}"
    )
