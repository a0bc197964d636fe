"""Registered ONNX models that answer at the inference doors: `headrace deploy`, `headrace deployments`."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from headrace.commands.calling import URL, Json, Url, call, quoted
from headrace.commands.printing import say
from headrace.commands.served import ports, print_deployments
from headrace.commands.specs import put


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(deploy)
    app.command()(deployments)


def deploy(
    id: Annotated[str, typer.Argument(help="A registered model that is ONNX: a translation, or an upload.")],
    name: Annotated[str, typer.Option(help="What it is called at the doors (default: made of its name).")] = "",
    provider: Annotated[
        list[str] | None,
        typer.Option(help="What computes it, as ONNX Runtime has it: cpu, cuda, openvino...; repeat it, the first that "
                     "is there is taken (default: cpu)."),
    ] = None,
    url: Url = URL,
) -> None:  # fmt: skip
    """Have a registered ONNX model answer at the inference doors; the same as applying a `kind: Deployment`."""
    import yaml

    name = name or slug(call(url, "GET", f"/models/{quoted(id)}")["name"]) or id.replace("_", "-")
    spec = {"kind": "Deployment", "metadata": {"name": name}, "model": id, "providers": provider or ["cpu"]}
    changes = put(url, yaml.safe_dump(spec, sort_keys=False), "(headrace deploy)", {})["changes"]
    say(f"{name}: {changes[name]}")
    for one in call(url, "GET", "/api/deployments"):
        if one["name"] == name:
            say(f"takes {ports(one['inputs'])}; gives {ports(one['outputs'])}; computed on {one['provider']}")
    say(f"POST {url.rstrip('/')}/v2/models/{name}/infer asks it; `headrace delete {name}` takes it out of service")


def deployments(as_json: Json = False, url: Url = URL) -> None:
    """Registered models that answer at the inference doors."""
    found = call(url, "GET", "/api/deployments")
    if as_json:
        say(json.dumps(found, indent=2))
        return
    print_deployments(found, empty="no model is deployed; `headrace deploy ID` takes one into service")


def slug(text: str) -> str:
    """A name as deployments may have, of any text.

    >>> slug("Facades U-Net (ONNX)"), slug("***")
    ('facades-u-net-onnx', '')
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
