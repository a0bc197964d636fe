"""The nouns that travel: what a door stores, what a decoder reads, what a step transforms.

All times are integer **nanoseconds since the Unix epoch, UTC**.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

INTERNAL = "$headrace/"
"""Streams under this prefix belong to the platform; no device may publish there."""
CONTROL = INTERNAL + "control"
"""apply, delete, learn, feedback and tick entries, in the order in which they take effect."""
QUARANTINE = INTERNAL + "quarantine"
"""Messages no decoder understood, each with the reason."""

Array: TypeAlias = NDArray[np.float64]


class Entry(NamedTuple):
    """What a door asks the log to store: the raw bytes, exactly as they came."""

    stream: str
    """The topic."""
    payload: bytes
    key: str = ""
    """Chooses the partition; "" keeps everything of the stream in partition 0."""
    headers: bytes = b""
    """A JSON object of transport metadata (message id, user properties, kind), or empty."""
    time: int = 0
    """Event time if the door was told one (an HTTP or MQTT property), else 0: the decoder will look into the payload."""


def transport_headers(content_type: str, user: Mapping[str, str]) -> bytes:
    """`Entry.headers` of an MQTT message: ``content-type``, ``properties`` (the user's) and ``id``, where given.

    >>> transport_headers("", {"message-id": "m7"})
    b'{"properties":{"message-id":"m7"},"id":"m7"}'
    """
    found: dict[str, Any] = {}
    if content_type:
        found["content-type"] = content_type
    if user:
        found["properties"] = user
        identity = user.get("id") or user.get("message-id")
        if identity:
            found["id"] = identity
    return msgspec.json.encode(found) if found else b""


class Record(NamedTuple):
    """An entry after its commit."""

    position: int
    """Place in the log's total order, from 1, without gaps while nothing is trimmed."""
    stream: str
    partition: int
    offset: int
    """Place in its stream and partition, from 0, without gaps."""
    key: str
    received: int
    """When the log stored it; no two records of a log have the same."""
    time: int
    """Event time given by the door, or 0."""
    headers: bytes
    payload: bytes


class Reading(NamedTuple):
    """One observation of one device, decoded."""

    device: str
    time: int
    """Event time; the log's `received` when the payload names none."""
    fields: Mapping[str, float | str | bool]
    """Numbers are finite floats."""
    id: str = ""
    """Message id, when the payload or the transport carries one: two readings with one id are one reading."""
    units: Mapping[str, str] = {}


@dataclass(slots=True)
class Rows:
    """Observations of one key as columns, in arrival order before `resample`, in time order after it.

    Every column has `len(time)` entries along its first axis. A missing value is NaN.
    Columns named ``x.*`` are model inputs: ``x.window`` has shape (n, history, fields), the others
    (n, horizon, features).
    """

    time: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)

    def take(self, index: Any) -> Rows:
        """The rows selected by a mask, slice or index array."""
        return Rows(self.time[index], {name: column[index] for name, column in self.columns.items()})
