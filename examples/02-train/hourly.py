"""Two files to try the recipes with: hourly means of a real PV inverter, 60 days to train on and the 20 after to hold out.

python examples/02-train/hourly.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np

from headrace.examples.pv import UTC_OFFSET, readings
from headrace.records import DAY, HOUR


def hourly() -> tuple[np.ndarray, np.ndarray]:
    """(start of each hour in ns, mean W in it); 0 at night, when the inverter sends nothing."""
    rows = readings()
    first = (rows.time[0] + UTC_OFFSET) // DAY * DAY + DAY - UTC_OFFSET
    count = int((rows.time[-1] - first) // HOUR)
    hour = (rows.time - first) // HOUR
    inside = (hour >= 0) & (hour < count)
    total = np.bincount(hour[inside], rows.columns["power"][inside], count)
    return first + HOUR * np.arange(count), total / 12


def write(path: Path, days: slice) -> None:
    """Those days as CSV."""
    times, power = (values[24 * days.start : 24 * days.stop] for values in hourly())
    stamps = np.datetime_as_string(times.astype("datetime64[ns]"), "s")
    lines = [f"{stamp}Z,{value:.1f}\n" for stamp, value in zip(stamps, power, strict=True)]
    path.write_text("time,power\n" + "".join(lines))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.csv", slice(0, 60))
    write(folder / "held-out.csv", slice(60, 80))
    print(f"wrote {folder}/train.csv and {folder}/held-out.csv")
