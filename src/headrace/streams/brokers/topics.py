"""MQTT topics and filters (MQTT 5.0, section 4.7)."""

from __future__ import annotations

from headrace.errors import BadInput

_LONGEST = 65_535


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic filter selects a topic.

    >>> matches("plant/+/reading", "plant/p1/reading"), matches("plant/#", "plant"), matches("#", "$SYS/load")
    (True, True, False)
    """
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def check_topic(topic: str) -> None:
    """Raises BadInput for a name nobody may publish to."""
    if not topic or "+" in topic or "#" in topic or "\0" in topic or len(topic.encode("utf-8", "replace")) > _LONGEST:
        raise BadInput(detail=f"expected a topic without + and #, such as plant/p1/reading, got {topic[:64]!r}")


def check_filters(filters: list[str]) -> None:
    """Raises BadInput for a filter no broker accepts."""
    for pattern in filters:
        levels = pattern.split("/")
        crooked = any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]
        if not pattern or crooked or "\0" in pattern:
            raise BadInput(detail=f"expected a topic filter such as plant/+/reading, got {pattern[:64]!r}")
    if not filters:
        raise BadInput(detail="expected at least one topic filter")
