"""The command line: which commands there are. Heavy imports stay inside them: ``headrace --help`` answers at once."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from headrace.commands import (
    answers,
    candidates,
    cards,
    deploying,
    jobs,
    ledger,
    people,
    platform,
    received,
    serve,
    share,
    specs,
    studies,
    translating,
    verify,
)
from headrace.commands.printing import say

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Machine learning on IoT streams: messages in, forecasts out, models that learn on the way.",
)


@app.callback()
def options(
    token: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_TOKEN", help="Token for the platform; better in the environment: `ps` shows this."
        ),
    ] = "",
) -> None:
    if token:
        os.environ["HEADRACE_TOKEN"] = token


for command in (
    platform.up,
    platform.demo,
    specs.apply,
    specs.diff,
    specs.get,
    specs.delete,
    received.inspect,
    received.log,
    answers.predict,
    answers.diagnose,
    answers.alerts,
    candidates.shadows,
    candidates.promote,
    candidates.replay,
    answers.explain,
    studies.analyse,
    studies.evaluate,
):
    app.command()(command)
app.add_typer(received.quarantine, name="quarantine")
for group in (people, share, jobs, ledger, verify, cards, translating, deploying, serve):
    group.register(app)


@app.command()
def version() -> None:
    """Print the version."""
    from headrace import __version__

    say(__version__)


def main() -> None:
    """Entry point of the `headrace` command."""
    try:
        app(prog_name="headrace")
    except KeyboardInterrupt:
        sys.exit(130)
    except (
        ModuleNotFoundError
    ) as error:  # an auditor's installation (docs/bundles.md) has what `verify FILE` and `trust` need
        if (error.name or "headrace").partition(".")[0] == "headrace":
            raise
        say(
            f"headrace: this command needs {error.name}, which is not installed: install Headrace with its dependencies",
            err=True,
        )
        sys.exit(1)
    except BrokenPipeError:  # whoever read our output has gone; nor must the flush at the end complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)


if __name__ == "__main__":
    main()
