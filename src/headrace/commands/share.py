"""Grants, audit and lineage, from the command line, with the groups of datasets and models."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, ask, call, fail, guard, jobs_at, quoted, read
from headrace.commands.datasets import dataset
from headrace.commands.models import model
from headrace.commands.printing import clock, say, table
from headrace.commands.records import DATASET, listed, until_of

grant = typer.Typer(no_args_is_help=True, help="What your company opens to others, and others to it.")


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(dataset, name="dataset")
    app.add_typer(model, name="model")
    app.add_typer(grant, name="grant")
    app.command("audit")(audit)
    app.command("lineage")(lineage)


@grant.command("list")
def grant_list(as_json: Json = False, url: Url = URL) -> None:
    """Grants of your company, and to it."""
    found = listed(call(url, "GET", "/grants"))
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [[one["id"], one["asset"], one["company"], one["grantee"], one["right"], until_of(one)] for one in found]
    head = ["id", "asset", "owner", "to", "right", "until (UTC)"]
    table(head, rows, empty="no grants; `headrace grant add ASSET COMPANY` makes one")


@grant.command("add")
def grant_add(
    asset: Annotated[str, typer.Argument(help="Id of one of your datasets or models.")],
    company: Annotated[str, typer.Argument(help="The other company.")],
    right: Annotated[
        str, typer.Option(help="read it; train on it, the result is held until you release it; derive: train and keep.")
    ] = "read",
    expires: Annotated[str, typer.Option(help="ISO 8601, or how long from now, as in 30d (default: never).")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Open one dataset or model to another company. Code that may train on data can read them."""
    from headrace.commands.times import moment

    now = int(time.time() * 1000)
    asked: dict[str, Any] = {"asset": asset, "grantee": company, "right": right}
    if expires:
        asked["expires_ms"] = guard(lambda: moment(expires, now, "--expires", ahead=True))
    one = call(url, "POST", "/grants", asked)
    if as_json:
        say(json.dumps(one, indent=2))
    else:
        ways = {"read": "read", "train": "train on", "derive": "train on, and keep what it makes of,"}
        until = f"until {clock(one['expires_ms'])} UTC" if one["expires_ms"] is not None else "until revoked"
        say(f"{one['id']}: {company} may {ways.get(right, right)} {asset} {until}")


@grant.command("revoke")
def grant_revoke(id: str, as_json: Json = False, url: Url = URL) -> None:
    """End a grant. What was downloaded is not taken back."""
    one = call(url, "DELETE", f"/grants/{quoted(id)}")
    say(json.dumps(one, indent=2) if as_json else f"{id}: revoked")


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 50,
    before: Annotated[int | None, typer.Option(help="Entries before the one of this number.")] = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Who did, or tried to do, what with the things your company shares; the newest first."""
    query = f"?limit={limit}" + (f"&before={before}" if before is not None else "")
    found = listed(call(url, "GET", f"/audit{query}"))
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [
        [
            *(one["id"], clock(one["time_ms"]), one["company"], one["subject"], one["action"], one["asset"]),
            *("" if one["allowed"] else "refused", one["detail"]),
        ]
        for one in found
    ]
    table(["entry", "time (UTC)", "company", "who", "action", "asset", "", "detail"], rows, empty="nothing yet")


def lineage(
    id: Annotated[str, typer.Argument(help="A dataset, model or job.")], as_json: Json = False, url: Url = URL
) -> None:
    """What something was made of, and what was made of it."""
    answer = ask(url, "GET", f"/lineage/{quoted(id)}")
    if answer.status_code == 404 and id.startswith("jb_"):
        _aside(url, id)
    found = read(answer)
    if as_json:
        say(json.dumps(found, indent=2))
        return
    names = {node["id"]: node["id"] if node["id"] != id else f"{node['id']} (this)" for node in found["nodes"]}
    depth = depths([node["id"] for node in found["nodes"]], found["edges"])
    rows = [
        [
            *("  " * depth[node["id"]] + node["kind"], names[node["id"]], node["name"], node["company"]),
            "deleted"
            if node["deleted"]
            else "REVOKED"
            if node.get("revoked")
            else DATASET.get(node["state"], node["state"])
            if node["kind"] == "dataset"
            else node["state"],
            ", ".join(names.get(start, start) for start, end in found["edges"] if end == node["id"]),
        ]
        for node in sorted(found["nodes"], key=lambda node: depth[node["id"]])
    ]
    table(["kind", "id", "name", "company", "state", "made of"], rows)


def _aside(url: str, id: str) -> None:
    """Ends the command for a job that made nothing: it measured a model, or trained one again to compare."""
    answer = ask(jobs_at(url), "GET", f"/jobs/{quoted(id)}")
    if not answer.is_error and (one := answer.json())["kind"] != "train":
        did = {"evaluate": "measured", "reproduce": "trained again"}.get(one["kind"], one["kind"])
        fail(f"nothing was made by {id}: it {did} {one['model']}; `headrace lineage {one['model']}` shows that one's")


def depths(ids: list[str], edges: list[list[str]]) -> dict[str, int]:
    """How many steps of making lie behind each, at most: what something was made of comes before it.

    >>> depths(["model", "data", "job"], [["data", "job"], ["job", "model"], ["data", "model"]])
    {'model': 2, 'data': 0, 'job': 1}
    """
    depth = dict.fromkeys(ids, 0)
    for _ in ids:  # as many rounds as the longest way has steps, at most; a circle, which there is none, would end
        before = dict(depth)
        for start, end in (edge for edge in edges if set(edge) <= set(ids)):
            depth[end] = max(depth[end], min(len(ids), depth[start] + 1))
        if depth == before:
            break
    return depth
