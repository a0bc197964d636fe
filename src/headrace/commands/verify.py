"""`headrace verify`, `headrace bundle`, `headrace trust`: what can be checked, and by whom.

Exit codes of `verify`: 0 all checks passed; 1 it could not be checked (as far as was asked); 2 wrong usage; 3 a check failed
(something was changed, it is of somebody else than you named, or it was revoked); 4 the signer is unknown.
"""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.commands.calling import URL, Json, Url, fail, guard, quoted
from headrace.commands.climbing import ID, Levels, check_asset
from headrace.commands.printing import say
from headrace.commands.records import Force
from headrace.commands.reporting import print_check, print_report
from headrace.commands.trust import Genesis, Key, Operator, fingerprints, trust

if TYPE_CHECKING:
    from headrace.claims import Check, Level
    from headrace.services.verification.knowing import Pins

FAILED, UNKNOWN = 3, 4
"""Exit codes."""
LARGE = 64 * 2**20
"""Bytes of a bundle from which its progress is shown."""
OTHER = re.compile(r"([a-z]{2})_[0-9a-f]{20}")
"""What other ids look like."""


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(verify)
    app.command()(bundle)
    app.add_typer(trust, name="trust")


def verify(
    what: Annotated[
        str,
        typer.Argument(metavar="ID|FILE", help="A dataset or model of the platform, or a bundle (`headrace bundle`)."),
    ],
    level: Annotated[
        Levels,
        typer.Option(
            help="How far: L0 recorded, L1 intact, L2 trained (translated, or its log replayed) again. A bundle reaches L1."
        ),
    ] = "L1",
    offline: Annotated[
        bool, typer.Option("--offline", help="With nothing but the file: no account, no network. A bundle always is.")
    ] = False,
    key: Key = None,
    operator: Operator = None,
    genesis: Genesis = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Check a dataset, a model or a bundle: the level it reaches, each check, and what was not checked.

    Exit codes: 0 it reached the level; 1 it could not be checked, or not as far; 3 a check failed; 4 the signer of a bundle is
    unknown (`headrace trust`).
    """
    pinned = bool(key or operator or genesis)
    if ID.fullmatch(what) and not Path(what).exists():
        if offline or pinned:
            fail("--offline, --key, --operator and --genesis are for a bundle: `headrace bundle ID` makes one")
        check_asset(url, what, level, as_json=as_json)
    elif OTHER.fullmatch(what) and not Path(what).exists():
        fail(f"{what} is neither a dataset (ds_…) nor a model (md_…): nothing else is recorded on a ledger")
    elif level == "L2":
        fail(
            "a bundle reaches L1: what is trained again is trained where the data are, `headrace verify ID --level L2`"
        )
    else:
        from headrace import pins

        given = fingerprints(key, operator, genesis)
        check_file(Path(what), guard(lambda: pins.chosen(*given)), level, as_json=as_json)


def check_file(path: Path, pins: Pins, level: Level, *, as_json: bool) -> None:
    """Check a bundle offline and print what was found. Ends the command with `FAILED` or `UNKNOWN` if it does not pass."""
    from headrace.commands.sending import progress
    from headrace.errors import BadInput, MissingExtra, Revoked, Tampered, UnknownSigner
    from headrace.services.verification.offline import Examination

    def told(check: Check) -> None:
        if not as_json:
            print_check(check)

    large = path.is_file() and path.stat().st_size > LARGE
    looking = Examination(pins, told)
    try:
        with progress(f"checking {path.name}", path.stat().st_size) if large else nullcontext(_nobody) as watch:
            report, code = looking.run(path, watch, level), 0
    except (Tampered, Revoked) as error:
        report, code = looking.refused(error), FAILED
    except UnknownSigner as error:
        report, code = looking.refused(error), UNKNOWN
    except (BadInput, MissingExtra) as error:
        fail(str(error))
    print_report(report, as_json=as_json, refused=bool(code))
    if code:
        raise typer.Exit(code)
    if looking.found is not None:
        _remember(looking.found.operator, looking.found.genesis)


def _remember(operator: str, genesis: str) -> None:
    """Keep the first ledger that was seen of an operator who is pinned."""
    from headrace import pins
    from headrace.errors import BadInput

    try:
        fresh = pins.remember(operator, genesis)
    except BadInput as error:
        say(f"headrace: the ledger's genesis block could not be remembered: {error}", err=True)
        return
    for name in fresh:
        say(
            f"headrace: genesis block {genesis} is remembered as the ledger of {name!r}; another one of the same operator is "
            "refused from now on",
            err=True,
        )


def _nobody(_: int) -> None:
    """Shows no progress."""


def bundle(
    id: Annotated[str, typer.Argument(help="A dataset or model that is anchored.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file (default: ID.bundle).")] = None,
    force: Force = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Get one file with which anybody can check an asset offline: its content, what is recorded, signatures, evidence."""
    from headrace.commands.fetching import download_whole
    from headrace.services.verification.received import Bundle

    target = output or Path(f"{id}.bundle")
    if not target.parent.is_dir():
        fail(f"{target}: there is no folder {target.parent}")
    found: dict[str, str] = {}
    sealed: list[str] = []

    def look(path: Path) -> None:
        with guard(lambda: Bundle(path)) as came:
            on, began = came.ledger()
            found.update(id=id, path=str(target), key=came.key().fingerprint, operator=on, genesis=began)
            sealed.extend(name for name, one in came.sayings().items() if one.opening is not None)

    download_whole(url, f"/bundles/{quoted(id)}", target, force=force, check=look)
    if as_json:
        say(json.dumps(found | {"size": target.stat().st_size}, indent=2))
        return
    say(f"{target}: {target.stat().st_size:,} bytes, signed with {found['key']}")
    say(f"check it anywhere: headrace verify {target} --offline --key {found['key']}")
    say(f"or by its ledger: --operator {found['operator']} --genesis {found['genesis']}")
    say("tell those fingerprints by another way than you send the file")
    if sealed:
        say(
            f"confidential: the {' and '.join(sealed)}, sealed on the ledger, can be read by whoever has this file",
            err=True,
        )
