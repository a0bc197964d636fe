"""The pure parts of the benchmarks: figures, packets, verdicts, tables. No server, no clock."""

import json
import random

import pytest
from benchmarks import report, wire
from benchmarks.disk import appends
from benchmarks.figures import Match, Ratio, latencies, percentile, summary
from benchmarks.load import SIZE, START_MS, made, reading
from benchmarks.peers import HEADRACE_SPEC, TOPIC
from benchmarks.report import GOALS, Goal, Run

from headrace import spec


def test_a_percentile_is_a_measured_value():
    samples = [float(value) for value in range(1, 101)]
    assert [percentile(samples, at) for at in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)


def test_a_summary_is_in_milliseconds():
    assert summary([0.001, 0.002, 0.003]) == {"p50": 2.0, "p90": 3.0, "p99": 3.0}


def test_answers_without_a_name_are_matched_in_order():
    sent = {10: 1.0, 20: 2.0, 30: 3.0}
    assert latencies(sent, [(1.5, b"a"), (2.25, b"b")], Match()) == [0.5, 0.25]


def test_answers_are_matched_by_their_field_whatever_their_order():
    sent = {10: 1.0, 20: 2.0}
    answers = [(2.5, b'{"origin_ms": 21}'), (2.75, b'{"predictions":[{"origin_ms":11}]}')]
    assert sorted(latencies(sent, answers, Match("origin_ms", 1))) == [0.5, 1.75]


def test_only_the_first_answer_to_a_known_reading_counts():
    answers = [(2.0, b'{"ts":10}'), (9.0, b'{"ts":10}'), (2.0, b'{"ts":99}'), (2.0, b"nothing")]
    assert latencies({10: 1.0}, answers, Match("ts")) == [1.0]


def test_a_ratio_is_taken_round_by_round():
    assert Ratio.of([20, 10, 90], [10, 10, 10]) == Ratio(2.0, 1.0, 9.0)


def test_readings_have_the_size_the_goals_speak_of():
    noise = random.Random(1)
    readings = [reading(index, 1000, noise) for index in (0, 1, 50_000, 2_000_000)]
    assert {len(each) for each in readings} == {SIZE}
    assert [json.loads(each)["ts"] - START_MS for each in readings] == [0, 1000, 50_000_000, 2_000_000_000]
    assert all(0 < json.loads(each)["value"] < 1 for each in readings)


def test_packet_ids_are_never_zero():
    packets = made("t", 65_537, 1)
    ids = [int.from_bytes(packet[5:7], "big") for packet in (packets[0], packets[65_534], packets[65_535])]
    assert ids == [1, 65_535, 1]


def test_packets_are_found_whole():
    stream = wire.packet(0x30, b"\x00\x01t" + bytes(200)) + wire.publish("top", 7, b"payload") + b"\x30\x05\x00"
    buffer = bytearray(stream)
    (first, second) = wire.packets(buffer)
    assert first[0] == second[0] == wire.PUBLISH
    assert wire.payload(buffer, *first[1:]) == bytes(200)
    assert wire.payload(buffer, *second[1:], qos=1) == b"payload"
    assert second[2] == len(stream) - 3


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_cut_packet_waits_for_its_rest(cut: int):
    whole = wire.packet(0x30, bytes(300))
    assert list(wire.packets(bytearray(whole[:cut]))) == []


FASTER = Goal("stream", "faster", "us", "them", ">=", 20, 60)
SOONER = Goal("start", "sooner", "us", "", "<=", 10)


@pytest.mark.parametrize(
    ("goal", "ours", "word"),
    [
        (FASTER, [190.0], "miss"),
        (FASTER, [200.0], "pass"),
        (FASTER, [600.0], "excellent"),
        (FASTER, [], "not measured"),
        (SOONER, [10.0], "pass"),
        (SOONER, [10.1], "miss"),
    ],
)
def test_the_verdict_is_plain(goal: Goal, ours: list[float], word: str):
    assert report.judge(goal, {"us": ours, "them": [10.0]}).word == word


def test_a_broken_off_round_is_left_out():
    verdict = report.judge(FASTER, {"us": [200.0], "them": [10.0, 99.0]})
    assert verdict.measured == Ratio(20.0, 20.0, 20.0)


def test_the_results_name_every_goal_with_its_verdict(tmp_path):
    run = Run({"processor": "any"})
    for ours, theirs in ((2.0, 8.0), (3.0, 10.0)):
        run.add("latency.headrace.p50_ms", ours)
        run.add("latency.chapter.p50_ms", theirs)
    run.notes.append("**door was not measured to the end**")
    report.write(run, tmp_path / "RESULTS.md")
    text, plain = (tmp_path / "RESULTS.md").read_text(), json.loads((tmp_path / "results.json").read_text())
    assert all(goal.text in text for goal in GOALS)
    assert "0.275x (0.25x to 0.3x) | miss" in text
    assert "door was not measured" in text
    assert [goal["verdict"] for goal in plain["goals"]].count("not measured") == len(GOALS) - 1


def test_the_results_show_what_the_promise_alone_takes_of_the_latency_goal():
    run = Run({})
    for name, values in {"chapter": (2.0, 1.0), "disk": (0.4, 0.2), "puback": (0.5, 0.5)}.items():
        for value in values:
            run.add(f"latency.{name}.p50_ms", value)
    text = report.markdown(run)
    assert "| what the goal grants | 0.375 | 0.25x |" in text
    assert "on the same disk | 0.3 | 0.2x |" in text
    assert "no learner | 0.5 | 0.375x |" in text
    assert "floor of the latency goal" not in report.markdown(Run({}))


def test_an_append_waits_for_the_disk(tmp_path):
    assert all(seconds > 0 for seconds in appends(str(tmp_path), 3, 1000.0))


def test_the_stream_spec_is_one_the_platform_accepts():
    (document,) = spec.parse(HEADRACE_SPEC.read_text(), str(HEADRACE_SPEC))
    assert document.spec.input.topics == [TOPIC]


def test_a_table_cell_may_hold_a_bar():
    assert report.table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
