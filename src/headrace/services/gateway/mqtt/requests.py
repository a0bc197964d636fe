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


async def answer(handler: RequestHandler | None, topic: str, payload: bytes) -> bytes:
    """Ask; an error is an answer too: ``{"error": ...}``."""
    if handler is None:
        return failure("no models are served here")
    try:
        return await handler(topic, payload)
    except HeadraceError as error:
        return failure(str(error))
    except Exception:
        logger.exception("a request on %s failed", topic)
        return failure("internal error; the server's log has the details")


def failure(text: str) -> bytes:
    """An answer that says what went wrong."""
    return json.dumps({"error": text}).encode()
