"""Training jobs, from the command line: what runs, its log and progress, cancel and retry."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.commands.calling import SOON, URL, Json, Url, ask, call, fail, guard, jobs_at, quoted, read, reason
from headrace.commands.printing import clock, say, table
from headrace.commands.records import print_metrics
from headrace.controls import seen

if TYPE_CHECKING:
    import httpx

job = typer.Typer(no_args_is_help=True, help="Training jobs: what runs, what it says, how it ended.")
ENDED = {"done", "failed", "cancelled"}
POLL = 0.5
"""Seconds between looks at a job that is watched."""
Watch = Annotated[
    bool, typer.Option("--watch", help="Show its log and progress until it ends; exit code 1 if it fails.")
]
Priority = Annotated[int, typer.Option(min=-1000, max=1000, help="Higher goes first.")]
_RUNNERS = {
    "local": "a sandbox on the platform's machine",
    "container": "a container of its image",
    "unsafe": "no sandbox at all (the platform was started with --unsafe-no-sandbox)",
}
_STATES = "queued, running, done, failed or cancelled"


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(job, name="job")


@job.command("list")
def job_list(
    state: Annotated[str, typer.Option(help=f"Only {_STATES}.")] = "",
    model: Annotated[str, typer.Option(help="Only of the model of this id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 50,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Your company's jobs, the newest first."""
    from urllib.parse import urlencode

    hub, url = url, jobs_at(url)

    query = {"state": state, "model": model, "limit": limit}
    found = call(url, "GET", "/jobs?" + urlencode({name: value for name, value in query.items() if value}))["items"]
    if as_json:
        say(json.dumps(found, indent=2))
        return
    names = _names(hub) if found else {}
    rows = [
        [
            *(one["id"], one["kind"], names.get(one["model"], ""), one["model"], one["state"]),
            *(_percent(one), _lasted(one), clock(one["created_ms"]), _says(one)),
        ]
        for one in found
    ]
    head = ["id", "kind", "model", "model's id", "state", "progress", "lasted", "created (UTC)", "says"]
    table(head, rows, empty="no jobs; `headrace model train DIR` starts one")


@job.command("show")
def job_show(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Print what is recorded of a job."""
    url = jobs_at(url)
    one = call(url, "GET", f"/jobs/{quoted(id)}")
    if as_json:
        say(json.dumps(one, indent=2))
        return
    what = {"evaluate": f"measures {one['model']} on {one['dataset']}", "reproduce": f"trains {one['model']} once more"}
    say(f"{one['id']}: {one['state']}, of {one['company']}, {what.get(one['kind'], 'trains ' + one['model'])}")
    say(f"created {clock(one['created_ms'])} UTC by {one['created_by']}, priority {one['priority']}")
    if one["started_ms"] is not None:
        ended = f", ended {clock(one['ended_ms'])}" if one["ended_ms"] is not None else ""
        say(
            f"started {clock(one['started_ms'])}{ended} ({_lasted(one)}), attempt {one['attempt']}"
            + (f"; its code may fail {one['attempts']} times" if one["attempts"] > 1 else "")
        )
    if one["runner"]:
        say(f"ran in: {_RUNNERS.get(one['runner'], one['runner'])}")
    if one["peak_memory_bytes"] is not None:
        say(f"at most {one['peak_memory_bytes'] / 2**20:,.0f} MiB of memory")
    for text in (f"{_percent(one)} {one['message']}".strip(), one["reason"]):
        if text:
            say(text)
    say(f"its log has {one['log_bytes']:,} bytes: headrace job log {one['id']}")


@job.command("log")
def job_log(
    id: str,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    offset: Annotated[int, typer.Option(min=0, help="From this byte on.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with the text.")] = False,
    url: Url = URL,
) -> None:
    """Print what a job prints, as it stands in its log."""
    url = jobs_at(url)
    if as_json:
        text = b"".join(_log(url, id, offset, follow=follow))
        say(json.dumps({"id": id, "offset": offset, "bytes": len(text), "text": text.decode("utf-8", "replace")}))
        return
    for data in _log(url, id, offset, follow=follow):
        _print(data)


@job.command("cancel")
def job_cancel(id: str, as_json: Json = False, url: Url = URL) -> None:
    """Stop a job that is queued or runs."""
    url = jobs_at(url)
    one = call(url, "POST", f"/jobs/{quoted(id)}/cancel")
    say(json.dumps(one, indent=2) if as_json else f"{id}: {_cancelled(one)}")


@job.command("retry")
def job_retry(
    id: str,
    watch: Watch = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Queue a job that failed or was cancelled once more."""
    url = jobs_at(url)
    one = call(url, "POST", f"/jobs/{quoted(id)}/retry")
    if not watch:
        say(json.dumps(one, indent=2) if as_json else f"{id}: {one['state']}")
        return
    end(watched(url, id, quiet=as_json), as_json)


@job.command("evaluate")
def job_evaluate(
    model: Annotated[str, typer.Argument(help="Id of a model that was trained here.")],
    dataset: Annotated[str, typer.Argument(help="Id of a held-out dataset.")],
    entry: Annotated[str, typer.Option(help="Python file of the model's code (default: the recipe's).")] = "",
    priority: Priority = 0,
    watch: Watch = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Measure a trained model on a held-out dataset, by its own code."""
    url = jobs_at(url)
    asked = {"model": model, "dataset": dataset, "entry_point": entry, "priority": priority}
    begun(url, call(url, "POST", "/jobs/evaluate", asked), watch=watch, as_json=as_json)


@job.command("events")
def job_events(id: str, as_json: Json = False, url: Url = URL) -> None:
    """What happened to a job: queued, started, tried again and why."""
    url = jobs_at(url)
    found = call(url, "GET", f"/jobs/{quoted(id)}/events")["items"]
    if as_json:
        say(json.dumps(found, indent=2))
        return
    table(["time (UTC)", "what", "detail"], [[clock(one["time_ms"]), one["what"], one["detail"]] for one in found])


def begun(url: str, one: dict[str, Any], *, watch: bool, as_json: bool) -> None:
    """Print a job that was queued just now, or show it until it ends."""
    if watch:
        if not as_json:
            say(f"job {one['id']}", err=True)
        end(watched(url, one["id"], quiet=as_json), as_json)
        return
    if as_json:
        say(json.dumps(one, indent=2))
        return
    say(f"{one['id']}: {one['state']}; `headrace job log -f {one['id']}` shows what it prints")


def _cancelled(one: dict[str, Any]) -> str:
    return "cancelled" if one["state"] == "cancelled" else "is being stopped"


def watched(url: str, id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Show a job's log on stdout and its progress on stderr until it ends; the job as it ended.

    Args:
        quiet: the log is not shown.
    """
    offset, shown, waits = 0, not quiet, _Waits()
    try:
        with _bar() as bar:
            while True:
                one: dict[str, Any] = call(url, "GET", f"/jobs/{quoted(id)}")
                bar(one)
                waits(one)
                if shown:
                    offset, shown = _more(url, id, offset)
                if one["state"] in ENDED:
                    return one
                time.sleep(POLL)
    except KeyboardInterrupt:
        say(
            f"\nheadrace: the job goes on: `headrace job log -f {id}` shows it, `headrace job cancel {id}` stops it",
            err=True,
        )
        raise


class _Waits:
    """Says on stderr what a queued job waits for, if that lasts; each thing once."""

    def __init__(self) -> None:
        self._text, self._since, self._said = "", time.monotonic(), set[str]()

    def __call__(self, one: dict[str, Any]) -> None:
        text = _says(one) if one["state"] == "queued" else ""
        if text != self._text:
            self._text, self._since = text, time.monotonic()
        if text and text not in self._said and time.monotonic() - self._since >= SOON:
            self._said.add(text)
            say(f"queued: {text}", err=True)


def end(one: dict[str, Any], as_json: bool) -> None:
    """Print how a job ended and what it measured; exit code 1 unless it is done."""
    if as_json:
        say(json.dumps(one, indent=2))
    elif one["state"] == "done":
        say(f"{one['id']}: done in {_lasted(one)}; the model is {one['model']}")
        if one["reason"]:
            say(one["reason"])
        print_metrics(one["metrics"])
    if one["state"] != "done":
        fail(f"{one['id']}: {one['state']}: {one['reason'] or 'no reason was recorded'}")


def _more(url: str, id: str, offset: int) -> tuple[int, bool]:
    """(offset, whether to ask again) after printing what the log has now; a held one is not shown."""
    from headrace.commands.sending import send

    answer = guard(lambda: _sent(url, lambda: send(url, "GET", f"/jobs/{quoted(id)}/log?offset={offset}")))
    if answer.status_code == 403:
        say(f"headrace: the log is not shown: {reason(answer)}", err=True)
        return offset, False
    if answer.is_error:
        read(answer)
    _print(answer.content)
    return offset + len(answer.content), True


def _sent(url: str, work: Any) -> httpx.Response:
    import httpx

    from headrace.commands.sending import lost

    try:
        answer: httpx.Response = work()
    except httpx.HTTPError as error:
        fail(lost(url, error))
    return answer


def _log(url: str, id: str, offset: int, *, follow: bool) -> Iterator[bytes]:
    """The log from a byte on; a followed one until its attempt ends: when the token ends before, with a fresh one."""
    one = call(url, "GET", f"/jobs/{quoted(id)}")  # renews a token that has ended
    while True:
        for data in _answered(url, id, offset, follow=follow):
            offset += len(data)
            yield data
        attempt, one = one["attempt"], call(url, "GET", f"/jobs/{quoted(id)}")
        if not follow or one["state"] in ENDED or (attempt and one["attempt"] != attempt):
            return
        time.sleep(POLL)


def _answered(url: str, id: str, offset: int, *, follow: bool) -> Iterator[bytes]:
    import httpx

    from headrace import credentials
    from headrace.commands.sending import lost

    headers = guard(lambda: credentials.headers(url))
    place = f"{credentials.normal(url)}/jobs/{quoted(id)}/log?offset={offset}" + ("&follow=1" if follow else "")
    try:
        with httpx.stream(
            "GET", place, headers=headers, timeout=httpx.Timeout(60, read=None), trust_env=False
        ) as answer:
            if answer.is_error:
                answer.read()
                read(answer)
            yield from answer.iter_bytes()
    except httpx.HTTPError as error:
        fail(lost(url, error))


def _print(data: bytes) -> None:
    """What a program printed, as it is: but a terminal is not sent its control codes, only line breaks and tabs."""
    if sys.stdout.isatty():
        data = seen(data.decode("utf-8", "replace")).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _bar() -> Iterator[Any]:
    """A progress bar on stderr if that is a terminal and stdout is not: both would write into each other's lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal or sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)

        def show(one: dict[str, Any]) -> None:
            known = one["progress"] is not None
            bar.update(
                task,
                description=seen(f"{one['state']} {one['message'][:60]}".rstrip(), ""),
                total=1.0 if known else None,
                completed=one["progress"] or 0.0,
            )

        yield show


def _names(url: str) -> dict[str, str]:
    """Id -> name of the newest models; none if the sharing service is elsewhere."""
    answer = ask(url, "GET", "/models?limit=200&deleted=1")
    return {} if answer.is_error else {one["id"]: one["name"] for one in answer.json()["items"]}


def _says(one: dict[str, Any]) -> str:
    return str(one["reason"] or one["message"])


def _percent(one: dict[str, Any]) -> str:
    return "" if one["progress"] is None else f"{one['progress']:.0%}"


def _lasted(one: dict[str, Any]) -> str:
    if one["started_ms"] is None:
        return ""
    ended = one["ended_ms"] if one["ended_ms"] is not None else int(time.time() * 1000)
    return f"{max(0, ended - one['started_ms']) / 1000:,.1f} s"
