"""Unpacks a code archive: ``python -m headrace.inside.unpack``, inside the sandbox.

``/work/request.json``: {"archive": path, "into": folder under /work/output, "entries", "total", "ratio": bounds, all optional}.
``/work/output/answer.json``: {"files": [path...]} or {"error": "..."}.
"""

from __future__ import annotations

import json
from pathlib import Path

from headrace.errors import BadArchive
from headrace.runners.archive import Bounds, unpack

REQUEST, OUTPUT = Path("/work/request.json"), Path("/work/output")


def main() -> None:
    """One request, one answer."""
    request = json.loads(REQUEST.read_text(encoding="utf-8"))
    into = OUTPUT / request.get("into", "code")
    into.mkdir(parents=True, exist_ok=True)
    bounds = {name: int(request[name]) for name in ("entries", "total", "ratio") if name in request}
    try:
        answer: dict[str, object] = {"files": unpack(Path(request["archive"]), into, Bounds(**bounds))}
    except BadArchive as error:
        answer = {"error": str(error.fields["detail"])}
    (OUTPUT / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
