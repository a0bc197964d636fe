"""The chapter's Explainer: a user's own, one Python file beside the spec, run in the explainer process alone::

    class Explainer:
        def explain(self, model, x, baseline):      # numpy arrays of the model's input shape
            ...                                     # -> contributions, (horizon, *input)

`model` is a `headrace.models.explainers.Subject`: ``model(x)`` gives (horizon,) for one example and (n, horizon) for
(n, *input), ``model.shape`` the sizes, ``model.network`` the torch module (or None). With `params` in the spec the class is
built with them, a dict.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from headrace import plugins
from headrace.errors import HeadraceError, Unexplained
from headrace.models import own_code
from headrace.models.explainers import Subject
from headrace.records import Array

_VERBS = ("explain",)


class PythonExplainer:
    """Loads the file and stands before the user's object."""

    class Params(plugins.Params):
        file: str
        """Path of the file, relative to the spec's folder and inside it."""
        class_: str = Field(default="Explainer", alias="class")
        """Name of the class."""
        params: dict[str, Any] = Field(default_factory=dict)
        """Handed to the class as they are; without any, it is built without arguments."""
        tolerance: float = Field(default=0.01, ge=0, le=1)
        """Largest completeness error: contributions that add up worse to the difference are refused."""

    needs: ClassVar[str] = ""
    note: ClassVar[str] = ""

    def __init__(self, params: Params, subject: Subject, folder: str = ".") -> None:
        self._params, self._subject, self._file = params, subject, params.file
        self.tolerance, self.method = params.tolerance, f"python {params.file}"
        self._path = self.verify(params, folder)
        made = own_code.load(self._path, params.file, params.class_, _VERBS)
        with self._said():
            self._own: Any = made(dict(params.params)) if params.params else made()

    @staticmethod
    def verify(params: Params, folder: str) -> Path:
        """The file's path, after all checks that do not run it. Raises BadInput."""
        return own_code.verify(folder, params.file, params.class_, _VERBS)

    def explain(self, x: Array, baseline: Array) -> Array:
        with self._said():
            made = self._own.explain(self._shown(), x.copy(), baseline.copy())
            result: Array = np.asarray(made, dtype=np.float64)
        return result

    def _shown(self) -> Subject:
        """The model for one question, of a class of its own: what somebody does to that class ends with the question."""
        whole = {field.name: getattr(self._subject, field.name) for field in fields(Subject)}
        made: Subject = type("Model", (Subject,), {"__doc__": Subject.__doc__})(**whole)
        return made

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Whatever the user's code raises, as an error with its line."""
        try:
            yield
        except HeadraceError:
            raise
        except (
            BaseException
        ) as error:  # KeyboardInterrupt and SystemExit too: nobody but the user's code raises them here
            place = f"{self._file}:{own_code.line(error, self._path)}"
            raise Unexplained(
                detail=f"{place}: {type(error).__name__}: {error}", instead="mend the explainer and apply it again"
            ) from error
