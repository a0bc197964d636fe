"""The certificate of a translation, as `translate` and `model show` print it."""

from __future__ import annotations

from typing import Any

from headrace.commands.printing import say, table
from headrace.commands.records import figure


def print_certificate(said: dict[str, Any]) -> None:
    """How near the answers are, and why that shows little, where it does."""
    from headrace.assets import Parity

    table(["certificate", "value"], _rows(said))
    for doubt in Parity.model_validate(said["parity"]).doubts():
        say(f"Mind: {doubt[0].lower()}{doubt[1:]} (docs/translation.md)")


def _rows(said: dict[str, Any]) -> list[list[str]]:
    parity = said["parity"]
    groups = {"edge": "edge cases", "made": "made at random"}
    counts = [f"{parity['real'] or 'none'} recorded", *(f"{parity[one]} {word}" for one, word in groups.items())]
    versions = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    return [
        ["inputs compared", f"{parity['inputs']}: {', '.join(counts)}"],
        ["worst difference", f"{figure(parity['worst'])} of {figure(parity['tolerance'])} allowed"],
        ["mean difference", figure(parity["mean"])],
        ["answers reach", figure(parity["scale"])],
        ["numbers", said["dtypes"]],
        ["exporter", f"{said['exporter']} ({said['framework']}), opset {said['opset']}"],
        ["dropout", {"eval": "off, as in evaluation"}.get(said["dropout"], "on, with fixed masks")],
        ["versions", versions],
    ]
