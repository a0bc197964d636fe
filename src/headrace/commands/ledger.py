"""`headrace contract`, `headrace ledger`, `headrace revoke`: what is recorded where nobody can change it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, guard, quoted
from headrace.commands.printing import clock, say, table
from headrace.commands.records import Yes, figure, sure
from headrace.errors import BadInput, MissingExtra

TRANSACTION = re.compile(r"0x[0-9a-fA-F]{64}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(contract)
    app.command()(ledger)
    app.command()(revoke)


def contract(
    which: Annotated[str, typer.Argument(metavar="ADDRESS|ID", help="Address of a contract, or id of an asset.")],
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Show what the ledger says of a dataset or model, from chain data alone."""
    if TRANSACTION.fullmatch(which):
        fail(
            f"{which[:12]}… is the hash of a transaction: an address has 40 digits; `headrace contract ID` shows an asset's"
        )
    if which.startswith("0x"):
        found = call(url, "GET", f"/contracts/{quoted(which)}")
    else:
        items = call(url, "GET", f"/contracts?asset={quoted(which)}")["items"]
        if not items:
            fail(_not_there(url, which))
        found = items[0]
    if as_json:
        say(json.dumps(found, indent=2))
        return
    _print(found)


def _not_there(url: str, id: str) -> str:
    """Why an asset has no contract."""
    one = call(url, "GET", f"/{'datasets' if id.startswith('ds_') else 'models'}/{quoted(id)}")
    why = {"off": "there is no ledger here", "waiting": "it waits", "failed": "it failed"}.get(one["anchoring"], "")
    note = f": {one['anchoring_note']}" if one["anchoring_note"] else ""
    return f"{id} is not recorded on a ledger ({why or one['anchoring']}{note})"


def _print(found: dict[str, Any]) -> None:
    where = "in a batch anchored in" if found["kind"] == "batch" else f"{found['kind']} contract"
    say(f"{found['asset']} of {found['company']}: {where} {found['address']}")
    if found["revoked"] is not None:
        say(f"REVOKED: {found['revoked']}")
    say(f"owner {found['owner']}")
    _place("recorded by", found["deployed"])
    if found["recorded"]:
        _place("result by", found["recorded"])
    if proof := found["inclusion"]:
        say(f"leaf {proof['place']} (of {proof['count']}, counted from 0) under root {proof['root']}")
        for step, digest in enumerate(proof["path"], 1):
            say(f"  {step}. beside it on its way to the root: {digest}")
    _claim("claim", found["claim"], found["claim_digest"], found["opened"])
    if found["result"] is not None:
        _claim("result", found["result"], found["result_digest"], found["result_opened"])


def _place(word: str, at: dict[str, Any]) -> None:
    say(f"{word} transaction {at['transaction']} in block {at['block']}")


def _claim(name: str, said: dict[str, Any], digest: str, opened: dict[str, Any] | None) -> None:
    say()
    say(f"{name}, {digest}" + (": sealed; what follows is known to those who may see it" if opened else ""))
    shown = opened or said
    table(["field", "value"], [[key, value] for key, value in _fields("", shown)])


def _fields(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value of a claim with the way to it, none of them shortened; what is empty is left out.

    >>> list(_fields("", {"files": [{"path": "a.bin"}], "input_shape": [36, 1], "parent": None, "made_ms": 0}))
    [('files[0].path', 'a.bin'), ('input_shape', '36, 1'), ('made_ms', '1970-01-01 00:00:00 UTC')]
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _fields(f"{name}.{key}" if name else key, part)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for place, part in enumerate(value):
            yield from _fields(f"{name}[{place}]", part)
    elif isinstance(value, list):
        if value:
            yield name, ", ".join(_whole(part) for part in value)
    elif name.endswith("_ms") and type(value) is int:
        yield name, f"{clock(value)} UTC"
    elif value is not None and value != "":
        yield name, _whole(value)


def _whole(value: object) -> str:
    """A number with every digit that is recorded."""
    return repr(value) if isinstance(value, float) else figure(value)


def ledger(
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Of a stopped platform: check the log, and work the chain out again from it."),
    ] = False,
    data: Annotated[Path, typer.Option(help="With --rebuild: the platform's data directory.")] = Path("data"),
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Show which ledger this platform records on, who runs it, and your company's account there."""
    if rebuild:
        guard(lambda: _rebuilt(data, as_json))
        return
    found = call(url, "GET", "/ledger")
    if as_json:
        say(json.dumps(found, indent=2))
        return
    say(f"{found['kind']} ledger, {found['height']:,} blocks")
    say(f"genesis block {found['genesis']} (tells it from every other ledger: pinned with --genesis)")
    if found.get("warning"):
        say(f"WARNING: {found['warning']}")
    say(found["says"])
    if found["operator"]:
        say(f"operator's key {found['operator']} (pinned with --operator)")
    say(f"account of {found['company']}: {found['account']}")
    signer = call(url, "GET", f"/keys/{quoted(found['company'])}")["signer"]
    say(f"its signing key {signer} (pinned with --key, `headrace verify` and `headrace trust add`)")


def _rebuilt(data: Path, as_json: bool) -> None:
    from headrace.trust.ledgers.embedded import missing

    if gone := missing():
        raise MissingExtra(family="ledgers", name="embedded", module=gone, extra="chain")
    from headrace.trust.evm.book import LOG, rebuild
    from headrace.trust.keyring import Keyring

    folder = data / "ledger"
    if not (folder / LOG).is_file():
        raise BadInput(detail=f"there is no ledger in {folder}: --data says where the platform's data are")
    found = rebuild(folder, Keyring(data / "keys"))
    if as_json:
        say(json.dumps({"chain": found.chain, "genesis": found.genesis, "height": found.height}))
        return
    say(f"{found.height:,} blocks are made again from the log, each as the log names it; genesis {found.genesis}")


def revoke(
    id: Annotated[str, typer.Argument(help="Id of a dataset or model of yours.")],
    reason: Annotated[str, typer.Option(help="Why; it stands on the ledger for ever, for everybody to read.")],
    yes: Yes = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Have the ledger say, for ever, that a dataset or model is not to be relied upon any more."""
    kind = "datasets" if id.startswith("ds_") else "models"
    if not yes:
        question = (
            "Revoke the {what}? It stands on the ledger for ever, and what was made of it is not verified any more."
        )
        sure(kind[:-1], call(url, "GET", f"/{kind}/{quoted(id)}"), yes=False, done="revoked", question=question)
    found = call(url, "POST", f"/{kind}/{quoted(id)}/revoke", {"reason": reason})
    if as_json:
        say(json.dumps(found, indent=2))
        return
    say(f"{id}: {found['anchoring_note']}; `headrace contract {id}` shows when the ledger has it")
