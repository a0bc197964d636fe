"""A real photovoltaic inverter: AC power of an ABB TRIO-27.6-480, every 5 minutes, 7 November 2018 to 20 June 2019.

`trio.csv.gz` holds the measured rows and no others. What to know about them:

- Times are UTC, though the source does not say so. The power is centred on 11:35 (November) to 12:05 (spring) of a
  clock 8 hours behind, as it is near the meridian of UTC-8, and sunrise drifts smoothly through 10 March 2019, when US
  clocks changed. A row is taken for the mean of the 5 minutes that begin at its time.
- The inverter sleeps at night and sends nothing: the 224 nights have no rows, and zero is right there.
- 157 gaps of 5 minutes to 3 h 05 (16.9 h in all; 143 of them between rows with power) and one of 24 h from
  21 April 2019, 15:50 local time, are real: nothing is known of them.

Source and licence: THIRD_PARTY_NOTICES.md; derivation: examples/01-pv-forecast/derive.py.
"""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np

from headrace.records import HOUR, MINUTE, SECOND, Rows

SLOT = 5 * MINUTE
UTC_OFFSET = -8 * HOUR
"""The site's local standard time minus UTC."""
TIMEZONE = "Etc/GMT+8"
"""The same as a zone (the sign of these names is the other way round)."""


def readings() -> Rows:
    """The measured rows: `time`, and the column `power` in W."""
    text = gzip.decompress(files(__package__).joinpath("trio.csv.gz").read_bytes()).decode()
    pairs = [line.split("Z,") for line in text.splitlines()[1:]]
    seconds = np.array([time for time, _ in pairs], "datetime64[s]").astype(np.int64)
    return Rows(seconds * SECOND, {"power": np.array([float(kilowatts) for _, kilowatts in pairs]) * 1000})
