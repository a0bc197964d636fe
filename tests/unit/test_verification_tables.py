"""The verification service's migrations make what the code says; the hub's newest keeps what was promised."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from headrace.services.verification.tables import metadata
from headrace.stores.database import open_database, sqlite_url

PACKAGE = "headrace.services.verification"


def test_an_empty_database_becomes_what_the_code_says(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "v.db"), PACKAGE)
    with engine.connect() as connection:
        options = {"compare_type": True, "version_table": "verification_version"}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_promises_from_before_are_still_there_and_numbers_go_on(tmp_path: Path) -> None:
    hub, url = "headrace.services.sharing", sqlite_url(tmp_path / "hub.db")
    engine, config = create_engine(url), Config()
    config.set_main_option("script_location", str(files(hub) / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for asset in ("ds_1", "ds_2"):
            connection.execute(
                text(f"INSERT INTO pending (kind, asset, company) VALUES ('inspect', '{asset}', 'acme')")
            )
    engine.dispose()
    engine = open_database(url, hub)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT asset FROM pending ORDER BY id")).scalars().all() == ["ds_1", "ds_2"]
        connection.execute(text("DELETE FROM pending"))
        connection.execute(text("INSERT INTO pending (kind, asset, company) VALUES ('anchor', 'ds_3', 'acme')"))
        assert connection.execute(text("SELECT id FROM pending")).scalar() == 3
    engine.dispose()
