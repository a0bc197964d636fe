"""The command line. Heavy imports stay inside the commands: ``headrace --help`` answers at once."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.commands import cards, jobs, ledger, people, serve, share, translating, verify
from headrace.commands.calling import URL, Json, Url, ask, call, fail, guard, quoted, read, reason
from headrace.commands.printing import clock, say, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Machine learning on IoT streams: messages in, forecasts out, models that learn on the way.",
)
BAR = 24
"""Characters of the longest bar."""


@app.callback()
def options(
    token: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_TOKEN", help="Token for the platform; better in the environment: `ps` shows this."
        ),
    ] = "",
) -> None:
    if token:
        os.environ["HEADRACE_TOKEN"] = token


@app.command()
def up(
    data: Annotated[Path, typer.Option(help="Data directory: the log and everything derived from it.")] = Path("data"),
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = 8080,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="MQTT port; 0 takes a free one.")] = 1883,
    host: Annotated[str, typer.Option(help="Address to bind both doors to.")] = "127.0.0.1",
    broker: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_BROKER",
            help="Also take messages from this broker: mqtt://host:port. Give one with a password in the environment, "
            "where `ps` does not show it.",
        ),
    ] = "",
    broker_topic: Annotated[list[str] | None, typer.Option(help="Topic filters on that broker (default: #).")] = None,
    mqtt_users: Annotated[Path | None, typer.Option(help="YAML file of MQTT users and their topics.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate: opens the MQTT TLS port.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of that certificate.")] = None,
    tls_port: Annotated[int, typer.Option(help="MQTT port for TLS; 0 takes a free one.")] = 8883,
    retention_days: Annotated[float, typer.Option(help="Forget records older than this; 0: never.")] = 0,
    retention_gb: Annotated[float, typer.Option(help="Keep the log below this size; 0: no limit.")] = 10,
    body_limit_mb: Annotated[float, typer.Option(help="Largest HTTP body, also after decompression.")] = 16,
    webhook_private: Annotated[
        bool, typer.Option("--webhook-private", help="Send alerts to private and loopback addresses too.")
    ] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Ask nobody for a token; only on loopback with one company.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Training jobs at one time.")] = 1,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="Run training code unisolated; only on loopback with one company."),
    ] = False,
    ledger: serve.Ledger = "",
    company_quota: Annotated[
        float, typer.Option(min=0, help="GB of datasets and models one company may keep; 0: no limit.")
    ] = 0,
    upload_limit: Annotated[float, typer.Option(min=0, help="GB of the largest file to be sent; 0: no limit.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line with all addresses once ready.")] = False,
) -> None:
    """Start the whole platform. Stops cleanly on Ctrl-C or SIGTERM; safe to start again on the same directory."""
    from headrace.running import run, settings_of

    settings = settings_of(
        data=data,
        host=host,
        http_port=http_port,
        mqtt_port=mqtt_port,
        broker=broker,
        broker_topics=broker_topic or ["#"],
        users=mqtt_users,
        certificate=tls_certificate,
        key=tls_key,
        tls_port=tls_port,
        retention_days=retention_days,
        retention_gb=retention_gb,
        body_limit_mb=body_limit_mb,
        webhook_private=webhook_private,
        open_=open_,
        jobs=jobs,
        unsafe=unsafe,
        ledger=ledger,
        company_quota=company_quota,
        upload_limit=upload_limit,
    )
    guard(lambda: run(settings, as_json=as_json))


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="Headless: 20 + 2 days, the score table, exit.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data directory (default: a temporary one).")] = None,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = 8080,
    mqtt_port: Annotated[int, typer.Option(min=0, max=65535, help="MQTT port; 0 takes a free one.")] = 1883,
    speed: Annotated[float, typer.Option(help="Live readings a second; 0: as fast as they are stored.")] = 2000,
) -> None:
    """The PV example: a real inverter's readings over real MQTT, two models and two baselines learning from them."""
    from headrace.demo import run

    guard(lambda: run(once=once, data=data, http_port=http_port, mqtt_port=mqtt_port, speed=speed))


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The spec file.")],
    url: Url = URL,
) -> None:
    """Take the models of a spec file into service, all or none."""
    answer = _put(url, file, dry=False)
    parents = answer.get("parents", {})
    for name, change in answer["changes"].items():
        from_ = f", starts from {parents[name]['id']} ({parents[name]['digest'][:19]})" if name in parents else ""
        say(f"{name}: {change}{from_}")


@app.command()
def diff(file: Annotated[Path, typer.Option("--file", "-f", help="The spec file.")], url: Url = URL) -> None:
    """Show what `apply` would change; nothing is changed."""
    import difflib

    import yaml

    from headrace.spec import plain_documents

    changes = _put(url, file, dry=True)["changes"]
    known = {one["name"]: one["spec"] for one in call(url, "GET", "/api/specs")}
    wanted = {document["metadata"]["name"]: document for document in plain_documents(file.read_text()) if document}
    for name, change in changes.items():
        say(f"{name}: {change}")
        before, after = (
            yaml.safe_dump(one, sort_keys=False).splitlines() if one else [] for one in (known.get(name), wanted[name])
        )
        for line in difflib.unified_diff(before, after, "in service", str(file), lineterm="", n=2):
            say(f"  {line}")


@app.command()
def get(
    name: Annotated[str | None, typer.Argument(help="One model: print its spec.")] = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """List the models in service, or print one's spec."""
    specs = call(url, "GET", "/api/specs")
    if name is not None:
        found = [one for one in specs if one["name"] == name]
        if not found:
            fail(f"there is no model {name!r}; `headrace get` lists the models that exist")
        _print_spec(found[0], as_json)
    elif as_json:
        say(json.dumps(specs, indent=2))
    else:
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
                say(
                    f"{one['name']}: a shadow of {one['shadow_of']}, not served; compare: headrace shadows {one['name']}"
                )
            if one["detail"]:
                say(f"{one['name']}: {one['detail']}")


@app.command()
def delete(name: Annotated[str, typer.Argument(help="The model.")], url: Url = URL) -> None:
    """Take a model out of service. Its recorded input stays in the log."""
    call(url, "DELETE", f"/api/specs/{quoted(name)}")
    say(f"{name}: deleted")


@app.command()
def inspect(
    topic: Annotated[str | None, typer.Argument(help="Without it: all topics.")] = None,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Show what was understood of a topic: devices, fields, units, rate, last values, rejected messages."""
    if topic is None:
        found = call(url, "GET", "/api/topics")
        rows = [[t["topic"], f"{t['messages']:,}", f"{t['quarantined']:,}", len(t["devices"])] for t in found]
        if as_json:
            say(json.dumps(found, indent=2))
        else:
            table(["topic", "messages", "rejected", "devices"], rows, empty="nothing received yet")
        return
    one = call(url, "GET", f"/api/topics/{quoted(topic)}")
    if as_json:
        say(json.dumps(one, indent=2))
    else:
        _print_topic(one)


@app.command()
def log(
    topic: str,
    offset: Annotated[int | None, typer.Option(help="Start here; without it: the newest messages.")] = None,
    partition: Annotated[int, typer.Option(help="Partition of the topic.")] = 0,
    limit: Annotated[int, typer.Option(help="At most this many, up to 1000.")] = 20,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    url: Url = URL,
) -> None:
    """Print the recorded messages of a topic, as they came."""
    from urllib.parse import quote

    query = f"limit={limit}" + (f"&offset={offset}&partition={partition}" if offset is not None else "")
    found = call(url, "GET", f"/api/records/{quote(topic, safe='')}?{query}")
    if as_json:
        say(json.dumps(found, indent=2))
    else:
        rows = [[one["offset"], one["position"], clock(one["received_ms"]), one["payload"][:200]] for one in found]
        table(["offset", "position", "received (UTC)", "payload"], rows, empty="no messages there")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Print the last available forecast of a model."""
    outputs = [{"name": name} for name in ("y", "low", "high")]
    answer = call(url, "POST", f"/v2/models/{quoted(model)}/infer", {"parameters": {"key": key}, "outputs": outputs})
    if as_json:
        say(json.dumps(answer))
        return
    about, found = answer["parameters"], {one["name"]: one["data"] for one in answer["outputs"]}
    times = [clock(about["origin_ms"] + step * about["step_ms"])[:-3] for step in range(len(found["y"]))]
    rows = [
        [time, *(f"{v:,.1f}" for v in row)] for time, row in zip(times, zip(*found.values(), strict=True), strict=True)
    ]
    by = "the learning model" if about["by"] == "live" else f"snapshot {about['by']}"
    say(f"{model} for {about['key']}, made by {by}")
    table(["from (UTC)", *("forecast" if name == "y" else name for name in found)], rows)
    if "interval_n" in about:
        unit = call(url, "GET", f"/api/models/{quoted(model)}?key={quoted(about['key'])}&days=0.1")["unit"]
        say(_measured(about, unit))


def _measured(about: dict[str, Any], unit: str) -> str:
    """What the band was worth, in one line."""
    active = about["interval_active_n"]
    hours = f" (active hours: {about['interval_active_coverage']:.0%} of {active:,})" if active else ""
    return (
        f"{about['interval_nominal']:.0%} band: held {about['interval_coverage']:.0%} of the {about['interval_n']:,} outcomes "
        f"of {about['interval_days']} days{hours}, mean width {about['interval_width']:,.4g} {unit}".rstrip()
    )


@app.command()
def diagnose(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    level: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Significance level of the tests.")] = 0.05,
    days: Annotated[float, typer.Option(min=0.1, max=400, help="Of the forecasts of this many last days.")] = 30,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Test whether a model's errors are normally distributed, and say what the tests can show."""
    asked = call(url, "GET", f"/api/models/{quoted(model)}/residuals?key={quoted(key)}&days={days}")
    from headrace.models.diagnostics import normality

    guard(lambda: _diagnosis(asked, normality([value for _, value in asked["residuals"]], level), as_json))


def _diagnosis(asked: dict[str, Any], found: Any, as_json: bool) -> None:
    if as_json:
        about = {name: asked[name] for name in ("name", "key", "unit", "days")}
        say(json.dumps({**about, **found.plain()}, indent=2))
        return
    say(f"{asked['name']} for {asked['key']}: {found.n:,} errors of the last {asked['days']:g} days")
    table(["test", "statistic", "p", f"at {found.level:g}"], found.rows())
    say(found.sentence)


@app.command()
def alerts(
    model: Annotated[str, typer.Option(help="Only of this model.")] = "",
    key: Annotated[str, typer.Option(help="Only of this device.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those that are not cleared.")] = False,
    limit: Annotated[int, typer.Option(help="At most this many, up to 1000.")] = 50,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """List what the rules of the models have raised, the newest first."""
    from urllib.parse import urlencode

    query = {"model": model, "key": key, "active": "1" if active else "", "limit": limit}
    found = call(url, "GET", "/api/alerts?" + urlencode({name: value for name, value in query.items() if value != ""}))
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [
        [clock(one["raised_ms"]), clock(one["cleared_ms"]) if one["cleared_ms"] is not None else "active"]
        + [one[name] for name in ("severity", "model", "key", "rule", "message")]
        for one in found
    ]
    head = ["raised (UTC)", "cleared", "severity", "model", "key", "rule", "why"]
    table(head, rows, empty="no alerts" + (" are active" if active else ""))


@app.command()
def shadows(
    model: Annotated[str, typer.Argument(help="The model in service, or one of its candidates.")],
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Compare a model's candidates (`shadow: MODEL` in their spec) with it, and say whether the difference is more than luck."""
    found = call(url, "GET", f"/api/models/{quoted(model)}/shadows")
    if as_json:
        say(json.dumps(found, indent=2))
    elif not found:
        say(f"{model} has no shadows; `shadow: {model}` in the spec of a candidate makes it one")
    for one in found if not as_json else []:
        _print_comparison(one)


@app.command()
def promote(candidate: Annotated[str, typer.Argument(help="A shadow.")], url: Url = URL) -> None:
    """Let a candidate take the name and place of the model it is a shadow of, at one moment; the shadow is gone then."""
    done = call(url, "POST", f"/api/models/{quoted(candidate)}/promote")
    say(f"{candidate}: promoted, it is now {done['model']}; the last model answers until this one has read the log")


@app.command()
def replay(
    file: Annotated[Path, typer.Option("--file", "-f", help="Spec file; each document is a candidate.")],
    last: Annotated[
        str, typer.Option(help="Compare the newest stretch of event time; all before is learnt from.")
    ] = "30d",
    against: Annotated[
        str, typer.Option(help="Model in service to compare with (default: the spec's `shadow`, else its name).")
    ] = "",
    data: Annotated[Path, typer.Option(help="The platform's data directory; it may be running.")] = Path("data"),
    push: Annotated[bool, typer.Option("--push", help="Also show the result on the platform's page.")] = False,
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Score a candidate on the recorded log against what was served. Its own Python files run here, in this process."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # as in the workers, before numpy is loaded
    from headrace import replaying
    from headrace.errors import BadSpec

    text, results = _text(file), []
    try:
        with _progress("reading the log") as watch:
            files = _beside(text, file.parent)
            results = guard(
                lambda: replaying.replay(
                    text, str(file), files, data=data, last=_duration(last), against=against, watch=watch
                )
            )
    except BadSpec as error:
        say(str(error), err=True)
        fail("nothing was replayed")
    if as_json:
        say(json.dumps(results, indent=2))
    for one in results if not as_json else []:
        _print_comparison(one)
    for name in dict.fromkeys(one["candidate"] for one in results if push and "daily" in one):
        about = replaying.report([one for one in results if one["candidate"] == name])
        call(url, "PUT", f"/api/reports/{quoted(about['name'])}", about)
    if any(one.get("failed") for one in results):
        raise typer.Exit(1)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="The model.")],
    key: Annotated[str, typer.Option(help="Which device; without it, the one that was forecast last.")] = "",
    target: Annotated[
        int | None, typer.Option(min=1, help="Which step ahead; default: the one that differs most.")
    ] = None,
    method: Annotated[str, typer.Option(help="How; default: as the spec says.")] = "",
    baseline: Annotated[str, typer.Option(help="Compared with what: profile (the usual inputs) or zero.")] = "",
    as_json: Json = False,
    url: Url = URL,
) -> None:
    """Print why the last forecast of a model is as it is: what its inputs contributed."""
    from urllib.parse import urlencode

    asked = {"key": key, "target": target, "method": method, "baseline": baseline}
    query = urlencode({name: value for name, value in asked.items() if value})
    found = call(url, "GET", f"/api/models/{quoted(model)}/explanation?{query}")
    if as_json:
        say(json.dumps(found))
    else:
        _print_explanation(found)


@app.command()
def analyse(
    what: Annotated[
        str, typer.Argument(metavar="TOPIC|FILE", help="A CSV or Parquet file if there is one, else a topic.")
    ],
    field: Annotated[str | None, typer.Option(help="Only this field.")] = None,
    device: Annotated[str | None, typer.Option(help="This device (default: the one with most readings).")] = None,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with figures.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Read a topic from this data directory, without a platform.")
    ] = None,
    url: Url = URL,
    last: Annotated[str, typer.Option(help="How far back from a topic's newest reading.")] = "30d",
    timezone: Annotated[
        str | None, typer.Option(help="Whose hours count, such as Europe/Madrid (default: UTC).")
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="Write the suggested spec to this new file.")] = None,
) -> None:
    """What is in a series, what is wrong with it, and a spec that suits it."""
    from headrace.analysis.command import run

    options: dict[str, Any] = {
        "field": field,
        "device": device,
        "as_json": as_json,
        "html": html,
        "data": data,
        "url": url,
    }
    guard(lambda: run(what, **options, last=last, timezone=timezone, spec=spec))


@app.command()
def evaluate(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Spec file; its models beside the standard ones.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: a time column and numbers, perhaps `device` (default: shipped)."),
    ] = None,
    target: Annotated[str, typer.Option(help="Column to forecast, without a spec.")] = "",
    periods: Annotated[str, typer.Option(help="How many periods, or a YAML file that fixes them.")] = "",
    train: Annotated[str, typer.Option(help="Training time of a period, as in 16d.")] = "",
    validate: Annotated[str, typer.Option(help="Validation time of a period, as in 4d.")] = "",
    history: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Steps the windowed models look back (default 36; 24 is usual)."),
    ] = None,
    only: Annotated[str, typer.Option(help="Contenders, as in ridge,gru (hour-mean is always there).")] = "",
    drift: Annotated[
        bool, typer.Option("--drift", help="The drift experiment: how soon is a change of level learnt?")
    ] = False,
    as_json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Also write a row per contender and period.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with figures.")] = None,
    push: Annotated[str, typer.Option(help="Send the report to the platform at this URL.")] = "",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 2,
    model: Annotated[str, typer.Option(help="Id of a registered model that takes part; it is asked, not fitted.")] = "",
    dataset: Annotated[str, typer.Option(help="Id of a registered dataset to evaluate on, instead of --data.")] = "",
    url: Url = URL,
) -> None:
    """Compare models and baselines over rolling periods, or under drift: errors, skill, intervals, without leakage."""
    from headrace.errors import BadSpec
    from headrace.evaluation.asked import Options
    from headrace.evaluation.command import run

    options = Options(
        file,
        data,
        target,
        periods,
        train,
        validate,
        history,
        only,
        as_json,
        csv,
        html,
        push,
        jobs,
        drift,
        model,
        dataset,
    )
    if model or dataset:
        from headrace.commands.library import HttpLibrary

        options = replace(options, library=HttpLibrary(url))
    try:
        guard(lambda: run(options))
    except BadSpec as error:
        say(str(error), err=True)
        fail("nothing was evaluated")


quarantine = typer.Typer(no_args_is_help=True, help="Messages no decoder understood.")
app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def quarantine_list(as_json: Json = False, url: Url = URL) -> None:
    """The newest, with the reason."""
    found = call(url, "GET", "/api/quarantine")
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [[one["position"], one["topic"], one["reason"], "yes" if one["replayed"] else ""] for one in found]
    table(["position", "topic", "reason", "replayed"], rows, empty="quarantine is empty")


@quarantine.command("replay")
def quarantine_replay(
    topic: Annotated[str | None, typer.Argument(help="Only this topic.")] = None, url: Url = URL
) -> None:
    """Send them through the decoders again, after what made them fail was mended."""
    query = f"?topic={quoted(topic)}" if topic else ""
    count = call(url, "POST", f"/api/quarantine/replay{query}")["replayed"]
    say(f"replayed {count:,} message{'' if count == 1 else 's'}")


for group in (people, share, jobs, ledger, verify, cards, serve, translating):
    group.register(app)


@app.command()
def version() -> None:
    """Print the version."""
    from headrace import __version__

    say(__version__)


def _put(url: str, file: Path, *, dry: bool) -> dict[str, Any]:
    text = _text(file)
    body = {"text": text, "file": str(file), "files": _beside(text, file.parent)}
    answer = ask(url, "PUT", "/api/specs" + ("?dry_run=1" if dry else ""), body)
    if answer.status_code == 400:
        say(reason(answer), err=True)
        fail("nothing was applied")
    found: dict[str, Any] = read(answer)
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        fail(f"{file} is not UTF-8 text")
    except OSError as error:
        fail(f"{file}: {error.strerror}")


def _beside(text: str, folder: Path) -> dict[str, str]:
    """The Python files a spec refers to, from its own folder."""
    import yaml

    from headrace.spec import TEXT, needed_files, plain_documents

    if len(text) > TEXT:
        return {}  # the platform refuses it
    try:
        documents = [one for one in plain_documents(text) if isinstance(one, dict)]
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}  # the platform answers with the line
    names = {name for document in documents for name in needed_files(document) if name == Path(name).name}
    return {name: _text(folder / name) for name in names if (folder / name).is_file()}


def _some(keys: list[str], most: int = 3) -> str:
    more = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more


def _print_spec(one: dict[str, Any], as_json: bool) -> None:
    import yaml

    say(json.dumps(one, indent=2) if as_json else yaml.safe_dump(one["spec"], sort_keys=False).rstrip())


def _print_topic(one: dict[str, Any]) -> None:
    decoders = ", ".join(f"{name} ({count})" for name, count in one["decoders"].items())
    plural = "" if one["messages"] == 1 else "s"
    why = ": the reasons are below; `headrace quarantine list` has those of all topics" if one["quarantined"] else ""
    say(f"{one['topic']}: {one['messages']:,} message{plural}, {one['quarantined']:,} rejected{why}")
    say(f"the newest {one['looked_at']:,} are read as {decoders}")
    for device in one["devices"]:
        every = device["every_seconds"]
        rate = f"a reading every {every:g} s" if every else "one reading"
        say(f"\ndevice {device['device']}: {rate}")
        table(
            ["field", "type", "unit", "last", "range"],
            [
                [name, f["type"], f["unit"], _short(f["last"]), f"{f['low']:g} … {f['high']:g}" if "low" in f else ""]
                for name, f in device["fields"].items()
            ],
        )
    for row in one["rejected"]:
        say(f"rejected at {row['position']}: {row['reason']}")


def _print_explanation(one: dict[str, Any]) -> None:
    """The largest contributions to one step ahead, as bars."""
    off = [abs(after - before) for after, before in zip(one["prediction"], one["base"], strict=True)]
    place = off.index(max(off))
    step, unit = one["targets"][place], f" {one['unit']}" if one["unit"] else ""
    when = clock(one["origin_ms"] + (step - 1) * one["step_ms"])
    by = "the learning model" if one["by"] == "live" else f"snapshot {one['by']}"
    say(f"{one['name']} for {one['key']}, {when} (UTC), step {step} ahead, by {by}")
    parts, ends = one["contributions"][place], (one["prediction"][place], one["base"][place])
    decimals = _decimals([*parts, off[place]])
    after, before = (f"{value:,.{decimals}f}{unit}" for value in ends)
    say(f"forecast {after}, against {before} for the baseline ({one['baseline']})")
    say(f"method {one['method']}, adds up within {one['completeness']:.1e} (allowed {one['tolerance']:g})")
    if one["note"]:
        say(one["note"])
    table(["input", "value", "contribution", ""], _bars(one["features"], parts, decimals))


def _decimals(values: Iterable[float], digits: int = 4) -> int:
    """Places after the point at which the largest of some values shows that many digits; at least one.

    >>> _decimals([1234.5, 3]), _decimals([0.00271, 0.001]), _decimals([0.0])
    (1, 6, 1)
    """
    largest = max((abs(value) for value in values), default=0.0)
    return 1 if largest == 0 else min(20, max(1, digits - 1 - math.floor(math.log10(largest))))


def _bars(features: list[dict[str, Any]], contributions: list[float], decimals: int, most: int = 15) -> list[list[str]]:
    """Rows of the largest contributions, and one of the rest."""
    known = [feature["value"] for feature in features if feature["value"] is not None]
    places = _decimals(known)
    parts = sorted(zip(features, contributions, strict=True), key=lambda part: -abs(part[1]))
    largest, rows = abs(parts[0][1]) or 1.0, []
    for feature, part in parts[:most]:
        value = "" if feature["value"] is None else f"{feature['value']:,.{places}f}"
        bar = ("+" if part > 0 else "-") * round(BAR * abs(part) / largest)
        rows.append([feature["label"], value, f"{part:+,.{decimals}f}", bar])
    if rest := parts[most:]:
        rows.append([f"the other {len(rest)}", "", f"{sum(part for _, part in rest):+,.{decimals}f}", ""])
    return rows


def _print_comparison(one: dict[str, Any]) -> None:
    where = f" for {one['key']}" if one.get("key") else ""
    say(f"{one['candidate']} against {one['served']}{where}: {one.get('verdict') or one['failed']}")
    if one.get("daily"):
        unit = f" ({one['unit']}²)" if one["unit"] else ""
        say(f"mean squared error{unit}: {one['mse_candidate']:,.6g} against {one['mse_served']:,.6g}")
        rows = [[row["day"], *_errors(row["candidate"], row["served"])] for row in one["daily"]]
        table(["day", one["candidate"], one["served"], "change %"], rows)
    for note in one.get("notes", []):
        say(f"note: {note}")


def _errors(mine: float, theirs: float) -> list[str]:
    change = f"{(mine / theirs - 1) * 100:+,.1f}" if theirs else ""
    return [f"{mine:,.6g}", f"{theirs:,.6g}", change]


def _duration(text: str) -> int:
    from headrace.spec import duration

    try:
        found = duration(text)
    except ValueError as error:
        fail(f"--last: {error}")
    if not found:
        fail("--last: expected some time, such as 30d")
    return found


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]


def main() -> None:
    """Entry point of the `headrace` command."""
    try:
        app(prog_name="headrace")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has gone; nor must the flush at the end complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)


if __name__ == "__main__":
    main()
