"""Registered models, from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, jobs_at, quoted
from headrace.commands.certificates import print_certificate
from headrace.commands.jobs import Priority, Watch, begun
from headrace.commands.printing import say, table
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
    number,
    pages,
    place_for,
    print_deleted,
    print_got,
    print_head,
    print_made,
    print_metrics,
    print_recipe,
    print_snapshot,
    print_snapshots,
    state_of,
    sure,
)
from headrace.commands.train import train
from headrace.errors import size_of

model = typer.Typer(no_args_is_help=True, help="Registered models: trained here from a recipe, or uploaded.")
model.command("train")(train)


@model.command("list")
def model_list(
    company: Company = "",
    limit: Limit = 100,
    snapshots: Annotated[bool, typer.Option("--snapshots", help="Also what online models published.")] = False,
    of: Annotated[str, typer.Option(help="Only what this online model published.")] = "",
    deleted: Gone = False,
    after: Annotated[str, typer.Option(help="Go on after this id.")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Your company's registered models, and those granted to it; the newest first."""
    asked = {"snapshots": "true" if snapshots else "", "online": of}
    found = pages(url, "/models", company, limit, after, asked, gone=deleted)
    if as_json:
        say(json.dumps(found, indent=2))
        return
    if of:
        print_snapshots(found, of)
        return
    rows = [
        [one["id"], one["name"], one["company"], state_of(one), one["framework"], number(one["parameters"]), one["job"]]
        for one in found
    ]
    head = ["id", "name", "company", "state", "framework", "parameters", "job"]
    table(head, rows, empty="no models; `headrace model train DIR` trains one, `headrace model add FILE` registers one")


@model.command("show")
def model_show(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Print what is recorded of a model: recipe, files, metrics, where it comes from."""
    one = call(url, "GET", f"/models/{quoted(id)}")
    if as_json:
        say(json.dumps(one, indent=2))
        return
    print_head(one, None)
    shapes = [f"{word} {one[f'{word}_shape']}" for word in ("input", "output") if one[f"{word}_shape"]]
    parts = [one["framework"], *shapes, f"{one['parameters']:,} parameters" if one["parameters"] is not None else ""]
    if any(parts):
        say(", ".join(part for part in parts if part))
    for word in ("job", "parent", "digest", "fingerprint"):
        if one[word]:
            say(f"{word}: {one[word]}")
    if one["snapshot"]:
        print_snapshot(one["snapshot"], one["metadata"])
    if one["datasets"]:
        say(f"trained on: {', '.join(one['datasets'])}")
    if one["recipe"] and one["recipe"]["evaluation"]:
        say(f"held out: {', '.join(one['recipe']['evaluation'])}")
    if one["held_for"]:
        say(f"held until released by: {', '.join(one['held_for'])}")
    if one["recipe"]:
        note = f" ({one['reproducible_note']})" if one["reproducible_note"] else ""
        say(f"reproducible: {one['reproducible']}{note}")
    print_recipe(one["recipe"], one["metadata"].get("hyperparameters") or {})
    if one["translation"]:
        print_certificate(one["translation"])
        if one["metrics"]:
            say(f"metrics as measured of the original, {one['parent']}; the translation itself was compared only")
    print_metrics(one["metrics"])
    files = [[file["path"], size_of(file["stored"]["size"]), file["stored"]["sha256"]] for file in one["files"]]
    table(["file", "size", "digest"], files, empty="no files")


@model.command("reproduce")
def model_reproduce(
    id: str, priority: Priority = 0, watch: Watch = False, as_json: Json = False, url: Url = URL
) -> None:
    """Train a model's recipe once more, and compare the files digest by digest."""
    url, query = jobs_at(url), f"?priority={priority}" if priority else ""
    begun(url, call(url, "POST", f"/models/{quoted(id)}/reproduce{query}"), watch=watch, as_json=as_json)


@model.command("add")
def model_add(
    file: Annotated[Path, typer.Argument(help="A model trained elsewhere.")],
    name: Name = "",
    description: Description = "",
    confidential: Confidential = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Register a model as it is. Nothing is known of how it was trained, and its record says so."""
    from headrace.commands.sending import upload

    asked = {"name": name or file.name, "description": description, "confidential": confidential}
    print_made(upload(url, "/models", asked, "file", file), as_json)


@model.command("get")
def model_get(id: str, output: Output = None, force: Force = False, as_json: Json = False, url: Url = URL) -> None:
    """Download a model's file, or a folder of its files, and check each against the record."""
    from headrace.commands.fetching import download, file_path, inside

    one = call(url, "GET", f"/models/{quoted(id)}")
    not_gone(one)
    if one["held_for"] and not one["files"]:
        fail(f"{id} is held for {', '.join(one['held_for'])}: its files can be read here once they have released it")
    if not one["files"]:
        fail(f"{id} has no files: its state is {one['state']}")
    if len(one["files"]) == 1:
        (file,) = one["files"]
        target = place_for(output, inside(file["path"]).name)
        download(url, f"/models/{quoted(id)}/content", file["stored"], target, force=force)
        print_got(one, target, file["stored"]["sha256"], as_json)
        return
    folder = output or Path(id)
    if folder.exists() and not force:
        fail(f"{folder} exists; --force replaces files in it, --output chooses another")
    for file in one["files"]:
        target = folder / inside(file["path"])
        download(url, file_path(id, file["path"]), file["stored"], target, force=force)
    print_got(one, folder, one["digest"], as_json)


@model.command("code")
def model_code(id: str, output: Output = None, force: Force = False, as_json: Json = False, url: Url = URL) -> None:
    """Download the code a model was trained by, an archive, and check it against the record."""
    from headrace.commands.fetching import download

    one = call(url, "GET", f"/models/{quoted(id)}")
    not_gone(one)
    code = (one["recipe"] or fail(f"{id} was uploaded as it is: there is no code of it"))["code"]
    target = place_for(output, f"{id}-code.zip")
    download(url, f"/models/{quoted(id)}/code", code, target, force=force)
    print_got(one, target, code["sha256"], as_json)


@model.command("delete")
def model_delete(id: str, yes: Yes = False, as_json: Json = False, url: Url = URL) -> None:
    """Delete a registered model; what was made of it keeps its lineage."""
    sure("model", call(url, "GET", f"/models/{quoted(id)}"), yes=yes)
    print_deleted(call(url, "DELETE", f"/models/{quoted(id)}"), as_json)


@model.command("release")
def model_release(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Let a model go that another company trained on your data: from then on it is theirs to read."""
    one = call(url, "POST", f"/models/{quoted(id)}/release")
    if as_json:
        say(json.dumps(one, indent=2))
        return
    left = f"; still held for {', '.join(one['held_for'])}" if one["held_for"] else ""
    say(f"{id}: released{left}")
