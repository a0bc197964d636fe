"""Are a model's errors normally distributed? Three tests, and what their answer is worth at this number of errors.

Nothing in Headrace relies on normal errors (see `models/intervals/`); the tests are reported because the chapter's
Gaussian band would. SciPy and statsmodels (the extra `evaluate`) are imported when a test is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np

from headrace.errors import MissingExtra
from headrace.records import Array

FEWEST = 3
"""Errors that any of the tests needs; D'Agostino and Pearson's needs..."""
FEW = 8
MANY = 5000
"""...and Shapiro and Wilk's p-values are not known beyond this many."""
DRAWS = 400
"""Simulated samples of clearly non-normal errors; their seed is fixed."""
ENOUGH = 500
"""Simulated samples are no larger: at this size the tests let nothing of the kind pass."""
ALIKE = 1e-9
"""Errors that differ by less than this share of their size are called constant."""


@dataclass(frozen=True)
class Finding:
    """One test's answer."""

    name: str
    statistic: float | None
    p: float | None
    """Probability of a statistic at least this extreme, were the errors normal and independent; None: not made."""
    normal: bool | None
    """False: rejected at the level. True says only that it was not rejected."""
    note: str = ""
    """Why it was not made."""


@dataclass(frozen=True)
class Normality:
    """Three tests of the same errors."""

    n: int
    """Errors that were known."""
    level: float
    """A test rejects below this p."""
    skewness: float | None
    excess: float | None
    """Excess kurtosis; 0 for the normal distribution, above 0 for heavier tails."""
    tests: tuple[Finding, ...]
    sentence: str
    """What so many errors can and cannot show."""

    def rows(self) -> list[list[str]]:
        """Finding, statistic, p and decision, as text for a table."""
        return [
            [one.name, "" if one.statistic is None else f"{one.statistic:.4f}", _p(one.p), _decision(one)]
            for one in self.tests
        ]

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self) | {"tests": [asdict(one) for one in self.tests]}


def normality(residuals: Sequence[float] | Array, level: float = 0.05) -> Normality:
    """Shapiro-Wilk, Anderson-Darling and D'Agostino-Pearson of some errors; those that are not finite are left out.

    Args:
        residuals: (n,), in any unit.
        level: significance level, in (0, 1).

    Raises:
        MissingExtra: SciPy or statsmodels is not installed.
        ValueError: a level outside (0, 1).

    Sources: Shapiro and Wilk 1965 (p-values by Royston 1995); Anderson and Darling 1954, with estimated mean and variance
    as in Stephens 1986; D'Agostino and Pearson 1973.
    """
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    errors = np.asarray(residuals, dtype=np.float64).ravel()
    errors = errors[np.isfinite(errors)]
    n, reason = len(errors), _untestable(errors)
    if reason:
        tests = tuple(Finding(name, None, None, None, reason) for name, _, _ in _TESTS)
        return Normality(n, level, None, None, tests, f"No test was made: {reason}.")
    scaled = (errors - errors.mean()) / errors.std()
    tests = tuple(_test(name, make, span, scaled, level) for name, make, span in _TESTS)
    skewness, excess = float((scaled**3).mean()), float((scaled**4).mean() - 3)
    return Normality(n, level, skewness, excess, tests, _sentence(n, level, tests, skewness, excess))


def passed(n: int, level: float) -> float:
    """Share of `DRAWS` seeded samples of n Laplace errors (much heavier tails than normal) that Shapiro-Wilk lets pass."""
    stats = _scipy()
    samples = np.random.default_rng(0).laplace(size=(DRAWS, min(n, ENOUGH)))
    return float(np.mean([stats.shapiro(sample).pvalue >= level for sample in samples]))


def _untestable(errors: Array) -> str:
    n = len(errors)
    if n < FEWEST:
        return f"{n} error{'s are' if n != 1 else ' is'} too few, at least {FEWEST} are needed"
    with np.errstate(over="ignore", invalid="ignore"):
        spread, largest = errors.max() - errors.min(), np.abs(errors).max()
        if not np.isfinite(errors.std()):
            return "the errors are too large to compute with"
    if spread <= ALIKE * largest or not errors.std() > 0:
        return f"all {n} errors are the same, which no distribution explains"
    return ""


def _test(
    name: str, make: Callable[[Array], tuple[float, float]], span: tuple[int, float], errors: Array, level: float
) -> Finding:
    least, most = span
    if len(errors) < least:
        return Finding(name, None, None, None, f"needs {least} errors, there are {len(errors)}")
    if len(errors) > most:
        return Finding(name, None, None, None, f"its p-values are not known beyond {most:,.0f} errors")
    statistic, p = (float(value) for value in make(errors))
    if not (isfinite(statistic) and isfinite(p)):
        return Finding(name, None, None, None, "it cannot be computed for these errors")
    return Finding(name, statistic, p, p >= level)


def _shapiro(errors: Array) -> tuple[float, float]:
    found = _scipy().shapiro(errors)
    return found.statistic, found.pvalue


def _anderson(errors: Array) -> tuple[float, float]:
    try:
        from statsmodels.stats.diagnostic import normal_ad
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    statistic, p = normal_ad(errors)
    return statistic, p


def _dagostino(errors: Array) -> tuple[float, float]:
    found = _scipy().normaltest(errors)
    return found.statistic, found.pvalue


def _scipy() -> Any:
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return stats


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(family="diagnostics", name="normality", module=error.name, extra="evaluate")


_TESTS: tuple[tuple[str, Callable[[Array], tuple[float, float]], tuple[int, float]], ...] = (
    ("Shapiro-Wilk", _shapiro, (FEWEST, MANY)),
    ("Anderson-Darling", _anderson, (FEW, float("inf"))),
    ("D'Agostino-Pearson", _dagostino, (FEW, float("inf"))),
)


def _sentence(n: int, level: float, tests: tuple[Finding, ...], skewness: float, excess: float) -> str:
    share = passed(n, level)
    rejected = [one.name for one in tests if one.normal is False]
    shape = f"skewness {skewness:+.2f}, excess kurtosis {excess:+.2f}"
    if not rejected:
        return (
            f"Not rejected is not normal: of {DRAWS} simulated samples of {min(n, ENOUGH):,} clearly non-normal (Laplace) errors,"
            f" Shapiro-Wilk lets {share:.0%} pass at {level:g}, so with n = {n:,} this {_worth(share)} ({shape})."
        )
    return (
        f"Rejected says that the errors are not one normal, independent sample, not by how much ({shape}): with n = {n:,}"
        f" {_reach(share, level)}, and errors of different hours or of one bad day are neither alike nor independent."
    )


def _worth(share: float) -> str:
    """What a pass is worth when clearly non-normal errors pass this often."""
    if share > 0.2:
        return "shows very little"
    return "rules out strong departures only" if share > 0.01 else "rules out departures that strong, not small ones"


def _reach(share: float, level: float) -> str:
    """What a rejection is worth when clearly non-normal errors pass this often."""
    if share <= 0.2:
        return "even small departures are found"
    return (
        f"clearly non-normal (Laplace) errors would be found only {1 - share:.0%} of the time, so this departure is large,"
        f" or one of the {level:.1%} false alarms"
    )


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _decision(one: Finding) -> str:
    if one.normal is None:
        return one.note
    return "not rejected" if one.normal else "not normal"
