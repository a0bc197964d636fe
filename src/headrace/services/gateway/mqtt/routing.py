"""From a committed message to the sessions that want it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headrace.services.gateway.mqtt.session import Message, Outgoing, Session
from headrace.services.gateway.mqtt.topics import FilterTree, TopicTree
from headrace.services.gateway.mqtt.wire import Filter

_PLANS = 10_000


class Subscription(NamedTuple):
    """One filter of one session."""

    session: Session
    qos: int
    no_local: bool
    as_published: bool
    identifiers: tuple[int, ...]


class Group:
    """The members of one shared subscription; each message goes to one of them (section 4.8.2)."""

    __slots__ = ("_turn", "members")

    def __init__(self) -> None:
        self.members: dict[Session, Subscription] = {}
        self._turn = 0

    def pick(self) -> Subscription:
        """Whose turn it is: connected members first."""
        members = [member for member in self.members.values() if member.session.link] or list(self.members.values())
        self._turn = (self._turn + 1) % len(members)
        return members[self._turn]


class _Plan(NamedTuple):
    direct: tuple[Subscription, ...]
    groups: tuple[Group, ...]


_NOBODY = _Plan((), ())


class Router:
    """Subscriptions, and where the messages of a topic go; the answer is kept until a subscription changes."""

    def __init__(self) -> None:
        self._tree: FilterTree[Subscription | Group] = FilterTree()
        self._plans: dict[str, _Plan] = {}
        self.quiet = True
        """Nobody subscribes to anything."""

    def subscribe(self, session: Session, group: str, asked: Filter, text: str, identifier: int) -> bool:
        """Add or replace; returns whether it is new. `text` is the filter without its ``$share/group/``."""
        qos = min(asked.qos, 1)
        mine = Subscription(session, qos, asked.no_local, asked.as_published, (identifier,) if identifier else ())
        if group:
            found = self._tree.get(text, ("$share", group))
            shared = found if isinstance(found, Group) else Group()
            new = session not in shared.members
            shared.members[session] = mine
            self._tree.add(text, ("$share", group), shared)
        else:
            new = self._tree.get(text, session) is None
            self._tree.add(text, session, mine)
        self._changed()
        return new

    def unsubscribe(self, session: Session, group: str, text: str) -> None:
        """Remove, if it is there."""
        if group:
            shared = self._tree.get(text, ("$share", group))
            if isinstance(shared, Group):
                shared.members.pop(session, None)
                if not shared.members:
                    self._tree.remove(text, ("$share", group))
        else:
            self._tree.remove(text, session)
        self._changed()

    def wanted(self, topic: str) -> bool:
        """Whether anyone subscribes to the topic."""
        return not self.quiet and (self._plans.get(topic) or self._plan(topic)) is not _NOBODY

    def route(self, message: Message, origin: Session | None = None) -> int:
        """Deliver to every matching session once and to one member of every matching group; returns how many."""
        if self.quiet:
            return 0
        plan = self._plans.get(message.topic) or self._plan(message.topic)
        chosen: Iterable[Subscription] = plan.direct
        if plan.groups:
            chosen = (*plan.direct, *(group.pick() for group in plan.groups))
        sent = 0
        for session, qos, no_local, as_published, identifiers in chosen:
            if no_local and session is origin:
                continue
            retain = message.retain and as_published
            session.deliver(Outgoing(message, min(qos, message.qos), retain, identifiers))
            sent += 1
        return sent

    def route_many(self, topic: str, payloads: Sequence[bytes]) -> None:
        """`route` of retained messages of one topic, in order; written together where the client takes QoS 0."""
        if not self.wanted(topic):
            return
        plan = self._plans[topic]
        quick = [one for one in plan.direct if not (one.qos or one.identifiers)]
        messages = []
        if plan.groups or len(quick) < len(plan.direct):
            messages = [Message(topic, payload, 1, True) for payload in payloads]
        for session, qos, _, as_published, identifiers in plan.direct:
            if qos or identifiers:
                for message in messages:
                    session.deliver(Outgoing(message, qos, as_published, identifiers))
            else:
                session.deliver_many(topic, payloads, retain=as_published)
        for message in messages:
            for group in plan.groups:
                member = group.pick()
                member.session.deliver(Outgoing(message, member.qos, member.as_published, member.identifiers))

    def _changed(self) -> None:
        self._plans.clear()
        self.quiet = not self._tree

    def _plan(self, topic: str) -> _Plan:
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        direct: dict[Session, Subscription] = {}
        groups = []
        for found in self._tree.match(topic):
            if isinstance(found, Group):
                groups.append(found)
            else:
                other = direct.get(found.session)
                direct[found.session] = found if other is None else _merged(found, other)
        plan = _Plan(tuple(direct.values()), tuple(groups)) if direct or groups else _NOBODY
        self._plans[topic] = plan
        return plan


def _merged(one: Subscription, other: Subscription) -> Subscription:
    """Overlapping subscriptions: one copy with the highest QoS and all identifiers (section 3.3.4)."""
    return Subscription(
        one.session,
        max(one.qos, other.qos),
        one.no_local and other.no_local,
        one.as_published or other.as_published,
        one.identifiers + other.identifiers,
    )


class Retained:
    """The last retained message of each topic, bounded: what has not been updated for longest goes first."""

    def __init__(self, count: int, size: int) -> None:
        self._messages: TopicTree[Message] = TopicTree()
        self._count, self._limit, self._size = count, size, 0

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Message) -> None:
        """Remember it; an empty payload forgets (section 3.3.1.3)."""
        if not message.payload or message.size > self._limit:
            self._remove(message.topic)
            return
        old = self._messages.get(message.topic)
        self._messages.put(message.topic, message)
        self._size += message.size - (old.size if old else 0)
        while len(self._messages) > self._count or self._size > self._limit:
            self._remove(self._messages.oldest())

    def matching(self, text: str, now: float) -> list[Message]:
        """Those a new subscription to this filter is sent."""
        found = list(self._messages.match(text))
        for message in found:
            if message.expires is not None and message.expires <= now:
                self._remove(message.topic)
        return [message for message in found if message.expires is None or message.expires > now]

    def _remove(self, topic: str) -> None:
        gone = self._messages.pop(topic)
        if gone is not None:
            self._size -= gone.size
