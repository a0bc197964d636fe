"""The shipped contract suite, run on every drift detector found by discovery."""

from __future__ import annotations

import pytest

from headrace.checks import check_detector
from headrace.models.drift import DETECTORS


@pytest.mark.parametrize("name", DETECTORS.names())
def test_contract(name: str) -> None:
    params = DETECTORS.params(name, {})
    check_detector(name, lambda: DETECTORS.find(name)(params))
