"""The PV example's data: what is real stays real, and the recipe's first steps give the measured power back."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import islice
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import pytest

from headrace.examples.pv import SLOT, TIMEZONE, phases, readings
from headrace.examples.pv.publisher import TOPIC, Plan, main, midnight, post_history
from headrace.models.transformers import Context
from headrace.models.transformers.blocks import join
from headrace.models.transformers.pipeline import build
from headrace.records import DAY, HOUR, SECOND, Rows
from headrace.spec import Plug

FIRST = midnight("2018-11-08")
GAP = midnight("2018-11-12")
"""A day with a real gap from 07:50 to 10:55."""


def test_the_shipped_rows_are_the_measured_ones() -> None:
    text = gzip.decompress(files("headrace.examples.pv").joinpath("trio.csv.gz").read_bytes())
    assert hashlib.sha256(text).hexdigest() == "789b93a447c3530e19258b28d27711a7510e7cd5d4f61e383f1bba8ae40d1508"
    rows = readings()
    assert len(rows) == 32_840
    assert rows.time[0] == int(datetime(2018, 11, 7, 23, 15, tzinfo=UTC).timestamp()) * SECOND
    assert rows.columns["power"][0] == pytest.approx(7108.7)
    assert (rows.columns["power"].min(), rows.columns["power"].max()) == (0, pytest.approx(30_066))


def test_what_the_package_says_of_its_gaps() -> None:
    step = np.diff(readings().time)
    gaps, nights = (step > SLOT) & (step < 8 * HOUR), (step > 8 * HOUR) & (step < 16 * HOUR)
    assert (gaps.sum(), nights.sum(), (step > 16 * HOUR).sum()) == (157, 224, 1)
    assert (step[gaps].max() - SLOT, (step[gaps] - SLOT).sum() / HOUR) == (
        185 * 60 * SECOND,
        pytest.approx(16.9, abs=0.05),
    )
    after = np.append(False, gaps)
    power = readings().columns["power"]
    assert ((power[:-1][gaps] > 0) & (power[after] > 0)).sum() == 143


def test_nights_are_zero_and_gaps_unknown() -> None:
    time, power = phases.slots()
    hours = (time - GAP) / HOUR
    assert (power[(hours >= 0) & (hours < 6)] == 0).all()
    assert np.isnan(power[(hours > 7.8) & (hours < 10.9)]).all()
    assert np.isnan(power).sum() == 203 + 288 - 1 + 1


def seconds(start: int, stop: int) -> tuple[Rows, np.ndarray[Any, np.dtype[np.float64]]]:
    """The meter's readings and their power."""
    rows = join([phases.rows(block) for block in phases.live(start, stop)])
    power = sum(rows.columns[f"v{k}"] * rows.columns[f"i{k}"] for k in (1, 2, 3)) * 0.99
    return rows, power


@pytest.mark.parametrize("start", [FIRST, GAP, midnight("2018-11-28"), midnight("2019-04-21"), midnight("2019-06-18")])
def test_the_round_trip_gives_the_measured_power_back(start: int) -> None:
    rows, power = seconds(start, start + DAY)
    real = readings()
    for hour in range(start, start + DAY, HOUR):
        measured = real.columns["power"][(real.time >= hour) & (real.time < hour + HOUR)]
        found = power[(rows.time >= hour) & (rows.time < hour + HOUR)]
        slots = len(np.unique(rows.time[(rows.time >= hour) & (rows.time < hour + HOUR)] // SLOT))
        expected = measured.sum() / slots if slots else 0
        assert abs((found.mean() if len(found) else 0) - expected) < 0.1


def test_multiplying_after_averaging_is_wrong_by_more_than_rounding() -> None:
    rows, power = seconds(GAP + DAY, GAP + 2 * DAY)
    hour = (rows.time - GAP - DAY) // HOUR
    errors = []
    for k in range(7, 17):
        here = hour == k
        apart = sum(rows.columns[f"v{p}"][here].mean() * rows.columns[f"i{p}"][here].mean() for p in (1, 2, 3)) * 0.99
        errors.append(abs(apart - power[here].mean()))
    assert max(errors) > 10


def test_the_same_seed_gives_the_same_bytes_whatever_the_range() -> None:
    day = [payload for block in phases.live(FIRST, FIRST + DAY, seed=4) for payload in phases.payloads(block)]
    hour = [p for b in phases.live(FIRST + 12 * HOUR, FIRST + 12 * HOUR + 2 * SLOT, seed=4) for p in phases.payloads(b)]
    other = [
        p for b in phases.live(FIRST + 12 * HOUR, FIRST + 12 * HOUR + 2 * SLOT, seed=5) for p in phases.payloads(b)
    ]
    assert len(day) == 86_400 - 300
    assert len(hour) == 600
    assert set(hour) <= set(day)
    assert len(set(other) & set(day)) < 10


def test_a_payload_is_small_and_says_what_it_is() -> None:
    found = phases.payloads(phases.history(GAP, GAP + DAY))
    assert len(found) == 288 - 37
    assert max(map(len, found)) <= 110
    noon = json.loads(found[len(found) // 2])
    assert list(noon) == ["ts", "v1", "i1", "v2", "i2", "v3", "i3", "pf"]
    assert noon["ts"] % 300_000 == 0
    assert 270 < noon["v1"] < 285


RECIPE: list[Any] = [
    "three_phase_power",
    {"resample": {"every": "1h", "fill": "interpolate", "up_to": "6h", "beyond": "zero"}},
    {"scale": {"method": "minmax"}},
    {"window": {"history": 36}},
    {"lags": {"steps": [24, 23, 25, 48], "means": [{"days": 7}], "yesterday": ["mean", "max"], "ahead": "season"}},
    {"calendar": {"features": ["hour_sin", "hour_cos", "constant"]}},
]


def test_the_recipe_gives_the_plain_hourly_means() -> None:
    """20 days of history and 2 live days of seconds, through the pipeline, against the measured rows."""
    context = Context(target="power", timezone=TIMEZONE, initial=16 * DAY)
    pipeline, live = build([Plug.model_validate(step) for step in RECIPE], context), FIRST + 20 * DAY
    blocks = [phases.rows(phases.history(FIRST, live)), *map(phases.rows, phases.live(live, live + 2 * DAY))]
    made = join([pipeline.apply(block) for block in blocks])
    assert made.time[0] == FIRST
    assert len(made) == 22 * 24 - 1
    power = pipeline.inverse(made.columns["power"])
    masked = made.columns["masked"]
    assert ((made.time[masked] - GAP) // HOUR).tolist() == [8, 9]
    np.testing.assert_allclose(power[~masked], _plain(made.time)[~masked], atol=0.25)
    np.testing.assert_allclose(power[-40:], _plain(made.time)[-40:], atol=0.1)
    line = np.interp([1, 2], [0, 3], [power[int((GAP - FIRST) // HOUR) + k] for k in (7, 10)])
    np.testing.assert_allclose(power[masked], line)
    hour = (made.time - FIRST) // HOUR % 24
    assert (power[(hour < 6) | (hour > 17)] == 0).all()
    assert made.columns["power"][: 16 * 24].max() == 1


def test_the_raw_rows_with_their_silent_nights_give_nearly_the_same() -> None:
    """The inverter itself: nights absent, zero by `beyond: zero` and not masked; the outage of April is."""
    context = Context(target="power", timezone=TIMEZONE)
    policy = {"every": "1h", "up_to": "6h", "beyond": "zero", "asleep_below": 1000}
    made = build([Plug.model_validate({"resample": policy})], context).apply(readings())
    hour = (made.time - FIRST) // HOUR % 24
    assert (made.columns["power"][(hour < 3) | (hour > 20)] == 0).all()
    assert (np.diff(made.time) == HOUR).all()
    outage = (made.time >= midnight("2019-04-21") + 16 * HOUR) & (made.time < midnight("2019-04-22") + 15 * HOUR)
    assert made.columns["masked"][outage].all()
    elsewhere = made.columns["masked"] & ~outage
    assert elsewhere.sum() < 60
    day = (hour > 8) & (hour < 16) & ~made.columns["masked"]
    np.testing.assert_allclose(made.columns["power"][day], _plain(made.time)[day], atol=0.01)


def _plain(hours: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Mean of the known slots of each hour, without any of our steps."""
    time, power = phases.slots()
    known = np.isfinite(power)
    place = (time[known] - FIRST) // HOUR - (hours[0] - FIRST) // HOUR
    inside = (place >= 0) & (place < len(hours))
    total = np.bincount(place[inside], power[known][inside], len(hours))
    with np.errstate(invalid="ignore"):
        return total / np.bincount(place[inside], minlength=len(hours))


# ── the publisher ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Door(BaseHTTPRequestHandler):
    """Busy at first, then takes everything."""

    got: ClassVar[list[tuple[str, str, list[dict[str, float]]]]] = []
    busy: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.busy:
            self.send_response(self.busy.pop())
            self.send_header("retry-after", "0")
        else:
            self.got.append((self.path, self.headers["content-type"], json.loads(body)))
            self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def door() -> Iterator[str]:
    Door.got, Door.busy = [], [429, 503]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = False
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_history_is_posted_a_day_at_a_time(door: str) -> None:
    told: list[int] = []
    assert post_history(Plan(GAP, 2, 0), door, told.append) == sum(told) == 251 + 287
    assert [(path, kind, len(body)) for path, kind, body in Door.got] == [
        (f"/ingest/{TOPIC}", "application/json", count) for count in told
    ]
    assert Door.got[0][2][0]["ts"] == GAP // 1_000_000


def test_live_messages_follow_the_history() -> None:
    plan = Plan(FIRST, 20, 2)
    messages = list(islice(plan.live(), 2))
    assert messages[0][0] == TOPIC
    assert json.loads(messages[1][1])["ts"] == (FIRST + 20 * DAY + SECOND) // 1_000_000
    assert (plan.history_count(), plan.live_count()) == (20 * 288 - 50, 172_500)
    assert len(list(Plan(FIRST, 0, 1).live())) == Plan(FIRST, 0, 1).live_count() == 86_100


def test_the_command_line(door: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--http", door, "--start", "2018-11-20", "--history-days", "1"])
    out = capsys.readouterr().out
    assert out.startswith("plant/trio/reading: 287 readings of 1 days over HTTP; all acknowledged")
    with pytest.raises(SystemExit):
        main([])
