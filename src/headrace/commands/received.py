"""What came in: topics, the recorded messages, quarantine."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from headrace.commands.calling import URL, Json, Url, call, quoted
from headrace.commands.printing import clock, say, table

quarantine = typer.Typer(no_args_is_help=True, help="Messages no decoder understood.")


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


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)[:40]


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
