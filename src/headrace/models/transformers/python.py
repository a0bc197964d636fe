"""A user's own step: one Python file beside the spec.

The class it names has the verbs of a Transformer and is built with its `params` (a dict) and the `Context`::

    class Step:
        def __init__(self, params, context): ...
        def apply(self, rows): ...      # -> headrace.records.Rows
        def state(self): ...            # -> dict
        def load(self, state): ...

It may have ``tick(time)`` and ``counts()``, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from headrace import plugins
from headrace.errors import BadInput
from headrace.models import own_code
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import nothing
from headrace.records import Rows

_VERBS = ("__init__", "apply", "state", "load")


class PythonStep:
    """Loads the file and stands before the user's object."""

    class Params(plugins.Params):
        file: str
        """Path of the file, relative to the spec's folder and inside it."""
        class_: str = Field(default="Step", alias="class")
        """Name of the class."""
        params: dict[str, Any] = Field(default_factory=dict)
        """Handed to the class as they are."""

    def __init__(self, params: Params, context: Context) -> None:
        self._where = params.file
        made = own_code.load(self.verify(params, context), params.file, params.class_, _VERBS)
        self._step: Any = made(dict(params.params), context)

    @staticmethod
    def verify(params: Params, context: Context) -> Path:
        """The file's path, after all checks that do not run it. Raises BadInput."""
        return own_code.verify(context.folder, params.file, params.class_, _VERBS)

    def apply(self, rows: Rows) -> Rows:
        """What the user's step makes of the rows."""
        return self._rows(self._step.apply(rows), "apply")

    def tick(self, time: int) -> Rows:
        """What the user's step has to say about the time."""
        tick = getattr(self._step, "tick", None)
        return nothing() if tick is None else self._rows(tick(time), "tick")

    def counts(self) -> dict[str, int]:
        """The user's counters, if any."""
        counts = getattr(self._step, "counts", dict)
        return dict(counts())

    def state(self) -> dict[str, Any]:
        """The user's state."""
        state = self._step.state()
        if not isinstance(state, dict):
            raise BadInput(detail=f"{self._where}: state() must return a dict, got {type(state).__name__}")
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._step.load(state)

    def _rows(self, made: Any, verb: str) -> Rows:
        if not isinstance(made, Rows):
            raise BadInput(
                detail=f"{self._where}: {verb}() must return headrace.records.Rows, got {type(made).__name__}"
            )
        for name, values in made.columns.items():
            if len(values) != len(made):
                raise BadInput(
                    detail=f"{self._where}: {verb}() returned {len(values)} values of {name!r} for {len(made)} rows"
                )
        return made
