from typing import Literal

VerifyAssetLevel = Literal["L0", "L1", "L2"]

VERIFY_ASSET_LEVEL_VALUES: set[VerifyAssetLevel] = {
    "L0",
    "L1",
    "L2",
}


def check_verify_asset_level(value: str) -> VerifyAssetLevel:
    if value in VERIFY_ASSET_LEVEL_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {VERIFY_ASSET_LEVEL_VALUES!r}"
    )
