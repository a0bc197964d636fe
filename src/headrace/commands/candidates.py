"""Models beside the one that is served, or on the recorded log: compared with it, and put in its place."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, guard, quoted
from headrace.commands.files import beside, text_of
from headrace.commands.printing import say, table


def shadows(
    model: Annotated[str, typer.Argument(help="The model in service, or one of its candidates.")],
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Compare a model's candidates (`shadow: MODEL` in their spec) with it, and say whether the difference is more than luck."""
    found = call(url, "GET", f"/api/models/{quoted(model)}/shadows")
    if as_json:
        say(json.dumps(found, indent=2))
    elif not found:
        say(f"{model} has no shadows; `shadow: {model}` in the spec of a candidate makes it one")
    for one in found if not as_json else []:
        _print_comparison(one)


def promote(candidate: Annotated[str, typer.Argument(help="A shadow.")], url: Url = URL) -> None:
    """Let a candidate take the name and place of the model it is a shadow of, at one moment; the shadow is gone then."""
    done = call(url, "POST", f"/api/models/{quoted(candidate)}/promote")
    say(f"{candidate}: promoted, it is now {done['model']}; the last model answers until this one has read the log")


def _print_comparison(one: dict[str, Any]) -> None:
    where = f" for {one['key']}" if one.get("key") else ""
    say(f"{one['candidate']} against {one['served']}{where}: {one.get('verdict') or one['failed']}")
    if one.get("daily"):
        unit = f" ({one['unit']}²)" if one["unit"] else ""
        say(f"mean squared error{unit}: {one['mse_candidate']:,.6g} against {one['mse_served']:,.6g}")
        rows = [[row["day"], *_errors(row["candidate"], row["served"])] for row in one["daily"]]
        table(["day", one["candidate"], one["served"], "change %"], rows)
    for note in one.get("notes", []):
        say(f"note: {note}")


def _errors(mine: float, theirs: float) -> list[str]:
    change = f"{(mine / theirs - 1) * 100:+,.1f}" if theirs else ""
    return [f"{mine:,.6g}", f"{theirs:,.6g}", change]


def replay(
    file: Annotated[Path, typer.Option("--file", "-f", help="Spec file; each document is a candidate.")],
    last: Annotated[
        str, typer.Option(help="Compare the newest stretch of event time; all before is learnt from.")
    ] = "30d",
    against: Annotated[
        str, typer.Option(help="Model in service to compare with (default: the spec's `shadow`, else its name).")
    ] = "",
    data: Annotated[Path, typer.Option(help="The platform's data directory; it may be running.")] = Path("data"),
    push: Annotated[bool, typer.Option("--push", help="Also show the result on the platform's page.")] = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Score a candidate on the recorded log against what was served. Its own Python files run here, in this process."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # as in the workers, before numpy is loaded
    from headrace import replaying
    from headrace.errors import BadSpec

    text, results = text_of(file), []
    try:
        with _progress("reading the log") as watch:
            files = beside(text, file.parent)
            results = guard(
                lambda: replaying.replay(
                    text, str(file), files, data=data, last=_duration(last), against=against, watch=watch
                )
            )
    except BadSpec as error:
        say(str(error), err=True)
        fail("nothing was replayed")
    if as_json:
        say(json.dumps(results, indent=2))
    for one in results if not as_json else []:
        _print_comparison(one)
    for name in dict.fromkeys(one["candidate"] for one in results if push and "daily" in one):
        about = replaying.report([one for one in results if one["candidate"] == name])
        call(url, "PUT", f"/api/reports/{quoted(about['name'])}", about)
    if any(one.get("failed") for one in results):
        raise typer.Exit(1)


def _duration(text: str) -> int:
    from headrace.spec import duration

    try:
        found = duration(text)
    except ValueError as error:
        fail(f"--last: {error}")
    if not found:
        fail("--last: expected some time, such as 30d")
    return found


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
