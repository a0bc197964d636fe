"""What the disk alone costs: one append of 100 bytes and one fsync, as often as the latency goal sends a reading.

    python -m benchmarks.disk --rate 200

Nothing that acknowledges after an fsync can be quicker. The last line printed is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time

from benchmarks.figures import summary

SIZE = 100


def appends(folder: str, count: int, rate: float) -> list[float]:
    """Seconds each append took; `count` of them, `rate` a second."""
    found: list[float] = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        begin = time.perf_counter()
        for index in range(count):
            time.sleep(max(0.0, begin + index / rate - time.perf_counter()))
            start = time.perf_counter()
            file.write(bytes(SIZE))
            os.fsync(file.fileno())
            found.append(time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where; the platforms measured keep theirs there"
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=200.0)
    options = parser.parse_args()
    count = int(options.rate * options.seconds)
    print(json.dumps({"appends": count, **summary(appends(options.folder, count, options.rate))}))


if __name__ == "__main__":
    main()
