"""Brokers of others: a message is acknowledged to the broker only after the handler it was given to returned.

With a broker between device and Headrace, the device's acknowledgement is the broker's promise, not ours: what reached
us is not lost, what the broker had not delivered is in the broker's hands. The embedded MQTT door promises more.

An implementation promises:

- the handler gets entries in the order in which the broker sent them, one call at a time;
- a call that raises, or never returns because the process died, acknowledges nothing: its entries come again, in order,
  when the session continues (under the same client id);
- a lost connection is made again, with growing pauses, and the subscription with it;
- no password appears in a repr, a log line or an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self, TypeAlias
from urllib.parse import urlsplit

from headrace.errors import BadInput
from headrace.plugins import Family
from headrace.records import Entry

Handler: TypeAlias = Callable[[list[Entry]], Awaitable[None]]
"""Stores entries; returns once they are committed."""


class Broker(Protocol):
    """A client of one broker."""

    async def subscribe(self, filters: list[str], handler: Handler) -> None:
        """Give what matches the MQTT topic `filters` to `handler` from now on; call it once.

        Returns when the broker has agreed. Raises Forbidden if it refuses a filter.
        """
        ...

    async def publish(self, topic: str, payload: bytes, retain: bool = False, qos: int = 1) -> None:
        """Send one message; with `qos` 1 it returns once the broker has it, however long that takes."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


BROKERS = Family(
    "brokers",
    {
        "memory": "headrace.streams.brokers.memory:MemoryBroker",
        "mqtt": "headrace.streams.brokers.mqtt:MqttBroker",
    },
)

_SCHEMES = {"mqtts": "mqtt"}


def open(url: str) -> Broker:
    """The broker at `url`, not connected yet: ``mqtt://user:password@host:1883?client_id=...``, ``mqtts://``, ``memory://``.

    Raises:
        BadInput: the URL is not one of these; the message does not repeat it, for it may hold a password.
        UnknownPlugin: no broker has this scheme.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if not scheme or "://" not in url:
        raise BadInput(detail="expected a broker's URL such as mqtt://user:password@host:1883")
    found = BROKERS.find(_SCHEMES.get(scheme, scheme))
    broker: Broker = found(found.Params(url=url))
    return broker


__all__ = ["BROKERS", "Broker", "Handler", "open"]
