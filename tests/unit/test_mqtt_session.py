"""Sessions and routing without a connection: windows, queues, their bounds, shared groups, retained messages."""

from __future__ import annotations

from headrace.services.gateway.mqtt.routing import Retained, Router
from headrace.services.gateway.mqtt.session import Backlog, Message, Outgoing, Session
from headrace.services.gateway.mqtt.wire import LONGEST, Filter, Property
from headrace.settings import MqttSettings
from mqtt_support import Clock


class FakeLink:
    def __init__(self, window: int = 2, version: int = 4) -> None:
        self.version, self.window, self.writable, self.outgoing_limit = version, window, True, LONGEST
        self.sent: list[bytes] = []
        self.slow = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def too_slow(self) -> None:
        self.slow = True


def session(limit: int = 1 << 20, **settings: int) -> Session:
    return Session((None, "c"), MqttSettings(**settings), Backlog(limit), Clock())  # type: ignore[arg-type]


def out(payload: bytes = b"x", qos: int = 1) -> Outgoing:
    return Outgoing(Message("t", payload, qos, False), qos, False, ())


def test_the_window_holds_messages_back_until_an_acknowledgement() -> None:
    mine, link = session(), FakeLink(window=2)
    mine.link = link
    for n in range(4):
        mine.deliver(out(b"%d" % n))
    assert link.sent == [b"\x32\6\0\1t\0\x010", b"\x32\6\0\1t\0\x021"]
    mine.acknowledged(1)
    mine.acknowledged(77)
    assert link.sent[2:] == [b"\x32\6\0\1t\0\x032"]
    assert mine.waiting() == 3


def test_a_slow_reader_is_given_up() -> None:
    mine, link = session(queue_messages=3), FakeLink()
    mine.link = link
    link.writable = False
    for _ in range(3):
        mine.deliver(out(qos=0))
    assert not link.slow
    mine.deliver(out(qos=0))
    assert link.slow
    assert mine.waiting() == 3


def test_an_absent_client_keeps_the_newest_and_no_qos_0() -> None:
    mine = session(queue_messages=3)
    for n in range(5):
        mine.deliver(out(b"%d" % n))
        mine.deliver(out(b"zero", qos=0))
    assert mine._backlog.used == 3 * len(b"tx")
    assert mine._backlog.dropped == 2
    link = FakeLink(window=10)
    mine.link = link
    mine.resume()
    assert [data[-1:] for data in link.sent] == [b"2", b"3", b"4"]
    assert mine._backlog.used == 0
    mine.away()
    mine.link = link = FakeLink(window=10)
    mine.resume()
    assert [data[:1] for data in link.sent] == [b"\x3a"] * 3, "sent again as duplicates"


def test_the_backlog_of_all_sessions_is_bounded() -> None:
    mine = session(limit=20)
    for _ in range(20):
        mine.deliver(out())
    assert mine.waiting() == 10
    mine.end()
    assert mine._backlog.used == 0


def test_a_packet_too_large_for_the_client_counts_as_sent() -> None:
    mine, link = session(), FakeLink()
    mine.link, link.outgoing_limit = link, 20
    mine.deliver(out(b"x" * 50))
    assert link.sent == []
    assert mine.waiting() == 0


def test_identifiers_wrap_and_skip_those_in_use() -> None:
    mine, link = session(), FakeLink(window=10)
    mine.link = link
    mine.deliver(out())
    mine._next = 65_534
    mine.deliver(out())
    mine.deliver(out())
    assert list(mine._inflight) == [1, 65_535, 2]


def test_expired_messages_are_not_sent() -> None:
    clock = Clock()
    mine = Session((None, "c"), MqttSettings(), Backlog(1000), clock)
    message = Message("t", b"x", 1, False, properties={Property.MESSAGE_EXPIRY: 10}, now=clock())
    mine.deliver(Outgoing(message, 1, False, ()))
    mine.deliver(Outgoing(message, 1, False, ()))
    link = FakeLink(window=1, version=5)
    mine.link = link
    clock.now += 4
    mine.resume()
    assert link.sent == [b"\x32\x0c\0\1t\0\1\5\2\0\0\0\6x"], "the rest of its time goes with it"
    clock.now += 6
    mine.acknowledged(1)
    assert len(link.sent) == 1


def subscribed(router: Router, mine: Session, text: str, group: str = "", identifier: int = 0) -> bool:
    return router.subscribe(mine, group, Filter(text, 1, False, False, 0), text, identifier)


def test_overlapping_subscriptions_are_one_delivery() -> None:
    router, mine, link = Router(), session(), FakeLink(version=5)
    mine.link = link
    assert subscribed(router, mine, "a/#", identifier=1)
    assert subscribed(router, mine, "a/+", identifier=2)
    assert not subscribed(router, mine, "a/+", identifier=3)
    assert router.route(Message("a/b", b"x", 0, False)) == 1
    assert sorted(link.sent[0][-5:-1:2]) == [0x0B, 0x0B]
    router.unsubscribe(mine, "", "a/#")
    router.unsubscribe(mine, "", "a/+")
    assert router.quiet
    assert router.route(Message("a/b", b"x", 0, False)) == 0


def test_a_shared_group_takes_turns_and_prefers_the_connected() -> None:
    router, links = Router(), [FakeLink(window=100) for _ in range(3)]
    members = [Session((None, str(n)), MqttSettings(), Backlog(1000), Clock()) for n in range(3)]
    for member, link in zip(members, links, strict=True):
        member.link = link
        subscribed(router, member, "a", "g")
    for _ in range(9):
        router.route(Message("a", b"x", 1, False))
    assert [len(link.sent) for link in links] == [3, 3, 3]
    members[0].away()
    for _ in range(4):
        router.route(Message("a", b"x", 1, False))
    assert [len(link.sent) for link in links] == [3, 5, 5]
    for member in members:
        router.unsubscribe(member, "g", "a")
    assert router.quiet


def test_retained_messages_are_bounded_by_count_and_size() -> None:
    kept = Retained(count=3, size=100)
    for n in range(5):
        kept.keep(Message(f"t/{n}", b"x" * 10, 0, True))
    assert [message.topic for message in kept.matching("t/+", 0.0)] == ["t/2", "t/3", "t/4"]
    kept.keep(Message("t/3", b"", 0, True))
    assert len(kept) == 2
    kept.keep(Message("big", b"x" * 90, 0, True))
    assert [message.topic for message in kept.matching("#", 0.0)] == ["big"]
    kept.keep(Message("huge", b"x" * 101, 0, True))
    assert len(kept) == 1
    kept.keep(Message("soon", b"x", 0, True, properties={Property.MESSAGE_EXPIRY: 5}, now=0.0))
    assert kept.matching("soon", 5.0) == []
    assert len(kept) == 1


def test_unacknowledged_bytes_are_bounded_too() -> None:
    mine, link = session(queue_bytes=1000), FakeLink(window=1000)
    mine.link = link
    for _ in range(6):
        mine.deliver(out(b"x" * 399))
    assert len(link.sent) == 3
    mine.acknowledged(1)
    assert len(link.sent) == 4
    mine.away()
    assert mine._backlog.used == 5 * 400
    mine.end()
    assert mine._backlog.used == 0


def test_retained_messages_never_make_a_new_subscriber_slow() -> None:
    mine, link = session(queue_messages=2, retained=50), FakeLink(window=1)
    mine.link = link
    mine.deliver_first([out(b"%d" % n) for n in range(50)])
    mine.deliver(out(b"live"))
    for packet_id in range(1, 51):
        mine.acknowledged(packet_id)
    assert [data[7:] for data in link.sent] == [*(b"%d" % n for n in range(50)), b"live"]
    assert not link.slow
    mine.deliver_first([out()] * 52)
    mine.deliver_first([out()])
    assert link.slow, "subscribing again and again without reading"
