"""Moments as people write them on a command line."""

from __future__ import annotations

from headrace.errors import BadInput

MILLISECOND = 1_000_000


def moment(text: str, now_ms: int, option: str, *, ahead: bool = False) -> int:
    """Milliseconds since the epoch of an ISO 8601 time (UTC if it names no zone), or of a duration before now.

    Args:
        option: what it was given as, for the message.
        ahead: a duration counts from now on, not back.

    >>> moment("1970-01-01T01:00:00+01:00", 0, "--from"), moment("2h", 7_200_001, "--from")
    (0, 1)
    >>> moment("1s", 5, "--expires", ahead=True)
    1005
    """
    from datetime import UTC, datetime

    from headrace.spec import duration

    try:
        away = duration(text) // MILLISECOND
    except ValueError:
        try:
            found = datetime.fromisoformat(text.strip())
        except ValueError as error:
            wanted = (
                "a time such as 2024-03-31T01:00:00Z, or how long " + ("from now" if ahead else "ago") + ", such as 7d"
            )
            raise BadInput(detail=f"{option}: expected {wanted}, got {text[:60]!r}") from error
        zoned = found if found.tzinfo else found.replace(tzinfo=UTC)
        return round(zoned.timestamp() * 1000)
    return now_ms + away if ahead else now_ms - away
