"""The HTTP doors of the gateway: ``POST /ingest/{topic}`` and the Influx write routes."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

import msgspec

from headrace.errors import BadInput, Forbidden, HeadraceError, NotFound
from headrace.records import SECOND, Entry
from headrace.services.entrance import PRINCIPAL
from headrace.services.gateway.mqtt.logins import access_of
from headrace.services.http import Receive, Scope, Send, answer, answer_json, header, read_body, refuse
from headrace.streams.logs import Log
from headrace.topics import level, valid

PRECISIONS = {"ns", "us", "u", "µ", "ms", "s"}


class IngestDoor:
    """Answers 2xx once the message is on stable storage.

    Args:
        limit: largest body in bytes.
    """

    def __init__(self, log: Log, limit: int) -> None:
        self._log, self._limit = log, limit
        self.received = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                raise NotFound(detail=f"there is nothing at {scope['method']} {scope['path']}; POST messages here")
            if scope["path"].startswith("/ingest/"):
                await self._ingest(scope, receive, send)
            else:
                await self._influx(scope, receive, send)
        except HeadraceError as error:
            await refuse(send, error)

    async def _ingest(self, scope: Scope, receive: Receive, send: Send) -> None:
        topic = _topic(scope)
        if not valid(topic):
            raise BadInput(
                detail=f"{topic[:80]!r} is no topic one can publish to (no +, #, NUL; not under $ or headrace/)"
            )
        _inside(scope, topic)
        body = await read_body(scope, receive, self._limit, "--body-limit-mb")
        entry = Entry(topic, body, headers=_headers(scope), time=_event_time(scope))
        await self._log.append([entry])
        self.received += 1
        await answer_json(send, {"stored": 1, "topic": topic})

    async def _influx(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        bucket = query.get("bucket", query.get("db", ["default"]))[0]
        precision = query.get("precision", ["ns"])[0]
        if precision not in PRECISIONS:
            raise BadInput(detail=f"precision {precision[:20]!r} is not one of {', '.join(sorted(PRECISIONS))}")
        topic = f"influx/{level(bucket)}"
        _inside(scope, topic)
        body = await read_body(scope, receive, self._limit, "--body-limit-mb")
        precision = {"u": "us", "µ": "us"}.get(precision, precision)
        headers = msgspec.json.encode({"precision": precision})
        await self._log.append([Entry(topic, body, headers=headers)])
        self.received += 1
        await answer(send, 204, b"", [])


def _inside(scope: Scope, topic: str) -> None:
    """Raises Forbidden for a topic outside of what the caller may publish to over MQTT, too."""
    who = scope.get(PRINCIPAL)
    if who is not None and not access_of(who).may_publish(topic, ""):
        filters = ", ".join(who.topics)[:200]
        raise Forbidden(
            detail=f"{who.subject!r} may not publish to {topic[:80]!r}: its topics are {filters} (`headrace person add --topic`)"
        )


def _topic(scope: Scope) -> str:
    """The topic in the path. A "/" in it may be written as it is or as %2F."""
    raw = scope.get("raw_path") or scope["path"].encode()
    try:
        return unquote(raw.split(b"?", 1)[0].decode("latin-1").removeprefix("/ingest/"), errors="strict")
    except UnicodeDecodeError as error:
        raise BadInput(detail="the topic is not UTF-8") from error


def _headers(scope: Scope) -> bytes:
    identity = header(scope, b"x-message-id")
    return msgspec.json.encode({"id": identity.decode("latin-1")[:256]}) if identity else b""


def _event_time(scope: Scope) -> int:
    """``X-Event-Time`` in seconds since the epoch, for payloads that carry no time."""
    text = header(scope, b"x-event-time")
    if not text:
        return 0
    try:
        time = round(float(text) * SECOND)
    except (ValueError, OverflowError) as error:
        raise BadInput(detail="X-Event-Time is not a number of seconds since the epoch") from error
    if not 0 < time < 2**63:
        raise BadInput(detail="X-Event-Time is not between 1970 and 2262")
    return time
