"""Options of a command as the fields of a dataclass, so that a command with many is still one with few arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints


def grouped(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command of a function whose first argument is a dataclass: typer sees each of its fields as an option of the
    command, in their order, before the function's own.

    Args:
        kind: the dataclass; every field has a default, and the annotation an option has.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            asked = kind(**{name: given.pop(name) for name in names})
            function(asked, **given)

        names = [field.name for field in fields(kind)]
        hints = get_type_hints(kind, include_extras=True)
        options = [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
            for one in fields(kind)
        ]
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        every = [*options, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own)]
        command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
        command.__annotations__ = {one.name: one.annotation for one in every}
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        return command

    return decorate
