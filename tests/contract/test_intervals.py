"""The shipped contract suite, run on every interval found by discovery."""

from __future__ import annotations

import pytest

from headrace.checks import check_interval
from headrace.models.intervals import INTERVALS


@pytest.mark.parametrize("nominal", [0.5, 0.9])
@pytest.mark.parametrize("name", INTERVALS.names())
def test_contract(name: str, nominal: float) -> None:
    params = INTERVALS.params(name, {"nominal": nominal})
    check_interval(name, lambda: INTERVALS.find(name)(params), nominal=nominal)
