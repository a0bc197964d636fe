"""`headrace explain` shows as many digits as there are to see, whatever the unit."""

from __future__ import annotations

import re

import pytest

from headrace.commands import answers


@pytest.mark.parametrize(
    ("values", "decimals"),
    [([1234.5, 3.0], 1), ([56.78, 0.1], 2), ([0.00271, -0.001], 6), ([0.0], 1), ([], 1), ([1e-30], 20), ([1e9], 1)],
)
def test_digits_come_from_the_largest(values: list[float], decimals: int) -> None:
    assert answers._decimals(values) == decimals


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
@pytest.mark.parametrize("sign", [1, -1])
def test_small_contributions_are_seen_and_stand_in_line(
    capsys: pytest.CaptureFixture[str], scale: float, sign: int
) -> None:
    parts = [sign * part * scale for part in (0.0452, -0.0121, 0.0031, 0.0)]
    base = 57.1
    answers._print_explanation(
        {
            "name": "m", "key": "k", "origin_ms": 0, "step_ms": 3_600_000, "by": "live", "baseline": "profile", "unit": "C",
            "method": "linear", "completeness": 0.0, "tolerance": 1e-5, "note": "", "targets": [1],
            "features": [{"label": f"input {n}", "time_ms": None, "value": n * scale or None} for n in range(4)],
            "base": [base], "prediction": [base + sum(parts)], "contributions": [parts],
        }
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"forecast (-?[\d.,]+) C, against ([\d.,]+) C for the baseline \(profile\)", lines[1])
    assert found is not None and found[1] != found[2], lines[1]
    shown = [re.search(r"[+-][\d,]+\.\d+", line) for line in lines[4:]]
    assert len(shown) == 4 and len({one.end() for one in shown if one}) == 1  # one under the other
    values = [float(one[0].replace(",", "")) for one in shown if one]
    assert [value != 0 for value in values] == [True, True, True, False]
    assert values == pytest.approx(sorted(parts, key=abs, reverse=True), rel=0.02, abs=1e-12)
