"""`headrace card`, `headrace bom`: what an asset is, for people and for programs, written from its records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from headrace.commands.calling import URL, Json, Url, ask, call, fail, quoted, read
from headrace.commands.printing import say

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file to write it to; replaced if it is there (default: print it)."),
]
Which = Annotated[str, typer.Argument(help="Id of a dataset or model.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(card)
    app.command()(bom)


def card(id: Which, output: Output = None, as_json: Json = False, url: Url = URL) -> None:
    """Write a model card (Markdown) from the records of a dataset or model, as you may see them."""
    answer = ask(url, "GET", f"/cards/{quoted(id)}")
    if answer.is_error:
        read(answer)
    _give(json.dumps({"id": id, "markdown": answer.text}) if as_json else answer.text.rstrip("\n"), output)


def bom(id: Which, output: Output = None, as_json: Json = False, url: Url = URL) -> None:
    """Write a bill of materials (CycloneDX 1.6, JSON) of a dataset or model: data, code, files, packages, model card."""
    _give(json.dumps(call(url, "GET", f"/boms/{quoted(id)}"), indent=None if as_json else 2), output)


def _give(text: str, output: Path | None) -> None:
    if output is None:
        say(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        fail(f"{output}: {error.strerror}")
    say(f"wrote {output}")
