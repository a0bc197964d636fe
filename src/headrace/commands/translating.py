"""`headrace translate ID`: a registered model to ONNX, and how near its answers are."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, quoted
from headrace.commands.certificates import print_certificate
from headrace.commands.printing import clock, say

SECONDS = 1800.0
"""For an answer: translations wait for one another."""
TICK = 0.5
SKEW = 2.0
"""Seconds that another computer's clock may be behind."""


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter("expected a number above 0")
    return value


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(translate)


def translate(
    id: Annotated[str, typer.Argument(help="A registered model whose training has completed.")],
    tolerance: Annotated[
        float | None,
        typer.Option(
            callback=_above_zero,
            help="Largest difference of answers (default: 1e-5 of the largest answer, 1e-3 where numbers get shorter).",
        ),
    ] = None,
    opset: Annotated[int, typer.Option(min=13, max=21, help="Version of ONNX's operators.")] = 17,
    name: Annotated[str, typer.Option(help="Name to list it under (default: the original's with ' (ONNX)').")] = "",
    dropout: Annotated[
        Literal["eval", "train-fixed"],
        typer.Option(help="eval: off, as when it is asked; train-fixed: on, with masks drawn once."),
    ] = "eval",
    input_shape: Annotated[
        str, typer.Option(help="Of one input without its batch, as in 3,64,64, where nothing else says it.")
    ] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Translate a model to ONNX, from which other runtimes read, in a sandbox; refused unless its answers are the original's."""
    if id.startswith("ds_"):
        fail(f"{id} is a dataset: what is translated are models (`headrace model list`)")
    wish: dict[str, Any] = {"opset": opset, "name": name, "dropout": dropout, "tolerance": tolerance}
    if input_shape:
        wish["input_shape"] = _shape(input_shape)
    began = time.time()
    with _clock(f"translating {id}", quiet=as_json):
        made = call(url, "POST", f"/translate/{quoted(id)}", wish, SECONDS)
    if as_json:
        say(json.dumps(made, indent=2))
        return
    there = made["created_ms"] < (began - SKEW) * 1000
    was = f" on {clock(made['created_ms'])} UTC: it was there already" if there else ""
    say(f"{made['id']}: {made['name']}, translated from {made['parent']}{was}")
    said = made["metadata"].get("original", "")
    if said:
        say(f"the original: {said}")
    for word in ("inputs", "outputs"):
        parts = [f"{one['name']} {axes(one['shape'])} {one['datatype']}" for one in made["metadata"].get(word, [])]
        if parts:
            say(f"{word}: {', '.join(parts)}")
    print_certificate(made["translation"])
    say(f"`headrace model get {made['id']}` downloads it, `headrace deploy {made['id']}` has it answer")


def axes(shape: list[int]) -> str:
    """A shape for people.

    >>> axes([-1, 36])
    '(n, 36)'
    """
    return f"({', '.join('n' if axis < 0 else str(axis) for axis in shape)})"


def _shape(text: str) -> list[int]:
    try:
        return [int(axis) for axis in text.replace("x", ",").split(",")]
    except ValueError:
        fail(f"--input-shape: expected axes such as 3,64,64, got {text[:60]!r}")


@contextlib.contextmanager
def _clock(what: str, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal that, and for how long, something is waited for."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    over, began = threading.Event(), time.monotonic()

    def tick() -> None:
        while not over.wait(TICK):
            print(f"\r{what}: {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
