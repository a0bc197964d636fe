"""A file as a table: its largest device if it has several and none is named."""

from __future__ import annotations

import re
from pathlib import Path

from headrace.analysis.tables import Table, choose, which
from headrace.errors import BadInput
from headrace.tables import files


def read_file(path: Path, device: str | None = None, zone: str | None = None) -> Table:
    """The readings of one device of a file. Raises what `headrace.tables.files.read` raises; BadInput for `device`."""
    source = f"file {path.name}"

    def one(devices: dict[str, int]) -> list[str]:
        if device is not None and list(devices) == [""]:
            raise BadInput(detail=f"{source} has no column that names devices; leave out --device")
        return [choose(devices, device, source)]

    found = files.read(path, one, zone)
    ((chosen, rows),) = found.series.items()
    notes = [found.clock + (" (--timezone says whose clock it is)" if found.zoneless and zone is None else "")]
    if len(found.devices) > 1:
        count = f"{len(found.devices):,} devices in column {found.naming}"
        notes.append(f"{count}; this is {which(found.devices, chosen)}, --device chooses")
    return Table(
        source=source,
        topic=f"{re.sub('[^a-z0-9]+', '-', path.name.partition('.')[0].lower()).strip('-') or 'site'}/+/reading",
        device=chosen,
        devices=found.devices,
        time=rows.time,
        columns=rows.columns,
        notes=(*notes, *found.notes),
    )
