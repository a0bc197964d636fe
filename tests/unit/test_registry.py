"""The registry: what cannot be run any more stays out of service and keeps nobody else from starting."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from headrace.plugins import Family
from headrace.records import Entry
from headrace.services.learning import plan
from headrace.services.learning.alerting import Alerting
from headrace.services.learning.explanations import Explanations
from headrace.services.learning.http import InferenceDoor
from headrace.services.learning.registry import Applied, Registry, apply_entry, enter
from headrace.services.learning.service import Before, LearningService
from headrace.services.learning.view import View
from headrace.spec import parse
from headrace.streams.logs.memory import MemoryLog
from tests import sun


def test_a_plug_in_that_is_gone_costs_its_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, registry = MemoryLog(), Registry(tmp_path)
    log.submit([apply_entry(parse(sun.spec("one") + "---" + sun.spec("two", "hour-mean")), {})], lambda error: None)
    assert registry.fold(log) and sorted(registry.models) == ["one", "two"]
    registry.close()
    known = {name: where for name, where in plan.BACKENDS.known.items() if name != "rls"}
    monkeypatch.setattr(plan, "BACKENDS", Family("backends", known))
    again = Registry(tmp_path)
    assert sorted(again.models) == ["two"]
    assert "'one'" in (said := capsys.readouterr().err) and "rls" in said
    again.close()


def test_the_code_of_a_generation_that_still_answers_is_kept(tmp_path: Path) -> None:
    log, registry = MemoryLog(), Registry(tmp_path)
    folders = []
    for source in ("class Explainer: ...\n", "class Explainer:\n    explain = None\n"):
        text = sun.spec() + "explain: {python: {file: mine.py}}\n"
        log.submit([apply_entry(parse(text), {"mine.py": source})], lambda error: None)
        assert registry.fold(log)
        folders.append(registry.models["sun"].folder)
    assert len(set(folders)) == 2 and all(Path(folder, "mine.py").exists() for folder in folders)
    registry.sweep(folders[:1])
    assert all(Path(folder, "mine.py").exists() for folder in folders)
    registry.sweep()
    assert [Path(folder).exists() for folder in folders] == [False, True]
    registry.close()


def test_alerts_of_a_generation_that_is_gone_are_taken_back_also_after_a_restart(tmp_path: Path) -> None:
    with contextlib.closing(Registry(tmp_path)) as registry:
        registry.retain(["headrace/alert/m/a/hot", "headrace/alert/m/b/hot"], "m@1")
    sent: list[tuple[str, Sequence[bytes]]] = []
    with contextlib.closing(Registry(tmp_path)) as registry:
        for _ in range(2):
            Alerting(lambda topic, payloads: sent.append((topic, payloads)), registry).clean([])
        assert sorted(sent) == [("headrace/alert/m/a/hot", [b""]), ("headrace/alert/m/b/hot", [b""])]
        assert registry.retained() == {}


def test_a_model_that_is_applied_anew_reads_the_log_again_and_says_so(tmp_path: Path) -> None:
    log = MemoryLog()
    service = LearningService(log, tmp_path, lambda topic, payloads: None)
    (document,) = parse(sun.spec("m"))
    old, new = (View(enter(Applied(document.plain), generation, "."), tmp_path) for generation in (3, 9))
    assert service.state_of(new) == ("waiting", "no readings yet on plant/+/reading")
    log.submit([Entry("a", b"1")] * 1200, lambda error: None)
    assert service.state_of(new)[1] == "no readings yet on plant/+/reading; reading the log (0/1,200)"
    service.views["m"], service._before["m"], new.position = new, Before(old, 1200), 7
    assert service.state_of(new) == ("busy", "reading the log again (7/1,200); generation 3 answers")
    assert service.state_of(old)[0] == "waiting", "it is not the old one that reads"
    index = InferenceDoor(service, Explanations(service))._index("m")
    assert index["version"] == "3"
    service._registry.close()
