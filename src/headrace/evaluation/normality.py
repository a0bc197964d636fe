"""The normality table, if the diagnostics are there."""

from __future__ import annotations

from typing import Any

from headrace.records import Array


def table(residuals: Array, level: float = 0.05) -> Any:
    """What `headrace.models.diagnostics.normality` says of some residuals, as plain values; None without it."""
    try:
        from headrace.models import diagnostics
    except ImportError:
        return None
    return plain(diagnostics.normality(residuals, level=level))


def plain(value: Any) -> Any:
    """Structs and dataclasses as dicts, for JSON."""
    import msgspec

    return msgspec.to_builtins(value)
