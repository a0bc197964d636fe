"""Datasets, models, grants, audit and lineage, from the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, fail, guard, quoted
from headrace.commands.printing import clock, table

dataset = typer.Typer(no_args_is_help=True, help="Datasets: registered, hashed, described, shared.")
model = typer.Typer(no_args_is_help=True, help="Registered models: trained here from a recipe, or uploaded.")
grant = typer.Typer(no_args_is_help=True, help="What your company opens to others, and others to it.")

Name = Annotated[str, typer.Option(help="Name to list it under (default: the file's).")]
Description = Annotated[str, typer.Option(help="A sentence about it.")]
Confidential = Annotated[bool, typer.Option("--confidential", help="Its metadata are not published, only a digest.")]
Company = Annotated[str, typer.Option(help="Only of this company.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Where to (default: its own name, here).")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
PAGE = 100


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    from headrace.commands.train import train

    model.command("train")(train)
    app.add_typer(dataset, name="dataset")
    app.add_typer(model, name="model")
    app.add_typer(grant, name="grant")
    app.command("audit")(audit)
    app.command("lineage")(lineage)


@dataset.command("list")
def dataset_list(company: Company = "", limit: Limit = 100, as_json: Json = False, url: Url = URL) -> None:
    """Your company's datasets, and those granted to it; the newest first."""
    found = _pages(url, "/datasets", company, limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        [one["id"], one["name"], one["company"], one["media"], _size(one["stored"]["size"]), _samples(one), _state(one)]
        for one in found
    ]
    head = ["id", "name", "company", "media", "size", "samples", "state"]
    table(head, rows, empty="no datasets; `headrace dataset add FILE` registers one")


@dataset.command("show")
def dataset_show(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Print what is recorded of a dataset, and its statistics."""
    one = call(url, "GET", f"/datasets/{quoted(id)}")
    if as_json:
        typer.echo(json.dumps(one, indent=2))
        return
    _head(one, one["stored"])
    if stream := one["stream"]:
        typer.echo(
            f"of {stream['topic']}, {clock(stream['from_ms'])} to {clock(stream['to_ms'])}: {stream['records']:,} records"
        )
    shape = f" of shape {one['sample_shape']}" if one["sample_shape"] else ""
    typer.echo(f"{one['media']}, {_samples(one) or 'samples not known'}{' samples' if _samples(one) else ''}{shape}")
    if one["statistics_state"] in {"pending", "failed"}:
        typer.echo(f"statistics: {one['statistics_state']} {one['statistics_error']}".rstrip())
    _columns(one["statistics"] or {})


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
    _made(upload(url, "/datasets", asked, "file", file), as_json)


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
    _made(call(url, "POST", "/datasets/from-stream", asked | {"confidential": confidential}), as_json)


@dataset.command("get")
def dataset_get(id: str, output: Output = None, force: Force = False, as_json: Json = False, url: Url = URL) -> None:
    """Download a dataset, and check it against its record."""
    from headrace.commands.sending import download, inside

    one = call(url, "GET", f"/datasets/{quoted(id)}")
    _not_gone(one)
    target = _target(output, inside(one["filename"]).name)
    download(url, f"/datasets/{quoted(id)}/content", one["stored"], target, force=force)
    _got(one, target, one["stored"]["sha256"], as_json)


@dataset.command("delete")
def dataset_delete(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Delete a dataset; what was made of it keeps its lineage."""
    _deleted(call(url, "DELETE", f"/datasets/{quoted(id)}"), as_json)


@model.command("list")
def model_list(company: Company = "", limit: Limit = 100, as_json: Json = False, url: Url = URL) -> None:
    """Your company's registered models, and those granted to it; the newest first."""
    found = _pages(url, "/models", company, limit)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [
        [one["id"], one["name"], one["company"], _state(one), one["framework"], _number(one["parameters"]), one["job"]]
        for one in found
    ]
    head = ["id", "name", "company", "state", "framework", "parameters", "job"]
    table(head, rows, empty="no models; `headrace model train DIR` trains one, `headrace model add FILE` registers one")


@model.command("show")
def model_show(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Print what is recorded of a model: recipe, files, metrics, where it comes from."""
    one = call(url, "GET", f"/models/{quoted(id)}")
    if as_json:
        typer.echo(json.dumps(one, indent=2))
        return
    _head(one, None)
    shapes = [f"{word} {one[f'{word}_shape']}" for word in ("input", "output") if one[f"{word}_shape"]]
    parts = [one["framework"], *shapes, f"{one['parameters']:,} parameters" if one["parameters"] is not None else ""]
    if any(parts):
        typer.echo(", ".join(part for part in parts if part))
    for word in ("job", "parent", "digest", "fingerprint"):
        if one[word]:
            typer.echo(f"{word}: {one[word]}")
    if one["datasets"]:
        typer.echo(f"trained on: {', '.join(one['datasets'])}")
    if one["held_for"]:
        typer.echo(f"held until released by: {', '.join(one['held_for'])}")
    if one["reproducible"] != "unknown":
        typer.echo(f"reproducible: {one['reproducible']} ({one['reproducible_note']})")
    _recipe(one["recipe"])
    _metrics(one["metrics"])
    files = [[file["path"], _size(file["stored"]["size"]), file["stored"]["sha256"]] for file in one["files"]]
    table(["file", "size", "digest"], files, empty="no files")


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
    _made(upload(url, "/models", asked, "file", file), as_json)


@model.command("get")
def model_get(id: str, output: Output = None, force: Force = False, as_json: Json = False, url: Url = URL) -> None:
    """Download a model's file, or a folder of its files, and check each against the record."""
    from headrace.commands.sending import download, file_path, inside

    one = call(url, "GET", f"/models/{quoted(id)}")
    _not_gone(one)
    if not one["files"]:
        fail(f"{id} has no files: its state is {one['state']}")
    if len(one["files"]) == 1:
        (file,) = one["files"]
        target = _target(output, inside(file["path"]).name)
        download(url, f"/models/{quoted(id)}/content", file["stored"], target, force=force)
        _got(one, target, file["stored"]["sha256"], as_json)
        return
    folder = output or Path(id)
    if folder.exists() and not force:
        fail(f"{folder} exists; --force replaces files in it, --output chooses another")
    for file in one["files"]:
        target = folder / inside(file["path"])
        download(url, file_path(id, file["path"]), file["stored"], target, force=force)
    _got(one, folder, one["digest"], as_json)


@model.command("delete")
def model_delete(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Delete a registered model; what was made of it keeps its lineage."""
    _deleted(call(url, "DELETE", f"/models/{quoted(id)}"), as_json)


@model.command("release")
def model_release(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Let a model go that another company trained on your data: from then on it is theirs to read."""
    one = call(url, "POST", f"/models/{quoted(id)}/release")
    if as_json:
        typer.echo(json.dumps(one, indent=2))
        return
    left = f"; still held for {', '.join(one['held_for'])}" if one["held_for"] else ""
    typer.echo(f"{id}: released{left}")


@grant.command("list")
def grant_list(as_json: Json = False, url: Url = URL) -> None:
    """Grants of your company, and to it."""
    found = _items(call(url, "GET", "/grants"))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    rows = [[one["id"], one["asset"], one["company"], one["grantee"], one["right"], _until(one)] for one in found]
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
        typer.echo(json.dumps(one, indent=2))
    else:
        ways = {"read": "read", "train": "train on", "derive": "train on, and keep what it makes of,"}
        until = f"until {clock(one['expires_ms'])} UTC" if one["expires_ms"] is not None else "until revoked"
        typer.echo(f"{one['id']}: {company} may {ways.get(right, right)} {asset} {until}")


@grant.command("revoke")
def grant_revoke(id: str, as_json: Json = False, url: Url = URL) -> None:
    """End a grant. What was downloaded is not taken back."""
    one = call(url, "DELETE", f"/grants/{quoted(id)}")
    typer.echo(json.dumps(one, indent=2) if as_json else f"{id}: revoked")


def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 50,
    before: Annotated[int | None, typer.Option(help="Entries before the one of this number.")] = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Who did, or tried to do, what with the things your company shares; the newest first."""
    query = f"?limit={limit}" + (f"&before={before}" if before is not None else "")
    found = _items(call(url, "GET", f"/audit{query}"))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
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
    found = call(url, "GET", f"/lineage/{quoted(id)}")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    names = {node["id"]: node["id"] if node["id"] != id else f"{node['id']} (this)" for node in found["nodes"]}
    rows = [
        [
            *(node["kind"], names[node["id"]], node["name"], node["company"]),
            "deleted" if node["deleted"] else node["state"],
            ", ".join(names.get(start, start) for start, end in found["edges"] if end == node["id"]),
        ]
        for node in found["nodes"]
    ]
    table(["kind", "id", "name", "company", "state", "made of"], rows)


def _pages(url: str, path: str, company: str, limit: int) -> list[dict[str, Any]]:
    from urllib.parse import urlencode

    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < limit:
        query = {"company": company, "limit": min(PAGE, limit - len(found)), "after": after}
        page = call(url, "GET", f"{path}?" + urlencode({name: value for name, value in query.items() if value}))
        found += page["items"]
        if not page["next"] or not page["items"]:
            break
        after = page["next"]
    return found[:limit]


def _items(found: Any) -> list[dict[str, Any]]:
    """A list, or the items of a page."""
    items: list[dict[str, Any]] = found["items"] if isinstance(found, dict) else found
    return items


def _made(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(one, indent=2))
        return
    stored = one.get("stored") or one["files"][0]["stored"]
    typer.echo(f"{one['id']}: {one['name']}, {stored['size']:,} bytes, {stored['sha256']}")


def _got(one: dict[str, Any], target: Path, digest: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"id": one["id"], "path": str(target), "digest": digest}, indent=2))
    else:
        typer.echo(f"{target}: as recorded, {digest}")


def _deleted(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    kept = "; its record stays, because others were made of it" if answer["tombstone"] else ""
    typer.echo(f"{answer['deleted']}: deleted{kept}")


def _not_gone(one: dict[str, Any]) -> None:
    if one["deleted_ms"] is not None:
        fail(f"{one['id']} was deleted on {clock(one['deleted_ms'])} UTC; only its record is left")


def _target(output: Path | None, name: str) -> Path:
    """A folder that exists means a file of its own name in it."""
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def _head(one: dict[str, Any], stored: dict[str, Any] | None) -> None:
    typer.echo(f"{one['id']}: {one['name']}, of {one['company']}, {_state(one)}")
    typer.echo(f"registered {clock(one['created_ms'])} UTC by {one['created_by']}")
    if one["description"]:
        typer.echo(one["description"])
    if stored:
        typer.echo(f"{stored['size']:,} bytes, {stored['sha256']}, Merkle root {stored['root']}")


def _recipe(recipe: dict[str, Any] | None) -> None:
    if recipe is None:
        return
    typer.echo(f"recipe: {recipe['entry_point']} of {recipe['code']['sha256']}")
    settings = {**recipe["parameters"], **recipe["seeds"]}
    typer.echo("  " + ", ".join(f"{name}={value}" for name, value in settings.items()))


def _metrics(metrics: dict[str, Any]) -> None:
    rows = [[name, f"{value:,.6g}" if isinstance(value, float) else str(value)] for name, value in metrics.items()]
    if rows:
        table(["metric", "value"], rows)


def _columns(statistics: dict[str, Any]) -> None:
    """A row for each column, feature or channel."""
    found = statistics.get("columns") or statistics.get("features") or []
    rows = []
    for place, one in enumerate(found):
        low, high = (one.get(name, one.get(other)) for name, other in (("min", "first"), ("max", "last")))
        figures = [_figure(value) for value in (low, high, one.get("mean"), one.get("std"))]
        rows.append([str(one.get("name", place)), str(one.get("type", "")), _number(one.get("missing")), *figures])
    if rows:
        table(["column", "type", "missing", "least", "most", "mean", "std"], rows)
    for name, word in (("classes", "class"), ("arrays", "array")):
        if name in statistics:
            shown = [
                [key, _figure(one["shape"] if isinstance(one, dict) else one)] for key, one in statistics[name].items()
            ]
            table([word, "shape" if name == "arrays" else "images"], shown)
    if "note" in statistics:
        typer.echo(statistics["note"])


def _figure(value: object) -> str:
    return "" if value is None else f"{value:,.6g}" if isinstance(value, float) else str(value)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _samples(one: dict[str, Any]) -> str:
    return _number(one["samples"])


def _state(one: dict[str, Any]) -> str:
    if one["deleted_ms"] is not None:
        return "deleted"
    if "state" in one:
        return f"{one['state']}, held" if one["held_for"] else str(one["state"])
    return "confidential" if one["confidential"] else "registered"


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(999), _size(2**20), _size(5 * 10**9)
    ('999 B', '1.0 MiB', '4.7 GiB')
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def _until(one: dict[str, Any]) -> str:
    if one["revoked_ms"] is not None:
        return f"revoked {clock(one['revoked_ms'])}"
    return clock(one["expires_ms"]) if one["expires_ms"] is not None else "until revoked"
