"""The shipped contract suite, run on every interval found by discovery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from headrace.checks import check_interval
from headrace.checks.intervals import Make
from headrace.models.intervals import INTERVALS, Interval
from headrace.models.intervals.conformal import Conformal
from headrace.models.transformers import Context
from headrace.records import Array


def maker(name: str, **more: Any) -> Make:
    def make(settings: Mapping[str, Any], context: Context) -> Interval:
        made: Interval = INTERVALS.find(name)(INTERVALS.params(name, {**more, **settings}), context)
        return made

    return make


@pytest.mark.parametrize("nominal", [0.5, 0.9])
@pytest.mark.parametrize("name", INTERVALS.names())
def test_contract(name: str, nominal: float) -> None:
    check_interval(name, maker(name), nominal=nominal)


@pytest.mark.parametrize("name", ["adaptive", "conformal"])
@pytest.mark.parametrize("pool", [0, 12])
def test_contract_with_other_pools(name: str, pool: int) -> None:
    check_interval(name, maker(name, pool=pool))


class Bad(Conformal):
    """Keeps to the contract but for what a test breaks."""


def bad_cover(self: Bad, prediction: Array, times: NDArray[np.int64]) -> Any:
    band = Conformal.cover(self, prediction, times)
    return band if band is None else (band[1], band[0])


def bad_quiet(self: Bad, prediction: Array, times: NDArray[np.int64]) -> Any:
    band = Conformal.cover(self, prediction, times)
    return band if band is None else (band[0] - 1e-3, band[1])


def bad_update(self: Bad, prediction: Array, truth: Array, times: NDArray[np.int64]) -> None:
    Conformal.update(self, prediction, np.nan_to_num(truth), times)


def bad_state(self: Bad) -> dict[str, Any]:
    return {**Conformal.state(self), "limits": Bad(Bad.Params(quiet={"below": "0.1%"}), Context())._limits.state()}


@pytest.mark.parametrize(
    ("verb", "broken", "words"),
    [
        ("cover", bad_cover, "a lower bound above the upper"),
        ("cover", bad_quiet, "a bound below clip.low"),
        ("update", bad_update, "an unknown truth was remembered"),
        ("state", bad_state, "stops: another band"),
    ],
)
def test_the_suite_finds_what_is_broken(verb: str, broken: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bad, verb, broken, raising=False)
    with pytest.raises(AssertionError, match=words):
        check_interval("bad", lambda settings, context: Bad(Bad.Params.model_validate(settings), context))
