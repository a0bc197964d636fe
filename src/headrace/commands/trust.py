"""`headrace trust`: whose signatures this user believes."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from headrace.commands.calling import Json, fail, guard
from headrace.commands.options import filled
from headrace.commands.printing import say, table

trust = typer.Typer(no_args_is_help=True, help="Whose signatures you believe when a bundle is verified.")
Key = Annotated[str, typer.Option(metavar="PEM|FINGERPRINT", help="A company's signing key.", callback=filled)]
Operator = Annotated[
    str, typer.Option(metavar="PEM|FINGERPRINT", help="The key of a ledger's operator.", callback=filled)
]


@trust.command("add")
def trust_add(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    key: Key = "",
    operator: Operator = "",
    as_json: Json = False,
) -> None:
    """Pin a key. Get its fingerprint from its owner by another way than the bundle came."""
    from headrace import pins

    if not key and not operator:
        fail("say what to pin: --key for a company's signing key, --operator for a ledger's")
    made = guard(lambda: pins.add(name, pins.fingerprint(key), pins.fingerprint(operator)))
    if as_json:
        say(json.dumps({name: made}, indent=2))
        return
    for kind, given in made.items():
        say(f"{name}: {kind} {given}")


@trust.command("list")
def trust_list(as_json: Json = False) -> None:
    """Whom you trust."""
    from headrace import pins

    found = guard(pins.kept)
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [[name, kind, given] for name, one in sorted(found.items()) for kind, given in one.items()]
    table(["name", "what", "fingerprint"], rows, empty="nobody; `headrace trust add NAME --key FINGERPRINT` pins a key")


@trust.command("delete")
def trust_delete(name: Annotated[str, typer.Argument(help="What you called it.")]) -> None:
    """Trust it no more."""
    from headrace import pins

    guard(lambda: pins.delete(name))
    say(f"{name}: trusted no more")
