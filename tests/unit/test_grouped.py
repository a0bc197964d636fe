"""A command's options as fields of a dataclass: typer sees them as if they stood in the function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from headrace.commands.grouped import grouped


@dataclass(frozen=True)
class Asked:
    """Options."""

    count: Annotated[int, typer.Option("--count", "-c", min=1, help="How many.")] = 3
    names: Annotated[list[str] | None, typer.Option(envvar="TEST_NAMES", help="Who.")] = None
    place: Path = Path("here")


def seen(*arguments: str, **env: str) -> tuple[int, list[tuple[Asked, str, bool]], str]:
    """Exit code, what the command was given, its output."""
    given: list[tuple[Asked, str, bool]] = []
    app = typer.Typer(add_completion=False)

    @app.command()
    @grouped(Asked)
    def tell(asked: Asked, what: Annotated[str, typer.Argument(help="A thing.")], loud: bool = False) -> None:
        """Tell it."""
        given.append((asked, what, loud))

    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120", **env})
    return done.exit_code, given, done.output


def test_defaults_are_the_dataclass_s() -> None:
    assert seen("x") == (0, [(Asked(), "x", False)], "")


def test_options_reach_their_fields() -> None:
    code, given, _ = seen("x", "-c", "5", "--names", "a", "--names", "b", "--place", "/p", "--loud")
    assert (code, given) == (0, [(Asked(5, ["a", "b"], Path("/p")), "x", True)])
    assert seen("x", TEST_NAMES="a b")[1][0][0].names == ["a", "b"]


def test_what_is_wrong_is_refused_and_help_has_the_functions_own_words() -> None:
    code, given, said = seen("x", "--count", "0")
    assert (code, given) == (2, []) and "--count" in said
    code, _, said = seen("--help")
    assert code == 0 and "Tell it." in said
    assert said.index("--count") < said.index("--names") < said.index("--place") < said.index("--loud")
