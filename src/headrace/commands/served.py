"""How deployments are printed."""

from __future__ import annotations

from typing import Any

from headrace.commands.printing import say, table
from headrace.commands.translating import axes


def print_deployments(found: list[dict[str, Any]], empty: str = "") -> None:
    """One line each."""
    table(
        ["deployed", "model", "state", "on", "takes", "gives", "answers"],
        [
            [
                one["name"],
                one["spec"]["model"],
                one["state"],
                one["provider"],
                ports(one.get("inputs", [])),
                ports(one.get("outputs", [])),
                f"{one['answers']:,}",
            ]
            for one in found
        ],
        empty=empty,
    )
    for one in found:
        if one["detail"]:
            say(f"{one['name']}: {one['detail']}")


def ports(found: list[dict[str, Any]]) -> str:
    """Inputs or outputs for people.

    >>> ports([{"name": "x", "datatype": "FP32", "shape": [-1, 3]}])
    'x FP32 (n, 3)'
    """
    return ", ".join(f"{one['name']} {one['datatype']} {axes(one['shape'])}" for one in found)
