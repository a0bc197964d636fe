"""What happened, in the words every part shares. Plain data; times are ns since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """How many truths the bands held, and how wide they were."""

    n: int
    """Targets that were known and had a band."""
    coverage: float | None
    """Share of them inside the band; None without any."""
    width: float | None
    """Mean width, in the target's unit; None without any."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the bands of the served forecasts were worth over the trailing `days` of scored forecasts."""

    nominal: float
    """What they promise: this share of the truths."""
    days: int
    n: int
    """Targets that were known and had a band."""
    coverage: float
    """Share of them inside the band."""
    width: float
    """Mean width, in the target's unit."""
    active: Held
    """The same of the active targets: truth above 2 % of the scale."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A forecast that was issued."""

    id: str
    """The same for the same model, key and origin, however often it is computed."""
    model: str
    key: str
    origin: int
    """Start of the first forecast grid window."""
    step: int
    """Grid step, ns."""
    values: list[float]
    """In the target's own unit, one per grid step from `origin`."""
    low: list[float] | None
    high: list[float] | None
    """The interval, None while too few residuals are known."""
    by: str
    """"live" or the digest of the published snapshot that made it."""
    interval: Measured | None = None
    """How well the bands of this key have held so far; None while no band has been scored."""
    late: bool = False
    """Made in a gap that was interpolated, with the reading that ended it: never scored."""


@dataclass(frozen=True, slots=True)
class Score:
    """How a contender's forecast compared with what happened."""

    model: str
    key: str
    origin: int
    contender: str
    """"live", "champion", or a yardstick: "persistence", "hour-mean"."""
    n: int
    """Targets that were known and not filled in."""
    squared: float
    """Sum of squared errors, scaled."""
    absolute: float
    """Sum of absolute errors, in the target's unit."""
    daylight: int
    """Targets counted as active: truth or forecast above 2 % of the scale."""
    daylight_squared: float
    own: float = 0.0
    """Sum of squared errors, in the square of the target's unit: what models with different scalers are compared by."""


@dataclass(frozen=True, slots=True)
class Covered:
    """How the band of one served forecast compared with what happened."""

    model: str
    key: str
    origin: int
    n: int
    """Targets that were known."""
    covered: int
    """Those of them inside the band, bounds included."""
    width: float
    """Sum of the band's width over them, in the target's unit."""
    active: int
    """Targets counted as active: truth above 2 % of the scale."""
    active_covered: int
    active_width: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided about one scored forecast, with its numbers."""

    model: str
    key: str
    time: int
    """Event time of the decision: when the scored forecast's last outcome was known."""
    publish: bool
    reason: str
    champion: float | None
    challenger: float | None
    """Mean squared errors over the window, scaled."""
    days: int
    snapshot: str
    """Digest of the published weights, or ""."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An episode of an alert: one record, first without `cleared`, then with it."""

    id: str
    """The same for the same rule, key and time, however often it is computed."""
    key: str
    rule: str
    on: str
    """Kind of the rule: reading, forecast, breach, coverage, drift, silence."""
    severity: str
    raised: int
    """Event time at which the rule began to hold."""
    cleared: int | None
    """Event time at which it no longer did; None while it does."""
    value: float
    """What was compared, when it was raised."""
    threshold: float
    message: str
    """A sentence for people."""
