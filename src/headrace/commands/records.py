"""What commands on datasets and models share: options, pages of records, and how records are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from headrace.commands.calling import call, fail
from headrace.commands.printing import clock, say, table

Name = Annotated[str, typer.Option(help="Name to list it under (default: the file's).")]
Description = Annotated[str, typer.Option(help="A sentence about it.")]
Confidential = Annotated[
    bool, typer.Option("--confidential", help="Its claim is sealed: the ledger holds nothing but a digest of it.")
]
Company = Annotated[str, typer.Option(help="Only of this company.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to (default: its own name, here).")]
Gone = Annotated[bool, typer.Option("--deleted", help="Tombstones, too: records of what was deleted.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DATASET = {"pending": "measuring", "done": "ready", "failed": "ready, not measured", "none": "ready"}
"""State of a dataset's statistics -> of the dataset, in the words of the page."""
REVOKED = "revoked: "
"""`headrace.assets.REVOKED`, without the time it takes to import that."""
PAGE = 100
"""Records of one answer."""


def pages(
    url: str,
    path: str,
    company: str,
    limit: int,
    after: str = "",
    asked: Mapping[str, str] = MappingProxyType({}),
    *,
    gone: bool = False,
) -> list[dict[str, Any]]:
    """Records from a path that answers page by page, up to a limit.

    Args:
        after: id to go on after.
        asked: more of the query.
        gone: tombstones, too.
    """
    from urllib.parse import urlencode

    found: list[dict[str, Any]] = []
    while len(found) < limit:
        query = {
            "company": company,
            "limit": min(PAGE, limit - len(found)),
            "after": after,
            "deleted": "1" if gone else "",
            **asked,
        }
        page = call(url, "GET", f"{path}?" + urlencode({name: value for name, value in query.items() if value}))
        found += page["items"]
        if not page["next"] or not page["items"]:
            break
        after = page["next"]
    return found[:limit]


def listed(found: Any) -> list[dict[str, Any]]:
    """A list, or the items of a page."""
    items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found
    return items


def print_made(one: dict[str, Any], as_json: bool) -> None:
    """What was registered."""
    if as_json:
        say(json.dumps(one, indent=2))
        return
    stored = one.get("stored") or one["files"][0]["stored"]
    say(f"{one['id']}: {one['name']}, {stored['size']:,} bytes, {stored['sha256']}")


def print_got(one: dict[str, Any], target: Path, digest: str, as_json: bool) -> None:
    """What was downloaded."""
    if as_json:
        say(json.dumps({"id": one["id"], "path": str(target), "digest": digest}, indent=2))
    else:
        say(f"{target}: as its record says, {digest}")


def sure(
    kind: str,
    one: dict[str, Any],
    *,
    yes: bool,
    done: str = "deleted",
    question: str = "Delete the {what}? Its content cannot be brought back.",
) -> None:
    """Ask before what cannot be undone. Ends the command unless the answer is yes, or nobody is there to answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{one['id']} ({one['name']}) was not {done}: --yes says that it shall be")
    typer.confirm(question.format(what=f"{kind} {one['name']} ({one['id']})"), abort=True, err=True)


def print_deleted(answer: dict[str, Any], as_json: bool) -> None:
    """What was deleted."""
    if as_json:
        say(json.dumps(answer, indent=2))
        return
    kept = "; its record stays, because others were made of it" if answer["tombstone"] else ""
    say(f"{answer['deleted']}: deleted{kept}")


def not_gone(one: dict[str, Any]) -> None:
    """Ends the command if only a record is left."""
    if one["deleted_ms"] is not None:
        fail(f"{one['id']} was deleted on {clock(one['deleted_ms'])} UTC; only its record is left")


def place_for(output: Path | None, name: str) -> Path:
    """A folder that exists means a file of its own name in it."""
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def print_head(one: dict[str, Any], stored: dict[str, Any] | None) -> None:
    """What every record begins with."""
    say(f"{one['id']}: {one['name']}, of {one['company']}, {state_of(one)}")
    say(f"registered {clock(one['created_ms'])} UTC by {one['created_by']}")
    if (reason := taken_back(one)) is not None:
        say(f"REVOKED by its owner, not to be relied upon any more: {reason}")
    if one.get("confidential"):
        say("confidential: the ledger has nothing but a digest of its sealed claim")
    if one["description"]:
        say(one["description"])
    if stored:
        say(f"{stored['size']:,} bytes, {stored['sha256']}, Merkle root {stored['root']}")
    if (anchoring := one.get("anchoring", "off")) != "off":
        where, note = one["contract"], one["anchoring_note"]
        say(f"ledger: {anchoring}" + (f", contract {where}" if where else "") + (f" ({note})" if note else ""))


def print_recipe(recipe: dict[str, Any] | None, used: dict[str, Any]) -> None:
    """A recipe in two lines; nothing if there is none.

    Args:
        used: hyper-parameters as the code says it used them, defaults of its own among them.
    """
    if recipe is None:
        return
    say(f"recipe: {recipe['entry_point']} of {recipe['code']['sha256']}")
    settings = {**recipe["parameters"], **used, **recipe["seeds"]}
    say("  " + ", ".join(f"{name}={value}" for name, value in settings.items()))


def print_snapshot(said: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Who published a model, and of what."""
    of = f"{said['model']!r}" + (f", key {said['key']!r}" if said["key"] else "")
    say(
        f"published by {of}, generation {said['generation']}, at {clock(said['published_ms'])} UTC (time of the readings)"
    )
    if reason := metadata.get("decision", {}).get("reason"):
        say(f"because: {reason}")
    say(
        f"learned from positions {said['first_position']:,} to {said['last_position']:,} of the log: "
        f"{said['records']:,} records, Merkle root {said['root']}"
    )
    say(f"topics: {', '.join(said['topics'])}; spec {said['spec']}")


def print_snapshots(found: list[dict[str, Any]], of: str) -> None:
    """What an online model published: when, and why."""
    rows = []
    for one in found:
        reason = one["metadata"].get("decision", {}).get("reason", "")
        published = clock(one["snapshot"]["published_ms"]) if one["snapshot"] else ""
        rows.append([one["id"], one["name"], published, reason, state_of(one)])
    head = ["id", "name", "published (time of the readings)", "because", "state"]
    table(head, rows, empty=f"no snapshots of an online model {of!r}; `headrace get` lists the online models")


def print_metrics(metrics: dict[str, Any]) -> None:
    """Measured values; nothing if there are none."""
    later = {name: value for name, value in metrics.items() if isinstance(value, dict)}
    rows = [[name, figure(value)] for name, value in metrics.items() if name not in later]
    if rows:
        table(["metric", "value"], rows)
    measured = [
        [dataset, name, figure(value)]
        for dataset, values in later.items()
        for name, value in values.items()
        if name not in {"job", "held_for"}
    ]
    if measured:
        table(["evaluated later on", "metric", "value"], measured)


def number(value: int | None) -> str:
    """A count; "" if it is not known."""
    return "" if value is None else f"{value:,}"


def figure(value: object) -> str:
    """A value of any kind in few characters."""
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)


def samples(one: dict[str, Any]) -> str:
    """The number of samples; "" if it is not known."""
    return number(one["samples"])


def state_of(one: dict[str, Any]) -> str:
    """The state of a dataset or model in a word."""
    if one["deleted_ms"] is not None:
        return "deleted"
    if taken_back(one) is not None:
        return "REVOKED"
    if str(one.get("anchoring_note", "")).startswith("unreadable: "):
        return "UNREADABLE"
    if "state" in one:
        return f"{one['state']}, held" if one["held_for"] else str(one["state"])
    return DATASET[one["statistics_state"]]


def taken_back(one: dict[str, Any]) -> str | None:
    """Why a dataset or model was revoked; None: it was not."""
    note = str(one.get("anchoring_note", ""))
    return note.removeprefix(REVOKED) if note.startswith(REVOKED) else None


def until_of(one: dict[str, Any]) -> str:
    """Until when a grant holds, or when it was revoked."""
    if one["revoked_ms"] is not None:
        return f"revoked {clock(one['revoked_ms'])}"
    return clock(one["expires_ms"]) if one["expires_ms"] is not None else "until revoked"
