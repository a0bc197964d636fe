"""Words of a snapshot, for tests that need one."""

from __future__ import annotations

from headrace.assets import Snapshot


def snapshot(number: int = 1) -> Snapshot:
    """What an online model says of what it published."""
    return Snapshot(
        model="pv",
        generation="g",
        spec="sha256:s",
        published_ms=number,
        first_position=0,
        last_position=number,
        records=number,
        root="sha256:r",
        environment="sha256:e",
    )
