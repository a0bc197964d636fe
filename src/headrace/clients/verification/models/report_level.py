from typing import Literal

ReportLevel = Literal["L0", "L1", "L2", "none"]

REPORT_LEVEL_VALUES: set[ReportLevel] = {
    "L0",
    "L1",
    "L2",
    "none",
}


def check_report_level(value: str) -> ReportLevel:
    if value in REPORT_LEVEL_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {REPORT_LEVEL_VALUES!r}"
    )
