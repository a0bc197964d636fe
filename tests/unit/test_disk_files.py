"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from headrace.disk import write_text, write_whole
from headrace.errors import BadInput


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_whole(path, b"before")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"after")
    with pytest.raises(BadInput, match="a cannot be written: No space left on device"):
        write_text(path, "after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_users_file_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a.html", "ä")
    assert (tmp_path / "a.html").read_text("utf-8") == "ä" and stat.S_IMODE(
        (tmp_path / "a.html").stat().st_mode
    ) == 0o644
    with pytest.raises(BadInput, match="cannot be written: No such file or directory"):
        write_text(tmp_path / "none" / "a.html", "")
    with pytest.raises(BadInput, match="cannot be written: Is a directory"):
        write_text(tmp_path, "")


def test_a_pipe_or_a_link_stays_one(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join()
    (tmp_path / "real").touch()
    link.symlink_to("real")
    write_text(link, "behind")
    assert got == ["through"] and pipe.is_fifo() and link.is_symlink() and (tmp_path / "real").read_text() == "behind"
