"""Which specs may be a shadow of which, what a promotion makes of one, and files of an older version."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import BadInput, Conflict, CorruptState, HasShadows, NotServed
from headrace.events import Score
from headrace.records import HOUR, Entry
from headrace.replaying import report
from headrace.services.learning import shadows
from headrace.services.learning.decoded import DecodedLog
from headrace.services.learning.learner import Learner, open_store
from headrace.services.learning.plan import Plan
from headrace.services.learning.registry import Applied, Entered, enter, in_service
from headrace.services.learning.store import Store
from headrace.spec import parse
from headrace.streams.logs.memory import MemoryLog
from tests import sun


def entered(text: str) -> Entered:
    (document,) = parse(text)
    return enter(Applied(document.plain), 7, ".")


def shadow(name: str = "next", of: str = "sun", text: str = "") -> str:
    return (text or sun.spec(name)) + f"shadow: {of}\n"


def problems(text: str, *models: str) -> list[str]:
    known = {one.name: one for one in map(entered, models)}
    return [str(problem) for problem in shadows.check(parse(text, "my.yaml"), known)]


def test_a_shadow_of_what_is_in_service_or_in_the_same_file() -> None:
    assert problems(shadow(), sun.spec()) == []
    assert problems(sun.spec() + "---" + shadow()) == []
    assert problems(sun.spec(), sun.spec()) == []


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("plant/+/reading", "plant/#", "4: input.topics: expected ['plant/+/reading'] as 'sun' has it, got ['plant/#']"),
        ("target: power", "target: p", "4: input.target: expected power as 'sun' has it, got p"),
        ("unit: W", "key: none", "4: input.key: expected device as 'sun' has it, got none"),
        ("unit: W", "timezone: Europe/Berlin", "4: input.timezone: expected UTC as 'sun' has it, got Europe/Berlin"),
        ("every: 1h", "every: 30m", "5: transform: expected a grid of 1h as 'sun' has it, got 30m"),
        ("horizon: 24", "horizon: 12", "8: forecast.horizon: expected 24 as 'sun' has it, got 12"),
        ("every: 1d}\nlearning", "every: 6h}\nlearning", "8: forecast.every: expected 1d as 'sun' has it, got 6h"),
        ("every: 1d}\nlearning", "every: 1d, at: 90m}\nlearning", "8: forecast.at: expected 0s as 'sun' has it, got 90m"),
    ],
)  # fmt: skip
def test_what_makes_scores_incomparable(old: str, new: str, line: str) -> None:
    text = shadow(text=sun.spec("next").replace(old, new))
    assert problems(text, sun.spec()) == [f"my.yaml:{line}"]


def test_whom_it_may_not_shadow() -> None:
    (line,) = problems(shadow("sun"), sun.spec())
    assert line == "my.yaml:13: shadow: a model cannot be its own shadow: give the candidate a name of its own"
    (line,) = problems(shadow(of="moon"), sun.spec())
    assert line.endswith("13: shadow: there is no model 'moon' in service or in this file; those that are: sun")
    (line,) = problems(shadow("third", "next"), sun.spec(), shadow())
    assert line.endswith("shadow: 'next' is itself a shadow, of 'sun'; compare both with that one")
    (line,) = problems(shadow(text=sun.STREAM_SPEC), sun.spec())
    assert "only forecasts on a regular grid can be compared, and the candidate has no `resample` step" in line
    (line,) = problems(shadow(of="next", text=sun.spec()), sun.STREAM_SPEC)
    assert "and 'next' has no `resample` step" in line


def test_a_change_of_the_served_model_must_keep_its_shadows() -> None:
    other = sun.spec().replace("horizon: 24", "horizon: 12")
    (line,) = problems(other, sun.spec(), shadow())
    assert line == (
        "my.yaml:8: forecast.horizon: its shadow 'next' could no longer be compared with it (expected 12 as 'sun' has it, "
        "got 24); apply both, or delete 'next' first"
    )
    both = other + "---" + shadow().replace("horizon: 24", "horizon: 12")
    assert problems(both, sun.spec(), shadow()) == []
    (line,) = problems(shadow("sun", "moon"), sun.spec(), sun.spec("moon"), shadow())
    assert line.startswith("my.yaml:13: shadow: its shadow 'next'")


def test_a_shadow_forecasts_as_it_would_in_service() -> None:
    """Being a shadow is no part of what a model is: its weights and forecasts are the same."""
    alone, shade = entered(sun.spec("next")).plan, entered(shadow()).plan
    assert alone.digest == shade.digest != entered(sun.spec()).plan.digest
    assert shade.alone and not alone.alone


def test_what_a_promotion_makes() -> None:
    served = entered(sun.spec() + "output: {topic: 'my/{key}'}\n")
    candidate = entered(shadow(text=sun.spec("next", "{rls: {floor: 1}}")))
    document = shadows.promoted(candidate, served)
    wanted = entered(sun.spec("sun", "{rls: {floor: 1}}") + "output: {topic: 'my/{key}'}\n")
    assert Plan(document.spec).digest == wanted.plan.digest
    assert document.plain == wanted.applied.plain
    own = entered(shadow(text=sun.spec("next") + "output: {topic: other}\n"))
    assert shadows.promoted(own, served).spec.output.topic == "other"


def test_refusals() -> None:
    models = {one.name: one for one in (entered(sun.spec()), entered(shadow()))}
    with pytest.raises(HasShadows, match="'sun' is what 'next' is compared with; `headrace promote`"):
        shadows.keep_served("sun", models.values())
    shadows.keep_served("next", models.values())
    with pytest.raises(NotServed, match="'next' is a shadow of 'sun' and is not served"):
        shadows.refuse(models["next"])
    shadows.refuse(models["sun"])
    shadows.refuse(None)
    with pytest.raises(BadInput, match="'sun' is no shadow"):
        shadows.candidate_of(models["sun"], models)
    with pytest.raises(Conflict, match=r"'next' is failed .it broke. and cannot take over"):
        shadows.fit_to_serve("next", ("failed", "it broke"))
    shadows.fit_to_serve("next", ("live", ""))


def score(origin: int, contender: str = "live", own: float = 5.0) -> Score:
    return Score("sun", "k", origin, contender, 24, 1.0, 2.0, 3, 0.5, own)


@pytest.fixture(scope="module")
def sunny() -> MemoryLog:
    log = MemoryLog(clock=lambda: sun.START + 10**18)
    entries = [Entry(f"plant/{name}/reading", one.payload) for one in sun.entries(35, HOUR) for name in ("one", "two")]
    log.submit(entries, lambda error: None)
    return log


def learnt(path: Path, log: MemoryLog, text: str) -> Learner:
    learner, reader = sun.learner(path, text), DecodedLog(log)
    while learner.step(reader):
        pass
    assert not learner.failed, learner.failed
    return learner


def compared(candidate: Learner, served: Learner) -> list[dict[str, Any]]:
    return shadows.plain(shadows.compare(candidate.plan, candidate.store, served.plan, served.store))


def test_scalers_do_not_matter(sunny: MemoryLog, tmp_path: Path) -> None:
    """Yesterday's values are the same forecast however they are scaled: equal errors in W, unequal stored scaled ones."""
    one = learnt(tmp_path / "a.db", sunny, sun.spec("a", "persistence"))
    two = learnt(tmp_path / "b.db", sunny, sun.spec("b", "persistence").replace("minmax", "standard"))
    assert [row[4] for row in one.store.scores()] != pytest.approx([row[4] for row in two.store.scores()])
    found = compared(two, one)
    assert [row["key"] for row in found] == ["plant/one", "plant/two"], "devices are compared each for itself"
    for row in found:
        assert row["days"] >= 27 and row["comparisons"] == 2 and row["apart"] == 0
        assert row["change"] == pytest.approx(0, abs=1e-9) and not row["more_than_luck"]


def test_what_is_compared_is_what_is_given_out(sunny: MemoryLog, tmp_path: Path) -> None:
    """Of a model that serves its published snapshots, their errors."""
    live = learnt(tmp_path / "a.db", sunny, sun.spec("a"))
    text = sun.spec("b").replace("publish: {", "publish: {serve: published, ")
    published = learnt(tmp_path / "b.db", sunny, text)
    for row in compared(published, live):
        scores = {one[2]: live.store.own_scores(row["key"], one[2]) for one in live.store.scores(row["key"])}
        for which, role in (("candidate", "champion"), ("served", "live")):
            means = [own / n for _, (n, own) in sorted(scores[role].items())]
            assert [day[which] for day in row["daily"]] == means[-row["days"] :]
        assert scores["champion"] != scores["live"] and row["change"] != 0


def test_other_cleaning_is_told(sunny: MemoryLog, tmp_path: Path) -> None:
    bounded = sun.spec("b").replace("target: power", "target: power, valid: {power: [0, 9000]}")
    (row, _) = compared(learnt(tmp_path / "b.db", sunny, bounded), learnt(tmp_path / "a.db", sunny, sun.spec("a")))
    assert 0.1 < row["apart"] < 0.5 and "Careful: in " in row["verdict"]


def test_a_report_keeps_to_its_limits() -> None:
    day = {"day": "2024-01-01", "candidate": 1.0, "served": 2.0}
    one = {
        "candidate": "c" * 63,
        "served": "s",
        "key": "k",
        "unit": "",
        "verdict": "v",
        "notes": [],
        "daily": [day] * 10_500,
    }
    made = report([one])
    assert len(made["name"]) <= 63 and made["name"].startswith("replay-")
    assert len(made["rows"]) == 10_000 and made["rows"][0] == {"key": "k", **day}
    assert made["notes"] == ["the first 10,000 of 10,500 days are shown", "k: v"]
    assert report([{**one, "candidate": "c"}])["name"] == "replay-c-s"


def test_a_file_of_an_older_version_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "sun@1.db"
    with sqlite3.connect(path) as db:
        db.execute(
            "CREATE TABLE scores (key TEXT, origin INTEGER, contender TEXT, n INTEGER, squared REAL, absolute REAL, "
            "daylight INTEGER, daylight_squared REAL, PRIMARY KEY (key, origin, contender)) WITHOUT ROWID"
        )
        db.execute("INSERT INTO scores VALUES ('k', 1, 'live', 24, 1.0, 2.0, 3, 0.5)")
    db.close()
    store = open_store(path)
    with store.writing():
        store.add_scores([score(2), score(2, "champion", 4.0)])
    assert [row[:4] for row in store.scores("k")] == [
        ("k", 1, "live", 24), ("k", 2, "champion", 24), ("k", 2, "live", 24)
    ]  # fmt: skip
    assert all(len(row) == 8 for row in store.scores())
    assert store.own_scores("k", "live") == {2: (24, 5.0)} and store.own_scores("k", "champion") == {2: (24, 4.0)}
    assert store.own_scores("k", "live", since=3) == {}
    store.close()
    reader = Store(path)
    assert reader.own_scores("k", "live") == {2: (24, 5.0)}
    reader.close()


def test_a_directory_without_a_registry(tmp_path: Path) -> None:
    with pytest.raises(CorruptState, match=r"registry\.db cannot be read"):
        in_service(tmp_path)
    assert not list(tmp_path.iterdir()), "a reader made a file"
