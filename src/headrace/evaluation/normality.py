"""The normality table, if the diagnostics are there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from headrace.errors import MissingExtra
from headrace.records import Array


def table(residuals: Array, level: float = 0.05) -> Any:
    """What `headrace.models.diagnostics.normality` says of some residuals, as plain values; None without it."""
    try:
        diagnostics: Any = import_module("headrace.models.diagnostics")
    except ImportError:
        return None
    try:
        return plain(diagnostics.normality(residuals, level=level))
    except MissingExtra:
        return None


def plain(value: Any) -> Any:
    """Structs and dataclasses as dicts, for JSON."""
    import msgspec

    return msgspec.to_builtins(value)
