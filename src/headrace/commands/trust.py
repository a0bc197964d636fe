"""`headrace trust`: whose signatures this user believes, and on which ledger."""

from __future__ import annotations

import json
from typing import Annotated, TypeAlias

import typer

from headrace.commands.calling import Json, fail, guard
from headrace.commands.options import filled
from headrace.commands.printing import say, table

trust = typer.Typer(no_args_is_help=True, help="Whose signatures you believe when a bundle is verified.")
Given: TypeAlias = list[str] | None
Key = Annotated[Given, typer.Option(metavar="PEM|FINGERPRINT", help="A company's signing key.", callback=filled)]
Operator = Annotated[
    Given, typer.Option(metavar="PEM|FINGERPRINT", help="The key of a ledger's operator.", callback=filled)
]
Genesis = Annotated[
    Given,
    typer.Option(
        metavar="HASH", help="The first block of a ledger: tells it from others of its operator.", callback=filled
    ),
]
SEEN_FIRST = "genesis (seen first)"


def fingerprints(key: Given, operator: Given, genesis: Given) -> tuple[str, str, str]:
    """Those three in their one form; "" for what was not given. Ends the command: it is none, or was given twice."""
    from headrace import pins

    for option, given in (("--key", key), ("--operator", operator), ("--genesis", genesis)):
        if given and len(given) > 1:
            fail(f"{option} was given {len(given)} times, and a bundle has one: `headrace trust add` pins several")
    one, other, block = ((given or [""])[0] for given in (key, operator, genesis))
    return (
        guard(lambda: pins.fingerprint(one)),
        guard(lambda: pins.fingerprint(other)),
        guard(lambda: pins.block(block)),
    )


@trust.command("add")
def trust_add(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    key: Key = None,
    operator: Operator = None,
    genesis: Genesis = None,
    as_json: Json = False,
) -> None:
    """Pin a key or a ledger. Get its fingerprint from its owner by another way than the bundle came."""
    from headrace import pins

    if not key and not operator and not genesis:
        fail("say what to pin: --key for a company's signing key, --operator for a ledger's, --genesis for the ledger")
    given = fingerprints(key, operator, genesis)
    made = guard(lambda: pins.add(name, *given))
    if as_json:
        say(json.dumps({name: made}, indent=2))
        return
    for kind, one in made.items():
        say(f"{name}: {_word(kind)} {one}")
    if "operator" in made and not {"genesis", pins.SEEN} & made.keys():
        say("the first ledger of that operator that is seen is remembered, and another refused; --genesis pins it now")


@trust.command("list")
def trust_list(as_json: Json = False) -> None:
    """Whom you trust."""
    from headrace import pins

    found = guard(pins.kept)
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [[name, _word(kind), given] for name, one in sorted(found.items()) for kind, given in one.items()]
    table(["name", "what", "fingerprint"], rows, empty="nobody; `headrace trust add NAME --key FINGERPRINT` pins a key")


@trust.command("delete")
def trust_delete(name: Annotated[str, typer.Argument(help="What you called it.")]) -> None:
    """Trust it no more."""
    from headrace import pins

    guard(lambda: pins.delete(name))
    say(f"{name}: trusted no more")


def _word(kind: str) -> str:
    return SEEN_FIRST if kind == "seen" else kind
