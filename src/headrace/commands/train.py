"""`headrace model train DIR`: a folder of code, datasets and settings, registered as a recipe and trained."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, ask, fail, guard, jobs_at, quoted
from headrace.commands.printing import say
from headrace.commands.records import Confidential, taken_back


def train(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with the code; .headraceignore leaves files out.")
    ],
    entry: Annotated[str, typer.Option(help="Python file in it that trains.")] = "train.py",
    data: Annotated[list[str] | None, typer.Option(help="Id of a dataset to train on; may be repeated.")] = None,
    evaluate: Annotated[list[str] | None, typer.Option(help="Id of a held-out dataset; may be repeated.")] = None,
    parent: Annotated[str, typer.Option(help="Id of the model whose weights it starts from.")] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyper-parameter, as in lr=0.01.")] = None,
    seed: Annotated[list[str] | None, typer.Option(help="A seed variable, as in SEED=1 (default: SEED=0).")] = None,
    name: Annotated[str, typer.Option(help="Name to list the model under (default: the folder's).")] = "",
    description: Annotated[str, typer.Option(help="A sentence about it.")] = "",
    require: Annotated[list[str] | None, typer.Option(help="An exact version it needs, as in torch==2.13.0.")] = None,
    image: Annotated[str, typer.Option(help="Container image to run in (needs a container engine).")] = "",
    memory_mb: Annotated[
        int | None, typer.Option(min=64, help="MiB of memory of the whole job, its output included (default: 2048).")
    ] = None,
    cpus: Annotated[float | None, typer.Option(min=0.1, help="Processor cores (default: 1).")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Wall time (default: 60).")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes and threads (default: 64).")] = None,
    output_mb: Annotated[int | None, typer.Option(min=1, help="MiB of output (default: 2048).")] = None,
    output_files: Annotated[int | None, typer.Option(min=1, help="Files of output (default: 1000).")] = None,
    log_mb: Annotated[int | None, typer.Option(min=1, help="MiB of log of an attempt (default: 4).")] = None,
    attempts: Annotated[
        int, typer.Option(min=1, max=10, help="How often the code may fail before the job counts as failed.")
    ] = 1,
    priority: Annotated[int, typer.Option(min=-1000, max=1000, help="Higher goes first.")] = 0,
    non_deterministic: Annotated[
        bool, typer.Option("--non-deterministic", help="Say that two runs will differ; it is marked so for ever.")
    ] = False,
    confidential: Confidential = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show log and progress until it ends; exit code 1 if it fails.")
    ] = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Register the code, datasets and settings as a recipe, and train a model of it in a sandbox."""
    limits = {
        "memory_bytes": _mib(memory_mb),
        "cpus": cpus,
        "seconds": minutes and minutes * 60,
        "processes": processes,
        "output_bytes": _mib(output_mb),
        "output_files": output_files,
        "log_bytes": _mib(log_mb),
    }
    recipe: dict[str, Any] = {
        "entry_point": entry,
        "parameters": dict(_setting(text) for text in set_ or []),
        "datasets": data or [],
        "evaluation": evaluate or [],
        "parent": parent,
        "environment": {"image": image, "requires": dict(_version(text) for text in require or [])},
        "limits": {key: value for key, value in limits.items() if value is not None},
        "deterministic": not non_deterministic,
        "priority": priority,
        "attempts": attempts,
    }
    if seed:
        recipe["seeds"] = dict(_seed(text) for text in seed)
    title = name or folder.resolve().name
    if not data:
        say("no --data: the code will find HEADRACE_DATA empty", err=True)
    asked = {"name": title, "description": description, "confidential": confidential, "recipe": recipe}
    _submit(url, asked, folder, watch=watch, as_json=as_json)


def _submit(url: str, asked: dict[str, Any], folder: Path, *, watch: bool, as_json: bool) -> None:
    from headrace.commands import jobs
    from headrace.commands.packing import pack
    from headrace.commands.sending import upload

    entry = asked["recipe"]["entry_point"]
    with tempfile.TemporaryDirectory(prefix="headrace-") as place:
        archive = Path(place) / "code.zip"
        names = guard(lambda: pack(folder, archive))
        if entry not in names:
            near = ", ".join(path for path in names if path.endswith(".py"))[:200] or "none"
            fail(f"{folder} has no file {entry!r}; --entry names the one that trains. Its Python files: {near}")
        made = upload(url, "/models", asked, "code", archive)
    _warn(url, asked["recipe"])
    if not watch:
        if as_json:
            say(json.dumps(made, indent=2))
        else:
            count = f"{len(names):,} file{'' if len(names) == 1 else 's'}"
            say(f"{made['id']}: {made['name']}, {count}; job {made['job']}")
            say(f"`headrace job log -f {made['job']}` shows what it prints")
        return
    if not as_json:
        say(f"{made['id']}: {made['name']}, job {made['job']}", err=True)
    jobs.end(jobs.watched(jobs_at(url), made["job"], quiet=as_json), as_json)


def _warn(url: str, recipe: dict[str, Any]) -> None:
    """Say which of its inputs their owners took back: that forbids no training, and nothing of it will be verified."""
    for id in dict.fromkeys([*recipe["datasets"], *recipe["evaluation"], *filter(None, [recipe["parent"]])]):
        answer = ask(url, "GET", f"/{'datasets' if id.startswith('ds_') else 'models'}/{quoted(id)}")
        if answer.is_success and (reason := taken_back(answer.json())) is not None:
            say(f"warning: {id} is revoked ({reason}): what is made of it is not verified beyond L0", err=True)


def _mib(count: int | None) -> int | None:
    return None if count is None else count * 2**20


def _split(text: str, option: str, example: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        fail(f"{option}: expected {example}, got {text[:60]!r}")
    return key.strip(), value


def _setting(text: str) -> tuple[str, bool | int | float | str]:
    """A name and a value: true, false and numbers as such, everything else as text; quotes make text of a number."""
    key, value = _split(text, "--set", "NAME=VALUE, such as lr=0.01")
    return key, scalar(value)


def scalar(text: str) -> bool | int | float | str:
    """What a value on a command line is.

    >>> scalar("1"), scalar("1e-3"), scalar("true"), scalar("adam"), scalar('"1"'), scalar("nan"), scalar("[1]")
    (1, 0.001, True, 'adam', '1', 'nan', '[1]')
    """
    try:
        found = json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return text
    if isinstance(found, float) and found - found != 0:
        return text
    return (
        found if isinstance(found, bool | int | float | str) and found not in {"NaN", "Infinity", "-Infinity"} else text
    )


def _seed(text: str) -> tuple[str, int]:
    key, value = _split(text if "=" in text else f"SEED={text}", "--seed", "NAME=INTEGER, such as SEED=1")
    try:
        return key, int(value)
    except ValueError:
        fail(f"--seed: expected an integer, got {text[:60]!r}")


def _version(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("==")
    if not sign or not key.strip() or not value.strip():
        fail(f"--require: expected an exact version such as torch==2.13.0, got {text[:60]!r}")
    return key.strip(), value.strip()
