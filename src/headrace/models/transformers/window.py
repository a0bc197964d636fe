"""The last values as one input: ``x.window``, what recurrent nets read."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from headrace import plugins
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import Tail, column, period
from headrace.records import Rows


class Window:
    """Adds ``x.window``, (n, history, fields): the row and the ``history - 1`` rows before it, oldest first."""

    class Params(plugins.Params):
        history: int = Field(default=36, ge=1, le=10_000)
        """Grid steps, the row's own included."""
        columns: tuple[str, ...] = ()
        """Fields of the window in this order; default: the target alone."""

    order: ClassVar[int] = 3

    def __init__(self, params: Params, context: Context) -> None:
        self._history = params.history
        self._columns = params.columns or (context.target,)
        self._every = context.every
        self._tail = Tail(self._history - 1, len(self._columns))

    def shape(self) -> tuple[int, int]:
        """(history, fields)."""
        return self._history, len(self._columns)

    def apply(self, rows: Rows) -> Rows:
        """Every row, with its window."""
        block = np.empty((len(rows), len(self._columns)))
        for index, name in enumerate(self._columns):
            block[:, index] = column(rows, name)
        series = self._tail.extend(block)
        if not len(rows):
            return rows
        row, field = series.strides  # a view by hand: sliding_window_view takes longer than everything else here
        windows = np.ndarray((len(rows), *self.shape()), np.float64, series, strides=(row, row, field))
        return Rows(rows.time, {**rows.columns, "x.window": windows.copy()})

    def labels(self) -> list[str]:
        """How long before the forecast begins each value was."""
        back = range(self._history, 0, -1)
        return [f"{name} {period(steps * self._every)} before" for steps in back for name in self._columns]

    def state(self) -> dict[str, Any]:
        """The rows that later windows will reach back to."""
        return {"tail": self._tail.values}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._tail.load(state["tail"])
