"""MQTT topic names and filters, as the log, the doors and the specs use them."""

from __future__ import annotations


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


def valid(topic: str) -> bool:
    """Whether a device may publish to `topic`: not empty, no wildcard, no NUL, not under ``$``, at most 1024 bytes."""
    return (
        bool(topic)
        and not topic.startswith("$")
        and not any(character in topic for character in "+#\0")
        and len(topic.encode()) <= 1024
    )
