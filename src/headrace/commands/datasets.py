"""Datasets, from the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, guard, quoted
from headrace.commands.printing import clock, say, table
from headrace.commands.records import (
    Company,
    Confidential,
    Description,
    Force,
    Gone,
    Limit,
    Name,
    Output,
    Yes,
    not_gone,
    pages,
    place_for,
    print_deleted,
    print_got,
    print_head,
    print_made,
    samples,
    state_of,
    sure,
)
from headrace.commands.statistics import print_statistics
from headrace.errors import size_of

dataset = typer.Typer(no_args_is_help=True, help="Datasets: registered, hashed, described, shared.")


@dataset.command("list")
def dataset_list(
    company: Company = "", limit: Limit = 100, deleted: Gone = False, as_json: Json = False, url: Url = URL
) -> None:
    """Your company's datasets, and those granted to it; the newest first."""
    found = pages(url, "/datasets", company, limit, gone=deleted)
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [
        [
            one["id"],
            one["name"],
            one["company"],
            one["media"],
            size_of(one["stored"]["size"]),
            samples(one),
            state_of(one),
        ]
        for one in found
    ]
    head = ["id", "name", "company", "media", "size", "samples", "state"]
    table(head, rows, empty="no datasets; `headrace dataset add FILE` registers one")


@dataset.command("show")
def dataset_show(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Print what is recorded of a dataset, and its statistics."""
    one = call(url, "GET", f"/datasets/{quoted(id)}")
    if as_json:
        say(json.dumps(one, indent=2))
        return
    print_head(one, one["stored"])
    if stream := one["stream"]:
        say(
            f"of {stream['topic']}, {clock(stream['from_ms'])} to {clock(stream['to_ms'])}: {stream['records']:,} records"
        )
    shape = f" of shape {one['sample_shape']}" if one["sample_shape"] else ""
    count = f"{samples(one)} sample{'' if one['samples'] == 1 else 's'}" if samples(one) else "samples not known"
    say(f"{one['media']}, {count}{shape}")
    if one["statistics_state"] == "pending":
        say("statistics: being measured")
    if one["statistics_state"] == "failed":
        say(f"not measured: {one['statistics_error'] or 'no reason is known'}")
    print_statistics(one["statistics"] or {})


@dataset.command("add")
def dataset_add(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet, npy, npz, a zip or tar of images, or anything else.")],
    name: Name = "",
    description: Description = "",
    media: Annotated[str, typer.Option(help="csv, parquet, npy, npz, images, other (default: found out).")] = "",
    confidential: Confidential = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Register a file. Large ones go on where they stopped when the same command is given again."""
    from headrace.commands.sending import upload

    asked: dict[str, Any] = {"name": name or file.name, "description": description, "confidential": confidential}
    if media:
        asked["media"] = media
    print_made(upload(url, "/datasets", asked, "file", file), as_json)


@dataset.command("from-stream")
def dataset_from_stream(
    topic: str,
    start: Annotated[str, typer.Option("--from", help="ISO 8601, or how long ago, as in 7d.")],
    end: Annotated[str, typer.Option("--to", help="The same; itself not included (default: now).")] = "",
    name: Annotated[str, typer.Option(help="Name to list it under (default: the topic).")] = "",
    description: Description = "",
    confidential: Confidential = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Register what a stream recorded in a range of time."""
    from headrace.commands.times import moment

    now = int(time.time() * 1000)
    first = guard(lambda: moment(start, now, "--from"))
    last = guard(lambda: moment(end, now, "--to")) if end else now
    if last <= first:
        fail(f"--to ({clock(last)} UTC) is not after --from ({clock(first)} UTC)")
    asked = {"topic": topic, "from_ms": first, "to_ms": last, "name": name or topic, "description": description}
    print_made(call(url, "POST", "/datasets/from-stream", asked | {"confidential": confidential}), as_json)


@dataset.command("get")
def dataset_get(
    id: str,
    output: Output = None,
    force: Force = False,
    raw: Annotated[bool, typer.Option("--raw", help="The raw records of the stream it was made of.")] = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Download a dataset, and check it against its record."""
    from headrace.commands.fetching import download, inside

    one = call(url, "GET", f"/datasets/{quoted(id)}")
    not_gone(one)
    what, stored, name = "content", one["stored"], inside(one["filename"]).name
    if raw:
        stream = one["stream"] or fail(f"{id} was not made of a stream: it has no raw records")
        stored = stream["raw"] or fail(f"{id} was made before raw records were kept")
        what, name = "raw", f"{id}.jsonl"
    target = place_for(output, name)
    download(url, f"/datasets/{quoted(id)}/{what}", stored, target, force=force)
    print_got(one, target, stored["sha256"], as_json)


@dataset.command("delete")
def dataset_delete(id: str, yes: Yes = False, as_json: Json = False, url: Url = URL) -> None:
    """Delete a dataset; what was made of it keeps its lineage."""
    sure("dataset", call(url, "GET", f"/datasets/{quoted(id)}"), yes=yes)
    print_deleted(call(url, "DELETE", f"/datasets/{quoted(id)}"), as_json)
