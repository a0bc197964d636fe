from typing import Literal

SaidKind = Literal["batch", "dataset", "model"]

SAID_KIND_VALUES: set[SaidKind] = {
    "batch",
    "dataset",
    "model",
}


def check_said_kind(value: str) -> SaidKind:
    if value in SAID_KIND_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {SAID_KIND_VALUES!r}")
