"""Every kind of mistake in a spec file: which file, which line, which field, what was expected; and nothing worse."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import BadSpec
from headrace.services.learning import shadows
from headrace.services.learning.service import check_all
from headrace.spec import TEXT, VALUES, duration, from_plain, needed_files, parse, plain_documents

GOOD = """\
kind: OnlineModel
metadata: {name: sun}
input: {topics: [plant/+/reading], target: power}
transform:
  - resample: {every: 1h}
  - scale: {method: minmax}
forecast: {horizon: 24}
backend: rls
"""
GRID = "  - resample: {every: 1h}\n  - scale: {method: minmax}\n"
STEP = "  - python: {file: step.py}\n  - resample"
CLASS = """\
class Step:
    def __init__(self, params, context): ...
    def apply(self, rows): ...
    def state(self): ...
    def load(self, state): ...
"""


def problems(text: str, files: dict[str, str] | None = None) -> list[str]:
    """What `headrace apply` prints."""
    try:
        documents = parse(text, "my.yaml")
    except BadSpec as error:
        return [str(problem) for problem in error.problems]
    found = [problem for document in documents for problem in check_all(document, files or {})]
    return [str(problem) for problem in found or shadows.check(documents, {})]


def swap(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_spec_has_no_problem() -> None:
    assert problems(GOOD) == []
    assert problems(swap("  - resample", STEP), {"step.py": CLASS}) == []
    deep = swap("backend: rls", "backend: {torch: {module: my_net.py:Net}}")
    assert problems(deep, {"my_net.py": "class Net: ..."}) == []


SHADOW = """\
kind: OnlineModel
metadata: {name: candidate}
input: {topics: [plant/+/reading], target: power}
transform:
  - resample: {every: 6h}
forecast: {horizon: 24}
backend: hour-mean
shadow: sun"""
LAGLESS = "  - resample: {every: 1h}\n  - window: {history: 4}\nforecast: {horizon: 24}\nbackend: persistence"
RULE = "backend: rls\nalerts:\n  - {name: ok, on: silence, for: 1h}\n  - {}"
RECORD_WISE = (
    "  - window: {history: 3}\nforecast: {horizon: 1}\nbackend: rls\nalerts:\n  - {name: a, on: forecast, below: 5}"
)
MISTAKES = [
    # what stands in the good spec, and what a user wrote instead
    ("backend: rls", "backend: rsl"),
    ("backend: rls\n", ""),
    ("backend: rls", "backend: {rls: 5}"),
    ("backend: rls", "backend: {rls: {foret: 1}}"),
    ("backend: rls", "backend: {rls: {forget: .nan}}"),
    ("target: power", "target: power, decoder: jsn"),
    ("every: 1h", "evry: 1h"),
    ("every: 1h", "every: 60"),
    ("every: 1h", "every: soon"),
    ("every: 1h", "every: 999999999999d"),
    ("{method: minmax}", "{method: maxmin}"),
    (GRID, "  - resample: {every: 1h}\n  - window: {history: 4}\n  - scale: {method: minmax}\n"),
    (GRID, "  - window: {history: 3}\n"),
    (GRID, "  - resample: {every: 1h}\n  - resample: {every: 1h}\n"),
    ("horizon: 24", "horizon: 0"),
    ("horizon: 24", "horizon: 24, every: 90m"),
    ("plant/+/reading", "plant/+x/reading"),
    ("[plant/+/reading]", "['plant/#/x']"),
    ("[plant/+/reading]", "['$headrace/control']"),
    ("target: power", "target: power, timezone: Europe/Nowhere"),
    ("target: power", "target: power, timezone: ../../etc/passwd"),
    ("backend: rls", "backend: rls\noutput: {topic: 'a/#'}"),
    ("backend: rls", "backend: rls\noutput: {topic: 'a/{device}'}"),
    ("backend: rls", "backend: rls\nhello: 1"),
    ("backend: rls", "backend: rls\nbackend: rls"),
    ("name: sun", "name: Sun!"),
    ("name: sun", "name: 2024-01-01"),
    ("name: sun", "1: sun"),
    ("name: sun", "true: sun"),
    ("name: sun", "name: ["),
    ("name: sun", "name: !!python/object:os.system x"),
    ("OnlineModel", "Onlinemodel"),
    ("kind: OnlineModel", "kind: [OnlineModel]"),
    ("  - resample", "  - python: {file: ../step.py}\n  - resample"),
    ("  - resample", "  - python: {file: /etc/step.py}\n  - resample"),
    ("  - resample", STEP),
    ("backend: rls", "backend: {torch: {module: my_net.py:Net}}"),
    (GRID + "forecast: {horizon: 24}\nbackend: rls", LAGLESS),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, above: 1, below: 0}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, above: 80, clear: 85}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, below: 5, clear: 4}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, above: hot}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, above: true}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, field: temp, above: 80, for: 5}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: reading, above: 80}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: readings, field: temp, above: 80}")),
    ("backend: rls", RULE.replace("{}", "{name: a, field: temp, above: 80}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: forecast, below: 5, for: 5m}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: breach, share: 30}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: breach, share: 0.3, clear: 0.4}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: coverage, below: 0.8, clear: 0.7}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: drift, detector: adwin}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: drift, detector: {bias: {treshold: 3}}}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: drift, detector: {peak: {threshold: 0.1, clear: 0.2}}}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: silence}")),
    ("backend: rls", RULE.replace("{}", "{name: A, on: silence, for: 5m}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: silence, for: 5m, severity: bad}")),
    ("backend: rls", RULE.replace("{}", "{name: a, on: silence, for: 5m}\n  - {name: a, on: silence, for: 9m}")),
    (GRID + "forecast: {horizon: 24}\nbackend: rls", RECORD_WISE),
    ("backend: rls", "backend: rls\nalert: {topic: 'a/{device}'}"),
    ("backend: rls", "backend: rls\nalert: {webhook: example.org/x}"),
    ("backend: rls", "backend: rls\nalert: {webhook: 'ftp://example.org'}"),
    ("backend: rls", "backend: rls\nalert: {webhook: 'https://me:secret@example.org'}"),
    ("backend: rls", "backend: rls\nparent: net"),
    ("backend: rls", "backend: {ridge: {}}\nparent: md_0123456789abcdef0123"),
    ("backend: rls", "backend: rls\nshadow: moon"),
    ("backend: rls", "backend: rls\nshadow: sun"),
    ("backend: rls", "backend: rls\nshadow: [moon]"),
    ("backend: rls", "backend: rls\n---\n" + SHADOW),
    ("backend: rls", "backend: rls\n---\n" + SHADOW.replace("6h", "1h").replace("24", "12")),
]
GOLDEN = Path(__file__).parent.parent / "golden" / "spec_mistakes.txt"


def test_each_mistake_has_its_file_line_field_and_expectation(update_golden: bool) -> None:
    """The golden file is what `headrace apply` prints for each, to be read by people."""
    text = ""
    for old, new in MISTAKES:
        found = problems(swap(old, new))
        assert len(found) == 1
        text += f"{new.strip() or '(left out) ' + old.strip()}\n=> {found[0]}\n\n"
    if update_golden:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "run pytest with --update-golden and look at the difference"


def test_all_problems_of_all_documents_are_told_at_once() -> None:
    text = swap("every: 1h", "evry: 1h") + "---\n" + swap("backend: rls", "backend: rsl").replace("sun", "moon")
    assert [line.split(":")[1] for line in problems(text)] == ["5", "17"]
    assert problems(GOOD + "---\n" + GOOD) == ["my.yaml:11: metadata.name: 'sun' appears twice in this file"]


@pytest.mark.parametrize(
    ("source", "line"),
    [("x = 1\ndef f(:\n", "step.py:2: (Python): invalid syntax"),
     ("class Step:\n    pass\n", "my.yaml:5: transform.0.python: step.py:1: class 'Step' has no __init__, apply, state, load."),
     ("class Stepp: ...\n", "my.yaml:5: transform.0.python: step.py:1: expected a class 'Step' in this file; there are: Stepp."),
     ("x = " + "(" * 5000, "step.py:1: (Python): too many nested parentheses"),
     ("x = " + "-" * 100_000 + "1", "step.py:1: (Python): nested too deep"),
     ("x = 1\0", "step.py:1: (Python): source code string cannot contain null bytes")],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_users_own_file_is_read_but_not_run(source: str, line: str) -> None:
    assert problems(swap("  - resample", STEP), {"step.py": source}) == [line]


def test_a_users_own_network_must_be_there() -> None:
    deep = swap("backend: rls", "backend: {torch: {module: my_net.py:Net}}")
    line = "my.yaml:8: backend.torch.module: there is no class 'Net' in my_net.py; its classes: Nett"
    assert problems(deep, {"my_net.py": "class Nett: ..."}) == [line]
    assert problems(deep, {"my_net.py": "from torch.nn import Linear as Net"}) == []


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "at least one document"), ("---\n---\n", "expected a mapping"), ("- a\n", "expected a mapping"),
     ("5", "expected a mapping"),
     ("a: &a [*a]\n", "an alias contains itself"), (BOMB, f"more than {VALUES:,} values"), ("[" * 20_000, "nested too deep"),
     ("a: " + "[" * 500 + "]" * 500, ""), ("x: 2024-13-45", "month must be in"), ("x: " + "9" * 5000, "Exceeds the limit"),
     ("x: \0", "special characters"), ("? [a]\n: b", "unhashable"), ("x: *none", "undefined alias"),
     ("\tx: 1", "cannot start any token"),
     ("x" * (TEXT + 1), "at most"), ("kind: !!binary aGk=", "YAML's bytes"), ("kind: !!set {a, b}", "YAML's set"),
     ("\ufeff5", "")],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_no_spec_at_all(text: str, message: str) -> None:
    started = time.monotonic()
    (line, *_) = problems(text)
    assert message in line and line.startswith("my.yaml:") and len(line) < 300
    assert time.monotonic() - started < 5


def test_aliases_and_merge_keys_may_be_used() -> None:
    text = "kind: OnlineModel\nmetadata: {name: a}\ninput: &in {topics: [t], target: x}\nforecast: {horizon: 1}\nbackend: rls\n"
    again = text.replace("&in {", "{<<: {unit: W}, ").replace("name: a", "name: b")
    assert problems(text + "---\n" + again) == []


PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        *GOOD.split(),
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "\n",
        "  ",
        "&a ",
        "*a ",
        "'",
        "!!",
        "|",
        "\0",
    ]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES | st.text(max_size=3), max_size=25))
def test_any_text_is_a_spec_or_refused(pieces: list[str]) -> None:
    for line in problems("".join(pieces)):
        assert line.startswith("my.yaml:")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 12), st.text(max_size=4))
def test_a_spec_with_a_hole_is_a_spec_or_refused(start: int, length: int, more: str) -> None:
    problems(GOOD[:start] + more + GOOD[start + length :])


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=8),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.from_regex(r"\d{1,20}(\.\d{1,20})?(ms|s|m|h|d)", fullmatch=True),
    )
)
def test_durations(value: object) -> None:
    try:
        assert 0 <= duration(value) <= 36_500 * 86_400 * 10**9
    except ValueError as error:
        assert len(str(error)) < 150


def test_what_the_log_keeps_is_what_was_applied() -> None:
    import msgspec

    (document,) = parse(swap("  - resample", STEP).replace("rls", "{rls: {forget: 0.99}}"))
    again = from_plain(msgspec.json.decode(msgspec.json.encode(document.plain)))
    assert again.spec == document.spec
    assert needed_files(again.plain) == ["step.py"]


def test_on_and_off_are_words_and_only_true_and_false_are_booleans() -> None:
    assert plain_documents("{on: off, yes: no, a: true, b: False, c: y}") == [
        {"on": "off", "yes": "no", "a": True, "b": False, "c": "y"}
    ]


def test_every_kind_of_rule_can_be_written() -> None:
    rules = """backend: rls
alerts:
  - {name: hot, on: reading, field: temp, above: 80, for: 5m, clear: 75, severity: critical}
  - {name: low-tomorrow, on: forecast, below: 500, within: 24h}
  - {name: breach, on: breach}
  - {name: coverage, on: coverage, over: 14d, minimum: 50}
  - {name: bias, on: drift, detector: bias}
  - {name: peak, on: drift, detector: {peak: {recent: 5}}}
  - {name: silent, on: silence, for: 30m}
alert: {topic: "alarm/{model}/{key}/{rule}", webhook: "https://example.org:8443/a?b=c"}"""
    assert problems(swap("backend: rls", rules)) == []
    (document,) = parse(swap("backend: rls", rules))
    assert from_plain(document.plain).spec == document.spec
