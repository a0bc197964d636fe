"""Hyper-parameters as a recipe declares them in its ``headrace-recipe.yaml``, checked before anything is queued.

Without that file every parameter is passed on as it is. With it, only what it names is taken, of the type it says::

    parameters:
      epochs: {type: int, default: 20, min: 1, max: 1000, about: passes over the data}
      rate:   {type: float, default: 0.005, min: 0}
      cell:   {type: str, default: gru, choices: [gru, lstm]}
      scale:  {type: bool, default: true}
      target: {type: str}                       # no default: has to be given
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.assets import Scalar


class Parameter(BaseModel):
    """One hyper-parameter of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["int", "float", "bool", "str"]
    default: Scalar | None = None
    min: float | None = None
    max: float | None = None
    choices: list[Scalar] = Field([], max_length=1000)
    about: str = Field("", max_length=2000)


def settle(
    given: Mapping[str, Scalar], declared: Mapping[str, Parameter] | None
) -> tuple[dict[str, Scalar], list[str]]:
    """What the code gets, and all that is wrong with what was given.

    >>> declared = {"epochs": Parameter(type="int", default=20, min=1), "rate": Parameter(type="float", default=0.005)}
    >>> settle({"rate": 1}, declared)
    ({'epochs': 20, 'rate': 1.0}, [])
    >>> settle({"epochs": 0, "rats": 1}, declared)[1]
    ["parameters: 'epochs' is 0, at least 1 is needed", "parameters: there is no 'rats'; did you mean 'rate'?"]
    """
    if declared is None:
        return dict(given), []
    settled: dict[str, Scalar] = {}
    problems: list[str] = []
    for name, parameter in declared.items():
        value = given.get(name, parameter.default)
        if value is None:
            problems.append(f"parameters: {name!r} has no default and has to be given ({parameter.type})")
            continue
        value = _typed(value, parameter.type)
        problem = _problem(value, parameter)
        if problem:
            problems.append(f"parameters: {name!r} {problem}")
        settled[name] = value
    return settled, problems + [_unknown(name, declared) for name in given if name not in declared]


def _typed(value: Scalar, kind: str) -> Scalar:
    """A whole number is a float where one is wanted."""
    return float(value) if kind == "float" and type(value) is int and abs(value) < 2**63 else value


def _problem(value: Scalar, parameter: Parameter) -> str:
    if type(value).__name__ != parameter.type:
        return f"is {value!r}, expected {parameter.type}"
    if parameter.choices and value not in [_typed(choice, parameter.type) for choice in parameter.choices]:
        return f"is {value!r}, expected one of {', '.join(map(repr, parameter.choices))}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value!r}, expected a finite number"
    if parameter.type in {"int", "float"} and not isinstance(value, str):
        if parameter.min is not None and value < parameter.min:
            return f"is {value!r}, at least {parameter.min:g} is needed"
        if parameter.max is not None and value > parameter.max:
            return f"is {value!r}, at most {parameter.max:g} is allowed"
    return ""


def _unknown(name: str, declared: Mapping[str, Parameter]) -> str:
    near = difflib.get_close_matches(name, declared, n=1)
    known = ", ".join(declared) or "none"
    return f"parameters: there is no {name!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"the recipe declares: {known}"
    )
