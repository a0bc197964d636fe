"""What the issued forecasts were off by: stored forecasts against the grid values that came."""

from __future__ import annotations

import msgspec

from headrace.records import DAY
from headrace.services.learning.store import Store


def residuals(store: Store, key: str, days: float) -> list[tuple[int, float]]:
    """(target time, truth - forecast) of each known target of the forecasts of the last `days`, oldest forecast first.

    In the target's own unit. Grid values that were filled in are no truths and are left out.
    """
    newest = store.newest_actual(key)
    since = newest - round(days * DAY)
    truths = {time: value for time, value in store.actuals(key, since) if value is not None}
    for time in store.filled(key, since):
        truths.pop(time, None)
    found = []
    for body in store.forecasts(key, since):
        forecast = msgspec.json.decode(body)
        origin, step = forecast["origin_ms"] * 1_000_000, forecast["step_ms"] * 1_000_000
        for index, value in enumerate(forecast["values"]):
            truth = truths.get(origin + index * step)
            if truth is not None:
                found.append((origin + index * step, truth - value))
    return found
