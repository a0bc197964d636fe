from typing import Literal

JudgedVerdict = Literal["never", "reproduced"]

JUDGED_VERDICT_VALUES: set[JudgedVerdict] = {
    "never",
    "reproduced",
}


def check_judged_verdict(value: str) -> JudgedVerdict:
    if value in JUDGED_VERDICT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {JUDGED_VERDICT_VALUES!r}"
    )
