from typing import Literal

TranslationDropout = Literal["eval", "train-fixed"]

TRANSLATION_DROPOUT_VALUES: set[TranslationDropout] = {
    "eval",
    "train-fixed",
}


def check_translation_dropout(value: str) -> TranslationDropout:
    if value in TRANSLATION_DROPOUT_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {TRANSLATION_DROPOUT_VALUES!r}"
    )
