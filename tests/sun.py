"""A believable solar plant for tests: days of different weather, seeded, as raw messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headrace.records import DAY, MINUTE, Entry
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.plan import Plan, check
from headrace.spec import parse
from headrace.stores.objects.memory import MemoryObjects

START = 1_700_006_400_000_000_000
"""2023-11-15T00:00Z."""
TOPIC = "plant/one/reading"

SPEC = """
kind: OnlineModel
metadata: {{name: {name}}}
input: {{topics: [plant/+/reading], target: power, unit: W}}
transform:
  - resample: {{every: 1h, lateness: 10m}}
  - scale: {{method: minmax}}
forecast: {{horizon: 24, every: 1d}}
learning: {{initial: 6d, every: 1d, examples: {examples}}}
backend: {backend}
interval: {{adaptive: {{clip: {{low: 0}}}}}}
publish: {{improvement: 0.01, minimum: 2}}
"""

STREAM_SPEC = """
kind: OnlineModel
metadata: {name: next}
input: {topics: [plant/+/reading], target: power}
transform: [{window: {history: 6}}]
forecast: {horizon: 1}
learning: {initial: 0s}
backend: rls
"""


def spec(name: str = "sun", backend: str = "{rls: {floor: 0}}", examples: str = "forecasts") -> str:
    """A day-ahead model of the plant."""
    return SPEC.format(name=name, backend=backend, examples=examples)


def readings(days: int, every: int = 10 * MINUTE, seed: int = 0) -> Iterator[tuple[int, float]]:
    """(event time, W)."""
    weather = np.random.default_rng(seed).uniform(0.3, 1.0, days + 1)
    for index in range(days * DAY // every):
        time = START + index * every
        hour = (time % DAY) / (DAY / 24)
        yield time, max(0.0, float(np.sin((hour - 6) / 12 * np.pi))) * 20_000 * float(weather[index * every // DAY])


def payload(time: int, value: float) -> bytes:
    """One message."""
    return json.dumps({"ts": time // 1_000_000, "power": round(value, 3)}).encode()


def messages(days: int, every: int = 10 * MINUTE, seed: int = 0) -> list[tuple[str, bytes]]:
    """(topic, payload) in order."""
    return [(TOPIC, payload(time, value)) for time, value in readings(days, every, seed)]


def entries(days: int, every: int = 10 * MINUTE) -> list[Entry]:
    """The same for a log."""
    return [Entry(topic, data) for topic, data in messages(days, every)]


def learner(path: Path, text: str, folder: str = ".") -> Learner:
    """A learner of a spec on its own store."""
    (document,) = parse(text)
    assert check(document) == []
    return Learner(Plan(document.spec, folder), 0, open_store(path), MemoryObjects(), clock=lambda: 0)
