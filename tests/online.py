"""An online model that publishes often, for tests of what it publishes: days of readings in no time."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from headrace.records import DAY
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.parents import Parent
from headrace.services.learning.registry import Entered, Registry, apply_entry, in_service
from headrace.services.learning.store import Store, generation_file
from headrace.spec import parse
from headrace.stores.objects.files import FileObjects
from headrace.streams.logs.sqlite import SqliteLog
from tests import sun

DAYS = 12


def spec(name: str = "sun", backend: str = "{rls: {floor: 0}}", more: str = "") -> str:
    """Learns from the first two days, and publishes whenever it is better by anything at all."""
    text = sun.spec(name, backend).replace("horizon: 24, every: 1d", "horizon: 6, every: 6h")
    text = text.replace("initial: 6d, every: 1d", "initial: 2d, every: 6h")
    return text.replace("publish: {improvement: 0.01, minimum: 2}", "publish: {improvement: 0.0001, minimum: 1}") + more


DEEP = "{torch: {options: {hidden: 4, dense: 4}, epochs: 2, steps: 2}}"


def published(data: Path, name: str = "sun") -> list[tuple[str, int, str]]:
    """(key, ms, digest of the weights) of what its store says was published: the truth."""
    with contextlib.closing(Store(generation_file(data, name, in_service(data)[name].generation))) as store:
        return [(key, time // 1_000_000, weights) for key, time, *_, weights in store.decisions() if weights]


async def learned(
    data: Path,
    text: str,
    days: int = DAYS,
    files: Mapping[str, str] = MappingProxyType({}),
    parents: Mapping[str, Parent] = MappingProxyType({}),
) -> Entered:
    """What a platform has on its disk after some days: a log, a model in service, what it learnt and published."""
    log = SqliteLog(data, clock=lambda: sun.START + 400 * DAY)
    (document,) = parse(text)
    await log.append([apply_entry([document], dict(files), parents=parents)])
    await log.append(sun.entries(days))
    registry = Registry(data)
    registry.fold(log)
    (entered,) = registry.models.values()
    learn(data, entered, log)
    registry.close()
    await log.aclose()
    return entered


def learn(data: Path, entered: Entered, log: SqliteLog) -> None:
    """Its worker's part: to the end of the log."""
    path = generation_file(data, entered.name, entered.generation)
    with contextlib.closing(open_store(path)) as store:
        learner = Learner(entered.plan, entered.generation, store, FileObjects(data / "objects"))
        decoded = DecodedLog(log)
        while learner.step(decoded):
            pass
        assert not learner.failed
        learner.checkpoint(export=False)
