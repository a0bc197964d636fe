"""Which days train and which validate: a file fixes it for the shipped record, for others the data decide."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace.errors import BadInput
from headrace.records import DAY
from headrace.spec import Duration, explain


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Drift(_Strict):
    """The drift experiment: readings times `factor` from each of some start days on."""

    warm_up: Duration = 40 * DAY
    """Event time before the first scored forecast: first fit and scaler."""
    first: int | None = Field(default=None, ge=1)
    """Day, counted from 0, on which the first drift starts; default: 30 days after the warm-up."""
    every: int = Field(default=15, ge=1)
    """Days from one start to the next."""
    count: int = Field(default=9, ge=1, le=100)
    """Starts."""
    factor: float = Field(default=0.6, gt=0)
    """What the readings are multiplied by."""
    lasting: int = Field(default=30, ge=14)
    """Days until the drift ends."""


class Periods(_Strict):
    """Rolling periods and everything else that has to be fixed for a figure to be repeatable."""

    first: date | None = None
    """First local day of the first period; default: the first whole day of the record."""
    days: int | None = Field(default=None, ge=1)
    """Days of the record to use; default: all."""
    count: int | None = Field(default=None, ge=1, le=10_000)
    """Periods; default: as many as fit."""
    every: Duration | None = Field(default=None, gt=0)
    """From one start to the next; default: one after the other."""
    train: Duration = Field(default=16 * DAY, gt=0)
    """Training days of a period: fit, scaler."""
    validation: Duration = Field(default=4 * DAY, gt=0)
    """Validation days after them."""
    history: int = Field(default=36, ge=1, le=10_000)
    """Grid steps the windowed standard contenders look back."""
    horizon: int = Field(default=24, ge=1, le=10_000)
    """Grid steps forecast, without a spec."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    """Seeds of what is random; errors are averaged over them."""
    missing: Literal["zero", "gap"] = "gap"
    """Of the shipped record: whether a missing 5-minute reading is zero, or a gap for `resample` to deal with."""
    drift: Drift = Drift()
    """The drift experiment."""

    @model_validator(mode="after")
    def _enough(self) -> Periods:
        if self.train < 2 * self.validation:
            raise ValueError("expected at least twice as much training as validation")
        return self

    @property
    def step(self) -> int:
        """ns from one start to the next."""
        return self.every or self.train + self.validation


def shipped() -> Periods:
    """The committed periods of the shipped record."""
    text = files("headrace.examples.pv").joinpath("periods.yaml").read_text(encoding="utf-8")
    return parse(text, "periods.yaml")


def load(path: Path) -> Periods:
    """A user's periods file. Raises BadInput."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(detail=f"{path} cannot be read as text: {error}") from error


def parse(text: str, name: str) -> Periods:
    """Periods from YAML. Raises BadInput with all that is wrong."""
    try:
        plain = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(detail=f"{name} is no YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(plain, dict):
        raise BadInput(detail=f"{name}: expected a mapping such as `{{train: 16d, validate: 4d}}`")
    try:
        return Periods.model_validate(plain)
    except ValidationError as error:
        found = [explain(item) for item in error.errors()]
        lines = [f"{name}: {'.'.join(map(str, path)) or '(file)'}: {message}" for path, message in found]
        raise BadInput(detail="; ".join(lines)) from error
