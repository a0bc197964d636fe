"""`headrace analyse` and `headrace evaluate`: what is in a series, and how good a spec would be on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from headrace.commands.calling import URL, Json, Url, fail, guard
from headrace.commands.grouped import grouped
from headrace.commands.printing import say


@dataclass(frozen=True)
class Analysis:
    """What `headrace analyse` is asked beside the series."""

    field: Annotated[str | None, typer.Option(help="Only this field.")] = None
    device: Annotated[str | None, typer.Option(help="This device (default: the one with most readings).")] = None
    as_json: Json = False
    html: Annotated[Path | None, typer.Option(help="Also write a page with figures.")] = None
    data: Annotated[Path | None, typer.Option(help="Read a topic from this data directory, without a platform.")] = None
    url: Url = URL
    last: Annotated[str, typer.Option(help="How far back from a topic's newest reading.")] = "30d"
    timezone: Annotated[str | None, typer.Option(help="Whose hours count, such as Europe/Madrid (default: UTC).")] = (
        None
    )
    spec: Annotated[Path | None, typer.Option(help="Write the suggested spec to this new file.")] = None


@grouped(Analysis)
def analyse(
    asked: Analysis,
    what: Annotated[
        str, typer.Argument(metavar="TOPIC|FILE", help="A CSV or Parquet file if there is one, else a topic.")
    ],
) -> None:
    """What is in a series, what is wrong with it, and a spec that suits it."""
    from headrace.analysis.command import run

    guard(lambda: run(what, **asdict(asked)))


@dataclass(frozen=True)
class Evaluation:
    """What `headrace evaluate` is asked; the names of `headrace.evaluation.asked.Options`."""

    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Spec file; its models beside the standard ones.")
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: a time column and numbers, perhaps `device` (default: shipped)."),
    ] = None
    target: Annotated[str, typer.Option(help="Column to forecast, without a spec.")] = ""
    periods: Annotated[str, typer.Option(help="How many periods, or a YAML file that fixes them.")] = ""
    train: Annotated[str, typer.Option(help="Training time of a period, as in 16d.")] = ""
    validate: Annotated[str, typer.Option(help="Validation time of a period, as in 4d.")] = ""
    history: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Steps the windowed models look back (default 36; 24 is usual)."),
    ] = None
    only: Annotated[str, typer.Option(help="Contenders, as in ridge,gru (hour-mean is always there).")] = ""
    drift: Annotated[
        bool, typer.Option("--drift", help="The drift experiment: how soon is a change of level learnt?")
    ] = False
    as_json: Json = False
    csv: Annotated[Path | None, typer.Option(help="Also write a row per contender and period.")] = None
    html: Annotated[Path | None, typer.Option(help="Also write a page with figures.")] = None
    push: Annotated[str, typer.Option(help="Send the report to the platform at this URL.")] = ""
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2
    model: Annotated[str, typer.Option(help="Id of a registered model that takes part; it is asked, not fitted.")] = ""
    dataset: Annotated[str, typer.Option(help="Id of a registered dataset to evaluate on, instead of --data.")] = ""


@grouped(Evaluation)
def evaluate(asked: Evaluation, url: Url = URL) -> None:
    """Compare models and baselines over rolling periods, or under drift: errors, skill, intervals, without leakage."""
    from headrace.errors import BadSpec
    from headrace.evaluation.asked import Options
    from headrace.evaluation.command import run

    options = Options(**asdict(asked))
    if asked.model or asked.dataset:
        from headrace.commands.library import HttpLibrary

        options = replace(options, library=HttpLibrary(url))
    try:
        guard(lambda: run(options))
    except BadSpec as error:
        say(str(error), err=True)
        fail("nothing was evaluated")
