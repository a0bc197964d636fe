"""Writes docs/reference.md from the code: every field of a spec, every plug-in's parameters, every setting.

python docs/generate.py          (a test fails when the file is not what this writes)
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace import settings, spec
from headrace.evaluation import periods
from headrace.models.backends import BACKENDS
from headrace.models.drift import DETECTORS
from headrace.models.explainers import EXPLAINERS
from headrace.models.intervals import INTERVALS
from headrace.models.transformers import TRANSFORMERS
from headrace.plugins import Family, Params
from headrace.records import DAY, HOUR, MINUTE, SECOND
from headrace.streams.decoders import DECODERS

FILE = Path(__file__).parent / "reference.md"
SECTIONS = (
    spec.OnlineModel,
    spec.Metadata,
    spec.Input,
    spec.Forecast,
    spec.Learning,
    spec.Publish,
    spec.Output,
    *spec.RULES.values(),
    spec.Alert,
    spec.Deployment,
)
FAMILIES: tuple[tuple[str, Family], ...] = (
    ("Steps (`transform:`)", TRANSFORMERS),
    ("Backends (`backend:`)", BACKENDS),
    ("Intervals (`interval:`)", INTERVALS),
    ("Drift detectors (`detector:` of an alert)", DETECTORS),
    ("Explainers (`explain:`)", EXPLAINERS),
    ("Decoders (`input.decoder:`)", DECODERS),
)


def text() -> str:
    """The whole file."""
    parts = [
        "# Reference",
        "",
        "Written from the code by `docs/generate.py`; do not edit.",
        "",
        "## `headrace.yaml`",
        "",
    ]
    for section in SECTIONS:
        parts += _table(section.__name__, section)
    parts += ["## A periods file (`headrace evaluate --periods FILE`)", ""]
    for one in (periods.Periods, periods.Drift):
        parts += _table(one.__name__, one)
    for title, family in FAMILIES:
        parts += [f"## {title}", ""]
        for name in family.names():
            member = family.find(name)
            parts += [f"**`{name}`** {_first(member)}", "", *_rows(member.Params), ""]
    parts += ["## Settings", ""]
    for one in kinds_of_settings():
        parts += _table(one.__name__, one)
    return "\n".join(parts).rstrip() + "\n"


def kinds_of_settings() -> list[type[Any]]:
    """Every class of settings."""
    return [one for one in vars(settings).values() if isinstance(one, type) and one.__module__ == settings.__name__]


def _table(title: str, model: type[Any]) -> list[str]:
    return [f"### {title}", "", _first(model), "", *_rows(model), ""]


def _first(member: type[Any]) -> str:
    return (inspect.getdoc(member) or "").partition("\n\n")[0].replace("\n", " ")


def _rows(model: type[Any]) -> list[str]:
    rows = [f"| `{name}` | {_default(default)} | {about} |" for name, default, about in fields(model)]
    return ["| field | default | meaning |", "|---|---|---|", *rows] if rows else ["No settings."]


def fields(model: type[Any]) -> Iterator[tuple[str, str, str]]:
    """(name, default as written, docstring) of each annotated attribute, in order; those of our base classes first."""
    for base in model.__bases__:
        if base is not Params and (issubclass(base, Params) or base.__module__ == spec.__name__):
            yield from fields(base)
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    for index, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            following = body[index + 1] if index + 1 < len(body) else None
            about = _doc(following)
            yield node.target.id.removesuffix("_"), ast.unparse(node.value) if node.value is not None else "", about


def _doc(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split()).replace("|", "\\|")
    return ""


def _default(written: str) -> str:
    if not written:
        return "required"
    if written.startswith("Field("):
        call = ast.parse(written, mode="eval").body
        assert isinstance(call, ast.Call)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        written = given.get("default") or (given.get("default_factory", "") and "empty") or "required"
    return {"required": "required", "empty": "empty"}.get(written, f"`{_duration(written)}`")


def _duration(written: str) -> str:
    """``16 * DAY`` as a user writes it."""
    for name, unit, size in (("DAY", "d", DAY), ("HOUR", "h", HOUR), ("MINUTE", "m", MINUTE), ("SECOND", "s", SECOND)):
        if written == name or written.endswith(f"* {name}"):
            return f"{eval(written, {'__builtins__': {}}, {name: size}) // size}{unit}"  # noqa: S307 - our own source
    return written


if __name__ == "__main__":
    FILE.write_text(text())
