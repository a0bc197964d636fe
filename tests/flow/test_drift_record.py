"""What the drift detectors do on the real record: false alarms as it is, and days until a loss of four tenths is noticed.

``pytest tests/flow/test_drift_record.py -s`` prints the table of docs/adr/0013-alerts.md.
"""

from __future__ import annotations

import csv
import gzip
import io
from datetime import datetime
from importlib.resources import files

import numpy as np

from headrace.events import Alert
from headrace.examples.pv import publisher
from headrace.records import DAY, SECOND, Array, Rows
from headrace.services.learning.lane import GridLane
from headrace.services.learning.plan import Plan
from headrace.spec import parse

STARTS = range(70, 191, 15)
"""Days of the record on which the power falls to six tenths (docs/adr/0013-alerts.md)."""
SOON = 21
"""Days within which an alert is about the drift."""
SPEC = """
kind: OnlineModel
metadata: {name: pv}
input: {topics: [a], target: power, timezone: Etc/GMT+8}
transform:
  - resample: {every: 1h, lateness: 1m, fill: interpolate, up_to: 6h, beyond: zero}
  - scale: {method: minmax}
forecast: {horizon: 24, every: 1d}
learning: {initial: 16d, every: 1d, examples: forecasts}
backend: {rls: {floor: 0}}
alerts:
  - {name: bias, on: drift, detector: bias}
  - {name: peak, on: drift, detector: peak}
"""


def record() -> tuple[Array, Array]:
    """(time in ns, kW) of the shipped inverter."""
    text = gzip.decompress(files("headrace.examples.pv").joinpath("trio.csv.gz").read_bytes()).decode()
    rows = [row for row in csv.reader(io.StringIO(text)) if row and row[0][:1].isdigit()]
    time = [int(datetime.fromisoformat(row[0].replace("Z", "+00:00")).timestamp()) * SECOND for row in rows]
    return np.array(time, np.int64), np.array([float(row[1]) for row in rows])


def alerts(time: Array, power: Array) -> tuple[list[Alert], int]:
    """What the rules say about a record, and how many forecasts were scored."""
    (document,) = parse(SPEC)
    lane = GridLane(Plan(document.spec), "trio")
    lane.process(Rows(time.copy(), {"power": power.copy()}))
    scored = sum(score.contender == "live" for score in lane.effects.scores)
    return lane.effects.alerts, scored


def test_false_alarms_and_days_to_detection_on_the_real_record() -> None:
    time, power = record()
    calm, scored = alerts(time, power)
    assert scored == 208
    false = {name: sum(one.rule == name and one.cleared is None for one in calm) for name in ("bias", "peak")}
    days: dict[str, list[int | None]] = {"bias": [], "peak": []}
    for start in STARTS:
        moment = publisher.midnight("2018-11-08") + start * DAY
        found, _ = alerts(time, np.where(time >= moment, 0.6 * power, power))
        for name, detected in days.items():
            raised = [one.raised for one in found if one.rule == name and one.cleared is None]
            soon = [(one - moment) // DAY for one in raised if moment < one <= moment + SOON * DAY]
            detected.append(soon[0] if soon else None)
    for name, detected in days.items():
        print(f"{name}: {false[name]} false alarms in {scored} days; noticed after {detected} days")
    assert false == {"bias": 1, "peak": 0}
    assert all(day is not None and day <= 7 for day in days["peak"]), days["peak"]
    assert sum(day is not None for day in days["bias"]) <= 3, "then the table in docs/adr/0013-alerts.md is out of date"
