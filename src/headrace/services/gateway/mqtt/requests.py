"""Requests to models over MQTT: PUBLISH to ``headrace/predict/{model}`` or ``headrace/explain/{model}``, answer on the
response topic."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from headrace.errors import HeadraceError

logger = logging.getLogger("headrace.mqtt")

RequestHandler: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]
"""(topic, payload) -> answer. A HeadraceError becomes an answer that says so."""

TOO_LONG = "the answer is {size:,} bytes and a packet has room for {room:,}; ask for less at a time, or over HTTP"
OURS = "headrace/"
"""Under it clients publish requests and nothing else."""
PREFIXES = OURS + "predict/", OURS + "explain/"


def is_request(topic: str) -> bool:
    """Whether a topic under one of `PREFIXES` names a model and nothing more.

    >>> is_request("headrace/predict/pv"), is_request("headrace/predict/pv/response/me")
    (True, False)
    """
    return topic not in PREFIXES and topic.count("/") == 2


def default_response(topic: str, client_id: str) -> str | None:
    """Where a client that named no response topic finds its answer; None if its id cannot stand in a topic."""
    plain = client_id and not any(sign in client_id for sign in "/+#")
    return f"{topic}/response/{client_id}" if plain else None


async def answer(handler: RequestHandler | None, topic: str, payload: bytes, room: int) -> bytes:
    """Ask; an error is an answer too: ``{"error": ...}``. An answer over `room` bytes becomes one that says so."""
    if handler is None:
        return failure("no models are served here")
    try:
        found = await handler(topic, payload)
        return found if len(found) <= room else failure(TOO_LONG.format(size=len(found), room=max(0, room)))
    except HeadraceError as error:
        return failure(str(error))
    except Exception:
        logger.exception("a request on %s failed", topic)
        return failure("internal error; the server's log has the details")


def failure(text: str) -> bytes:
    """An answer that says what went wrong."""
    return json.dumps({"error": text}).encode()
