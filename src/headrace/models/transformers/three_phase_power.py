"""Active power of a three-phase meter: V·I·PF summed over the phases, reading by reading.

Multiply before averaging: mean(V)·mean(I) of an hour is not mean(V·I) unless one of them is constant. And without the
power factor V·I is *apparent* power (VA), which is why one has to be named.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from headrace import plugins
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import column
from headrace.records import Array, Rows

Three = tuple[str, str, str]


class ThreePhasePower:
    """Adds the column `into` (W). A reading without phases keeps the value it has in that column."""

    class Params(plugins.Params):
        voltage: Three = ("v1", "v2", "v3")
        """Fields with the phase-to-neutral voltages, V."""
        current: Three = ("i1", "i2", "i3")
        """Fields with the phase currents, A."""
        pf: str | Three | None = "pf"
        """Field with the power factor, or one field per phase."""
        power_factor: float | None = Field(default=None, ge=-1, le=1)
        """Used where a reading has no power factor of its own."""
        into: str = "power"
        """Name of the new column."""

        @model_validator(mode="after")
        def _some_power_factor(self) -> ThreePhasePower.Params:
            if self.pf is None and self.power_factor is None:
                raise ValueError(
                    "expected `pf:` (the field with the power factor) or `power_factor:` (a constant): "
                    "volts times amperes alone are apparent power"
                )
            return self

    order: ClassVar[int] = 0

    def __init__(self, params: Params, context: Context) -> None:
        self._params = params

    def apply(self, rows: Rows) -> Rows:
        """Every row, with its power."""
        power = self._power(rows)
        into = self._params.into
        power = np.where(np.isfinite(power), power, column(rows, into))
        return Rows(rows.time, {**rows.columns, into: power})

    def state(self) -> dict[str, Any]:
        """Nothing: each reading stands for itself."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to load."""

    def _power(self, rows: Rows) -> Array:
        names = self._params.pf
        fields = (names,) * 3 if names is None or isinstance(names, str) else names
        total = np.zeros(len(rows))
        for voltage, current, pf in zip(self._params.voltage, self._params.current, fields, strict=True):
            total = total + column(rows, voltage) * column(rows, current) * self._factor(rows, pf)
        return total

    def _factor(self, rows: Rows, name: str | None) -> Array:
        constant = np.nan if self._params.power_factor is None else self._params.power_factor
        if name is None:
            return np.full(len(rows), constant)
        measured = column(rows, name)
        return np.where(np.isfinite(measured), measured, constant)
