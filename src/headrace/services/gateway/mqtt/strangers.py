"""Connections of the door that have not logged in: they are few, and make room for each other."""

from __future__ import annotations

from typing import Protocol

from headrace.crowd import Crowd, places
from headrace.settings import MqttSettings


class Stranger(Protocol):
    """A connection."""

    def make_room(self) -> None:
        """Go, at once."""


class Strangers:
    """All connections of a door, and which of them are strangers yet."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._most = places()
        self._half_open = min(settings.half_open, self._most // 4)
        self._crowd: Crowd[Stranger] = Crowd(settings.proxies)

    def came(self, one: Stranger, host: str) -> None:
        """For one more than may be, the oldest stranger goes: of its address, or of the address that has most."""
        crowd = self._crowd
        crowd.add(one, host)
        if crowd.crowded_silently(one, self._settings.address_half_open):
            leaves = crowd.oldest(one)
        elif crowd.silent > self._half_open or len(crowd) > self._most:
            leaves = crowd.oldest()
        else:
            return
        if leaves is not None:
            crowd.remove(leaves)
            leaves.make_room()

    def known(self, one: Stranger) -> None:
        """It has logged in."""
        self._crowd.heard(one)

    def left(self, one: Stranger) -> None:
        """It is closed."""
        self._crowd.remove(one)
