"""What docs/sharing.md shows of the generated client works as it stands there, against a real platform."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.running import Up

TEXT = (Path(__file__).parent.parent.parent / "docs" / "sharing.md").read_text()


def test_the_generated_client_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"## From Python\n.*?```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    (tmp_path / "plant.csv").write_text("time,power\n0,1\r\n--+++\r\n1,2\n")
    monkeypatch.chdir(tmp_path)
    with Up(tmp_path / "data") as up, contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(found[1], "docs/sharing.md", "exec"), {"url": up.http, "token": up.token})
    assert printed.getvalue() == found[2]
