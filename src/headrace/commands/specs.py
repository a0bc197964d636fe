"""Models of a stream: taken into service, looked at, taken out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, ask, call, fail, quoted, read, reason
from headrace.commands.files import beside, text_of
from headrace.commands.printing import say, table
from headrace.commands.served import print_deployments


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The spec file.")],
    url: Url = URL,
) -> None:
    """Take the models of a spec file into service, all or none: those that learn, and deployments."""
    answer = _put(url, file, dry=False)
    parents = answer.get("parents", {})
    for name, change in answer["changes"].items():
        from_ = f", starts from {parents[name]['id']} ({parents[name]['digest'][:19]})" if name in parents else ""
        say(f"{name}: {change}{from_}")


def diff(file: Annotated[Path, typer.Option("--file", "-f", help="The spec file.")], url: Url = URL) -> None:
    """Show what `apply` would change; nothing is changed."""
    import difflib

    import yaml

    from headrace.spec import plain_documents

    changes = _put(url, file, dry=True)["changes"]
    known = {one["name"]: one["spec"] for one in call(url, "GET", "/api/specs")}
    known |= {one["name"]: one["spec"] for one in call(url, "GET", "/api/deployments")}
    documents = [document for document in plain_documents(file.read_text()) if document]
    wanted = {document.get("metadata", document)["name"]: document for document in documents}
    for name, change in changes.items():
        say(f"{name}: {change}")
        before, after = (
            yaml.safe_dump(one, sort_keys=False).splitlines() if one else [] for one in (known.get(name), wanted[name])
        )
        for line in difflib.unified_diff(before, after, "in service", str(file), lineterm="", n=2):
            say(f"  {line}")


def get(
    name: Annotated[str | None, typer.Argument(help="One model: print its spec.")] = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """List the models in service, or print one's spec."""
    specs, deployed = call(url, "GET", "/api/specs"), call(url, "GET", "/api/deployments")
    if name is not None:
        found = [one for one in [*specs, *deployed] if one["name"] == name]
        if not found:
            fail(f"there is no model {name!r}; `headrace get` lists the models that exist")
        _print_spec(found[0], as_json)
    elif as_json:
        say(json.dumps([*specs, *deployed], indent=2))
    else:
        _list(specs, quiet=bool(deployed))
        if deployed:
            print_deployments(deployed)


def _list(specs: list[dict[str, Any]], *, quiet: bool) -> None:
    if specs or not quiet:
        table(
            ["model", "backend", "state", "keys", "snapshots", "behind"],
            [
                [s["name"], s["backend"], s["state"], _some(s["keys"]), f"{s['published']:,}", f"{s['lag']:,}"]
                for s in specs
            ],
            empty="no models in service; `headrace apply -f headrace.yaml` takes one in",
        )
    for one in specs:
        if one["shadow_of"]:
            say(f"{one['name']}: a shadow of {one['shadow_of']}, not served; compare: headrace shadows {one['name']}")
        if one["detail"]:
            say(f"{one['name']}: {one['detail']}")


def _some(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _print_spec(one: dict[str, Any], as_json: bool) -> None:
    import yaml

    say(json.dumps(one, indent=2) if as_json else yaml.safe_dump(one["spec"], sort_keys=False).rstrip())


def delete(name: Annotated[str, typer.Argument(help="The model.")], url: Url = URL) -> None:
    """Take a model out of service. Its recorded input stays in the log."""
    call(url, "DELETE", f"/api/specs/{quoted(name)}")
    say(f"{name}: deleted")


def _put(url: str, file: Path, *, dry: bool) -> dict[str, Any]:
    text = text_of(file)
    return put(url, text, str(file), beside(text, file.parent), dry=dry)


def put(url: str, text: str, file: str, files: dict[str, str], *, dry: bool = False) -> dict[str, Any]:
    """Have the text of a spec file applied; what is wrong with it ends the command."""
    body = {"text": text, "file": file, "files": files}
    answer = ask(url, "PUT", "/api/specs" + ("?dry_run=1" if dry else ""), body)
    if answer.status_code == 400:
        say(reason(answer), err=True)
        fail("nothing was applied")
    found: dict[str, Any] = read(answer)
    return found
