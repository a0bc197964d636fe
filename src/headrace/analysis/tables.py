"""What is looked at: one device's readings, from wherever they came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.models.transformers import Context
from headrace.models.transformers.three_phase_power import ThreePhasePower
from headrace.records import Array, Rows

FIELDS = 12
"""Fields looked at; a file may have hundreds."""
POWER = "power"
_PHASES = ("v1", "v2", "v3", "i1", "i2", "i3", "pf")
Progress = Callable[[str, float], None]
"""Told what is being done and how much of it (0 to 1) is done."""


def silent(what: str, done: float) -> None:
    """Progress nobody watches."""


@dataclass(frozen=True)
class Table:
    """Readings of one device, in the order in which they came."""

    source: str
    """What was read, in words: ``file trio.csv.gz``."""
    topic: str
    """Where such readings arrive, as a spec says it; made up for a file."""
    device: str
    """ "" when nothing names one."""
    devices: dict[str, int]
    """Readings of every device there was."""
    time: NDArray[np.int64]
    columns: dict[str, Array]
    """Finite, or NaN where there is no value."""
    units: dict[str, str] = field(default_factory=dict)
    derived: tuple[str, ...] = ()
    """Columns that a step of the spec makes: `power` of three phases."""
    recorded: bool = False
    """Whether `topic` is where the readings really came from."""
    notes: tuple[str, ...] = ()
    """What has to be known about how it was read."""


def choose(devices: dict[str, int], wanted: str | None, source: str) -> str:
    """The device to look at: the one asked for, else the one with most readings. Raises BadInput."""
    if wanted is None:
        return min(devices, key=lambda name: (-devices[name], name))
    if wanted not in devices:
        raise BadInput(detail=f"{source} has no device {wanted!r}; it has {listed(devices)}")
    return wanted


def which(devices: dict[str, int], chosen: str) -> str:
    """The chosen device, and how many others have as many readings: then it is the first by name, no more."""
    others = sum(1 for readings in devices.values() if readings == devices[chosen]) - 1
    return (
        f"{chosen!r} ({others:,} {'other has' if others == 1 else 'others have'} as many readings)"
        if others
        else repr(chosen)
    )


def listed(names: dict[str, int] | list[str], most: int = 10) -> str:
    """The first few names."""
    several = list(names)
    more = f" and {len(several) - most:,} more" if len(several) > most else ""
    return ", ".join(repr(name) for name in several[:most]) + more


def with_power(table: Table) -> Table:
    """The table with the active power of its three phases, if it has phases and no power of its own."""
    if POWER in table.columns or not all(name in table.columns for name in _PHASES):
        return table
    step = ThreePhasePower(ThreePhasePower.Params(), Context(target=POWER))
    power = step.apply(Rows(table.time, dict(table.columns))).columns[POWER]
    note = "power = V·I·PF summed over the three phases, reading by reading (the spec's step three_phase_power)"
    return replace(
        table,
        columns={POWER: power, **table.columns},
        units={**table.units, POWER: "W"},
        derived=(POWER,),
        notes=(*table.notes, note),
    )


def only(table: Table, name: str | None) -> Table:
    """The table with one field, or with the first few. Raises BadInput."""
    known = [key for key, values in table.columns.items() if np.isfinite(values).any()]
    if name is not None and name not in table.columns:
        raise BadInput(detail=f"{table.source} has no numeric field {name!r}; it has {listed(list(table.columns))}")
    if not known or (name is not None and name not in known):
        raise BadInput(
            detail=f"{table.source}: no reading of {listed([name] if name else list(table.columns))} is a number"
        )
    chosen = [name] if name is not None else known[:FIELDS]
    notes = table.notes
    if name is None and len(known) > FIELDS:
        notes = (*notes, f"the first {FIELDS} of {len(known)} fields are looked at; --field chooses another")
    if empty := [key for key in table.columns if key not in known]:
        notes = (*notes, f"without a single number: {listed(empty)}")
    return replace(table, columns={key: table.columns[key] for key in chosen}, notes=notes)
