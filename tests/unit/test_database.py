"""Relational stores: what a full disk is to whoever writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from headrace.errors import StorageUnavailable
from headrace.stores.database import open_database, sqlite_url


def test_a_full_disk_passes_and_a_mistake_does_not(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "x.sqlite"), "headrace.trust.identities")
    try:
        with engine.connect() as db:
            db.execute(text("PRAGMA max_page_count = 1"))
            with pytest.raises(StorageUnavailable, match="full"):
                for number in range(10_000):
                    db.execute(text(f"INSERT INTO companies VALUES ('c{number}', 1)"))
        with engine.connect() as db, pytest.raises(IntegrityError):
            db.execute(text("INSERT INTO people SELECT 'x', 'nobody', '', '', '', '', '', 1, ''"))
    finally:
        engine.dispose()
