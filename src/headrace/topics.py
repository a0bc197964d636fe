"""MQTT topic names and filters (MQTT 5.0, section 4.7), as the log, the doors and the specs use them."""

from __future__ import annotations

LEVELS = 128
"""Most levels of a topic or filter. Matching costs one step per level, and nobody's factory is 128 floors deep."""


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic filter covers a topic (MQTT 5, section 4.7).

    >>> matches("plant/+/reading", "plant/trio/reading"), matches("plant/#", "plant"), matches("#", "$internal/x")
    (True, True, False)
    """
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in {"+", levels[index]}:
            return False
    return len(wanted) == len(levels)


def level(text: str) -> str:
    """Any text as one topic level: what would end or widen a level becomes ``_``.

    >>> level("hall 3/pump+1")
    'hall 3_pump_1'
    """
    return "".join("_" if character in "/+#\0" else character for character in text) or "_"


def valid_topic(topic: str) -> bool:
    """Whether a message may be published to it.

    >>> [valid_topic(topic) for topic in ("a/b", "/", "", "a/+", "a/#")]
    [True, True, False, False, False]
    """
    return bool(topic) and not any(character in topic for character in "+#\0") and topic.count("/") < LEVELS


def valid_filter(text: str) -> bool:
    """Whether one may subscribe to it.

    >>> [valid_filter(text) for text in ("a/+/#", "#", "a#", "a/#/b", "a/b+", "")]
    [True, True, False, False, False, False]
    """
    if not text or "\0" in text or text.count("/") >= LEVELS:
        return False
    *inner, last = text.split("/")
    return all(_whole(one) and one != "#" for one in inner) and _whole(last)


def _whole(one: str) -> bool:
    return one in {"+", "#"} or ("+" not in one and "#" not in one)


def valid(topic: str) -> bool:
    """Whether a device may publish to `topic`: also not under ``$`` or ``headrace/``, and at most 1024 bytes."""
    return (
        valid_topic(topic)
        and not topic.startswith(("$", "headrace/"))
        and len(topic.encode("utf-8", "replace")) <= 1024
    )
