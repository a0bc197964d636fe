from typing import Literal

WhoKind = Literal["device", "install", "service", "user"]

WHO_KIND_VALUES: set[WhoKind] = {
    "device",
    "install",
    "service",
    "user",
}


def check_who_kind(value: str) -> WhoKind:
    if value in WHO_KIND_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {WHO_KIND_VALUES!r}")
