"""What the platform's process does with alerts: sends each change on, and answers which there are."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from headrace.events import Alert
from headrace.services.learning.registry import Registry
from headrace.services.learning.store import Store
from headrace.services.learning.view import View
from headrace.services.learning.webhooks import Message, Webhooks
from headrace.spec import OnlineModel
from headrace.topics import level, matches

Publish = Callable[[str, Sequence[bytes]], None]
PAGE = 500
"""Changes read from a store at one time."""
MOST = 1000
"""Active alerts that are counted of a model whose file a stranger may have written."""
TOPICS = 10_000
"""Topics of such models that have an alert on them; alerts on more are not sent."""
_encode = msgspec.json.Encoder().encode


class Alerting:
    """Follows the changes in the models' stores.

    A generation begins with a replay of the log. What was raised and cleared before its apply entry is history and is not
    sent; what is still active when it gets there is. Nothing of a shadow is sent; its alerts are in the list.

    Args:
        publish: sends messages to an MQTT topic; the last is retained.
        hooks: where webhooks are queued; None: there are none.
        registry: remembers the topics with an alert on them, also for a broker that outlives this process.
    """

    def __init__(self, publish: Publish, registry: Registry, hooks: Webhooks | None = None) -> None:
        self._publish, self._registry, self._hooks = publish, registry, hooks
        self._retained = registry.retained()
        self._cursors: dict[str, int] = {}
        self._current: set[str] = set()
        """Generations that have reached their apply entry."""

    def arrived(self, view: View) -> bool:
        """Whether a generation has only now reached its apply entry."""
        return speaks(view.plan.spec) and self._place(view) not in self._current and _current(view)

    def follow(self, view: View) -> bool:
        """Send on some of what a model raised and cleared since; whether there may be more.

        Raises sqlite3.Error; then the next call goes on from there.
        """
        store = view.store
        if store is None or not speaks(view.plan.spec) or not _current(view):
            return False
        place = self._place(view)
        if place not in self._cursors:
            known = self._hooks.cursor(place) if self._hooks is not None else 0
            self._cursors[place] = min(known, store.last_change())  # after a rebuild they are counted anew
        if changes := store.changes(self._cursors[place], PAGE):
            self._send(view, store, changes)
            return True
        if place not in self._current:
            self._succeed(view, store.alerts(active=True))
            self._current.add(place)
        return False

    def _succeed(self, view: View, active: list[Alert]) -> None:
        """A generation has taken the place of its predecessor, or the platform was started: say how things stand."""
        self._tell(view, [(alert, body(view.name, alert)) for alert in reversed(active)])
        if self._hooks is not None:
            self._hooks.retarget(view.name, view.plan.spec.alert.webhook)
            self._hooks.withdraw(view.name, {alert.id for alert in active})

    def _send(self, view: View, store: Store, changes: list[tuple[int, str, bool, int]]) -> None:
        url = view.plan.spec.alert.webhook
        messages: list[Message] = []
        told: list[tuple[Alert, bytes]] = []
        for _, identity, cleared, position in changes:
            alert = store.alert(identity)
            history = position <= view.entered.generation and (alert is None or alert.cleared is not None)
            if alert is None or history:
                continue
            data = body(view.name, alert, active=not cleared)
            told.append((alert, data))
            if url is not None:
                messages.append(Message(identity, "cleared" if cleared else "active", view.name, url, data))
        self._tell(view, told)
        place = self._place(view)
        if self._hooks is not None:
            self._hooks.put(messages, place, changes[-1][0])
        self._cursors[place] = changes[-1][0]

    def _tell(self, view: View, told: list[tuple[Alert, bytes]]) -> None:
        place, messages = self._place(view), [(self.topic(view, alert), data) for alert, data in told]
        if not view.trusted and len(self._retained) > TOPICS:
            messages = [(topic, data) for topic, data in messages if topic in self._retained]
        if new := {topic: place for topic, _ in messages if self._retained.get(topic) != place}:
            self._registry.retain(new, place)
            self._retained |= new
        for topic, data in messages:
            self._publish(topic, [data])

    def clean(self, views: Iterable[View]) -> None:
        """Let go of the topics of generations that are gone, cleared alerts too: MQTT's empty retained message.

        Raises sqlite3.Error; then it is done again after the next start.
        """
        places = {self._place(view) for view in views}
        gone = [topic for topic, place in self._retained.items() if place not in places]
        for topic in gone:
            self._publish(topic, [b""])
            del self._retained[topic]
        if gone:
            self._registry.release(gone)

    def retract(self, view: View, *, deleted: bool) -> None:
        """A model was deleted or applied anew: its successor sends its own alerts."""
        self.forget(view)
        if deleted and self._hooks is not None:
            self._hooks.withdraw(view.name, set())

    def forget(self, view: View) -> None:
        """Its file is another now: look at it anew."""
        self._current.discard(self._place(view))
        self._cursors.pop(self._place(view), None)

    def sweep(self, views: Iterable[View]) -> None:
        """Forget generations that are no longer in service."""
        if self._hooks is not None:
            self._hooks.sweep({self._place(view) for view in views})

    @staticmethod
    def _place(view: View) -> str:
        return f"{view.name}@{view.entered.generation}"

    @staticmethod
    def topic(view: View, alert: Alert) -> str:
        """Where an alert is published."""
        named = {"{model}": view.name, "{key}": level(alert.key), "{rule}": alert.rule}
        topic = view.plan.spec.alert.topic
        for name, value in named.items():
            topic = topic.replace(name, value)
        return topic

    # -- questions

    def found(
        self, views: Iterable[View], key: str = "", *, active: bool = False, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Alerts of some models as people see them, the newest first."""
        lists = [
            [about(view.name, alert) for alert in _read(view, key, active, limit)]
            for view in views
            if view.plan.spec.alerts
        ]
        return heapq.nsmallest(limit, (one for each in lists for one in each), key=lambda one: -one["raised_ms"])

    def active(self, views: Iterable[View]) -> dict[tuple[str, str], int]:
        """Number of active alerts by (model, severity)."""
        counts: dict[tuple[str, str], int] = {}
        for view in views:
            for alert in _read(view, "", True, -1) if view.plan.spec.alerts else ():
                counts[view.name, alert.severity] = counts.get((view.name, alert.severity), 0) + 1
        return counts

    def overview(self, views: Iterable[View]) -> dict[str, Any]:
        """At a glance."""
        known = list(views)
        return {
            "active": sum(self.active(known).values()),
            "recent": self.found(known, limit=20),
            "webhooks": self.deliveries(),
        }

    def deliveries(self) -> dict[str, Any]:
        """How the webhooks do."""
        if self._hooks is None:
            return {"pending": 0, "sent": 0, "failed": 0, "error": ""}
        return {**self._hooks.counts(), "error": self._hooks.last_error()}

    @staticmethod
    def publishes(view: View, topic: str) -> bool:
        """Whether alerts of a model go to this topic."""
        pattern = view.plan.spec.alert.topic.replace("{model}", view.name)
        return speaks(view.plan.spec) and matches(pattern.replace("{key}", "+").replace("{rule}", "+"), topic)


def about(model: str, alert: Alert, *, active: bool | None = None) -> dict[str, Any]:
    """An alert as it is published and served; times in ms since the epoch. `active`: as it was when it was raised."""
    cleared = None if active or alert.cleared is None else alert.cleared // 1_000_000
    return {
        "id": alert.id,
        "model": model,
        "key": alert.key,
        "rule": alert.rule,
        "on": alert.on,
        "severity": alert.severity,
        "state": "active" if cleared is None else "cleared",
        "raised_ms": alert.raised // 1_000_000,
        "cleared_ms": cleared,
        "value": alert.value,
        "threshold": alert.threshold,
        "message": alert.message,
    }


def body(model: str, alert: Alert, *, active: bool | None = None) -> bytes:
    """`about` as JSON."""
    return _encode(about(model, alert, active=active))


def speaks(spec: OnlineModel) -> bool:
    """Whether a model's alerts are sent to anybody."""
    return bool(spec.alerts) and not spec.shadow


def _current(view: View) -> bool:
    return view.position >= view.entered.generation


def _read(view: View, key: str, active: bool, limit: int) -> list[Alert]:
    limit = MOST if limit < 0 and not view.trusted else limit
    try:
        return view.store.alerts(key, active=active, limit=limit) if view.store is not None else []
    except sqlite3.Error:  # its worker is putting a new file there
        return []
