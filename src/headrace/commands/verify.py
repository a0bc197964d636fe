"""`headrace verify`, `headrace bundle`, `headrace trust`: what can be checked, and by whom.

Exit codes of `verify`: 0 all checks passed; 1 it could not be checked (as far as was asked); 2 wrong usage; 3 a check failed
(something was changed, it is of somebody else than you named, or it was revoked); 4 the signer is unknown.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.commands.calling import URL, Json, Url, fail, guard, quoted
from headrace.commands.climbing import ID, Levels, check_asset
from headrace.commands.printing import say
from headrace.commands.records import Force
from headrace.commands.trust import Key, Operator, trust

if TYPE_CHECKING:
    from headrace.claims import Check, Report

FAILED, UNKNOWN = 3, 4
"""Exit codes."""
LARGE = 64 * 2**20
"""Bytes of a bundle from which its progress is shown."""
MARKS = {"running": "…", "passed": "✓", "failed": "✗", "skipped": "-"}


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
    key: Key = "",
    operator: Operator = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Check a dataset, a model or a bundle: the level it reaches, each check, and what was not checked.

    Exit codes: 0 it reached the level; 1 it could not be checked, or not as far; 3 a check failed; 4 the signer of a bundle is
    unknown (`headrace trust`).
    """
    if ID.fullmatch(what) and not Path(what).exists():
        if offline or key or operator:
            fail("--offline, --key and --operator are for a bundle: `headrace bundle ID` makes one")
        check_asset(url, what, level, as_json=as_json)
    elif level == "L2":
        fail(
            "a bundle reaches L1: what is trained again is trained where the data are, `headrace verify ID --level L2`"
        )
    else:
        check_file(Path(what), key, operator, as_json=as_json)


def check_file(path: Path, key: str, operator: str, *, as_json: bool) -> None:
    """Check a bundle offline and print what was found. Ends the command with `FAILED` or `UNKNOWN` if it does not pass."""
    from headrace import pins
    from headrace.commands.sending import progress
    from headrace.errors import BadInput, MissingExtra, Revoked, Tampered, UnknownSigner
    from headrace.services.verification.offline import examine, refusal

    checks: list[Check] = []

    def told(check: Check) -> None:
        checks.append(check)
        if not as_json:
            print_check(check)

    large = path.is_file() and path.stat().st_size > LARGE
    chosen = guard(lambda: pins.chosen(pins.fingerprint(key), pins.fingerprint(operator)))
    try:
        with progress(f"checking {path.name}", path.stat().st_size) if large else nullcontext(_nobody) as watch:
            report, code = examine(path, chosen, told, watch), 0
    except (Tampered, Revoked) as error:
        report, code = refusal(error, checks), FAILED
    except UnknownSigner as error:
        report, code = refusal(error, checks), UNKNOWN
    except (BadInput, MissingExtra) as error:
        fail(str(error))
    print_report(report, as_json=as_json)
    if code:
        raise typer.Exit(code)


def _nobody(_: int) -> None:
    """Shows no progress."""


def print_check(check: Check) -> None:
    """One line."""
    say(f"{MARKS[check.state]} {check.level} {check.name}: {check.detail}")


def print_report(report: Report, *, as_json: bool) -> None:
    """The level, and what was not checked."""
    if as_json:
        say(json.dumps(report.model_dump(mode="json"), indent=2))
        return
    say()
    say(_sentence(report))
    if report.chain:
        say(report.chain)
    say("not checked:")
    for left in report.not_checked:
        say(f"- {left}")


def _sentence(report: Report) -> str:
    if not report.id:
        return report.says
    if not report.passed:
        return f"{report.id}: a check failed; it reaches level {report.level}, {report.says}"
    return f"{report.id} {'is not ' if report.level == 'none' else ''}verified, level {report.level}, {report.says}"


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
    found: dict[str, str] = {}
    sealed: list[str] = []

    def look(path: Path) -> None:
        with guard(lambda: Bundle(path)) as came:
            found.update(id=id, path=str(target), key=came.key().fingerprint)
            sealed.extend(name for name, one in came.sayings().items() if one.opening is not None)

    download_whole(url, f"/bundles/{quoted(id)}", target, force=force, check=look)
    if as_json:
        say(json.dumps(found | {"size": target.stat().st_size}, indent=2))
        return
    say(f"{target}: {target.stat().st_size:,} bytes, signed with {found['key']}")
    say(f"check it anywhere: headrace verify {target} --offline --key {found['key']}")
    say("tell that fingerprint by another way than you send the file")
    if sealed:
        say(
            f"confidential: the {' and '.join(sealed)}, sealed on the ledger, can be read by whoever has this file",
            err=True,
        )
