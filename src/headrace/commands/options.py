"""What options have in common."""

from __future__ import annotations

from typing import Any

import typer


def filled(context: typer.Context, option: typer.CallbackParam, value: Any) -> Any:
    """A callback of options that an empty text would switch off: in a script it comes of a variable that nobody has set."""
    source = context.get_parameter_source(option.name or "")
    given = [value] if isinstance(value, str) else value or []  # an option that may be given several times
    if source is not None and source.name != "DEFAULT" and "" in given:
        raise typer.BadParameter(
            "it is empty, as a variable is that was not set; leave the option out, or name the key"
        )
    return value
