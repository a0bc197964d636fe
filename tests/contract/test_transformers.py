"""The shipped contract suite, run on every transformer found by discovery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.checks import check_transformer
from headrace.models.transformers import TRANSFORMERS, Context
from headrace.records import DAY

SKIPS: dict[str, str] = {}
"""Member -> why the suite does not apply to it."""

PARAMS: dict[str, list[dict[str, Any]]] = {
    "three_phase_power": [{"into": "value"}, {"pf": None, "power_factor": 0.9, "into": "value"}],
    "resample": [
        {"up_to": "8h"},
        {"lateness": "1h", "columns": ["temperature", "v1"], "up_to": "3h", "beyond": "zero", "outage": "5h"},
        {"fill": "hold", "up_to": "1h", "beyond": "zero", "expect": "20m", "minimum_coverage": 0.5},
        {"aggregate": "last", "fill": "zero", "up_to": "2h", "beyond": "hold", "max_jump": "9h"},
        {"aggregate": "max", "fill": "nan", "columns": ["temperature"]},
        {"aggregate": "sum", "beyond": "hold", "up_to": "0s", "expect": "1m"},
    ],
    "scale": [{"method": method, "columns": ["temperature"]} for method in ("minmax", "standard", "max", "none")],
    "window": [{"history": 36}, {"history": 1}, {"history": 24, "columns": ["temperature", "value"]}],
    "lags": [
        {"steps": [24, 23, 25, 48], "means": [{"days": 7}], "yesterday": ["mean", "max"], "ahead": "season"},
        {"steps": [1, 24], "yesterday": ["min"]},
        {"steps": [3], "means": [{"days": 2}], "ahead": "last", "column": "temperature", "season": 5},
    ],
    "calendar": [{}, {"features": ["hour", "slot", "weekday", "day_of_year_sin", "day_of_year_cos"]}],
    "python": [{"file": "step.py", "params": {"factor": 3.0}}],
}
USERS_STEP = """
import numpy as np
from headrace.records import Rows

class Step:
    def __init__(self, params, context):
        self.factor, self.target, self.total = params["factor"], context.target, 0.0

    def apply(self, rows):
        if not len(rows):
            return rows
        values = np.nan_to_num(rows.columns.get(self.target, np.zeros(len(rows))))
        sums = []
        for value in values:
            self.total += value * self.factor
            sums.append(self.total)
        return Rows(rows.time, {**rows.columns, "total": np.array(sums)})

    def state(self):
        return {"total": self.total}

    def load(self, state):
        self.total = state["total"]
"""
CASES = [(name, params) for name in TRANSFORMERS.names() for params in PARAMS.get(name, [{}])]


@pytest.mark.parametrize(("name", "params"), CASES, ids=[f"{name}-{place}" for place, (name, _) in enumerate(CASES)])
def test_contract(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    if name in SKIPS:
        pytest.skip(SKIPS[name])
    (tmp_path / "step.py").write_text(USERS_STEP)
    context = Context(timezone="Europe/Madrid", initial=5 * DAY, folder=str(tmp_path))
    valid = TRANSFORMERS.params(name, params)
    check_transformer(name, lambda: TRANSFORMERS.find(name)(valid, context))
