"""Refusals every broker client shares."""

from __future__ import annotations

from headrace.errors import BadInput
from headrace.topics import valid_filter, valid_topic

_LONGEST = 65_535


def check_topic(topic: str) -> None:
    """Raises BadInput for a name nobody may publish to."""
    if not valid_topic(topic) or len(topic.encode("utf-8", "replace")) > _LONGEST:
        raise BadInput(detail=f"expected a topic without + and #, such as plant/p1/reading, got {topic[:64]!r}")


def check_filters(filters: list[str]) -> None:
    """Raises BadInput for a filter no broker accepts."""
    for pattern in filters:
        if not valid_filter(pattern):
            raise BadInput(detail=f"expected a topic filter such as plant/+/reading, got {pattern[:64]!r}")
    if not filters:
        raise BadInput(detail="expected at least one topic filter")
