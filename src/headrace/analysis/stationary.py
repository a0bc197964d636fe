"""Whether a series keeps its mean and spread: two tests with opposite null hypotheses, read together."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from headrace.analysis.words import Finding, chance
from headrace.records import Array

LEAST = 50
MOST = 3000
"""Values tested; more are averaged in blocks."""
LEVEL = 0.05


@dataclass(frozen=True)
class Stationarity:
    """Augmented Dickey-Fuller with a trend (null: a unit root) and KPSS (null: stationary around a level)."""

    adf: float
    kpss: float
    """p-values; KPSS's is known only between 0.01 and 0.1."""
    n: int

    @property
    def wandering(self) -> bool:
        """Whether a unit root is not excluded, and stationarity is."""
        return self.adf >= LEVEL and self.kpss < LEVEL

    def finding(self, deseasoned: bool) -> Finding:
        """In a sentence."""
        end = {0.01: "≤ 0.01", 0.1: "≥ 0.1"}.get(round(self.kpss, 4), f"= {self.kpss:.2g}")
        numbers = f"ADF {chance(self.adf)}, KPSS p {end}, n = {self.n:,}{', season taken out' if deseasoned else ''}"
        return Finding("level", f"{self._meaning()} ({numbers})", 2 if self.wandering else 1, self.wandering)

    def _meaning(self) -> str:
        unit_root, level = self.adf >= LEVEL, self.kpss >= LEVEL
        if not unit_root and level:
            return "stationary: both tests agree that it keeps returning to one level"
        if unit_root and not level:
            return "not stationary: both tests agree that it wanders; difference it, or let the model forget"
        if not unit_root:
            return (
                "returns to a level that itself moves (no unit root, but no fixed level): a trend or slow swing; let the "
                "model forget"
            )
        return "undecided: too little for either test to speak"


def test(values: Array) -> Stationarity | None:
    """Of a complete series without its season; None if it is too short or constant."""
    from statsmodels.tsa.stattools import adfuller, kpss

    if len(values) < LEAST or not values.std() > 1e-12 * max(1.0, float(np.abs(values).max())):
        return None
    block = -(-len(values) // MOST)
    short = values[: len(values) // block * block].reshape(-1, block).mean(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # KPSS warns that its table ends, as its p-value says anyway
        unit_root, level = (
            float(adfuller(short, regression="ct", autolag="AIC")[1]),
            float(kpss(short, regression="c", nlags="auto")[1]),
        )
    return Stationarity(unit_root, level, len(short)) if np.isfinite(unit_root + level) else None
