"""The hub's migrations: from nothing, from revision 1, and the same as the tables in the code."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from headrace.services.sharing.tables import metadata
from headrace.stores.database import open_database, sqlite_url

PACKAGE = "headrace.services.sharing"


def _upgrade(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(files(PACKAGE) / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_an_empty_database_becomes_what_the_code_says(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "hub.db"), PACKAGE)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": "sharing_version"}
        )
        assert compare_metadata(context, metadata) == []
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
    engine.dispose()


def test_a_column_that_no_migration_makes_is_found(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "hub.db"), PACKAGE)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE grants DROP COLUMN expires_ms"))
        context = MigrationContext.configure(connection, opts={"version_table": "sharing_version"})
        assert [change[0] for change in compare_metadata(context, metadata)] == ["add_column"]
    engine.dispose()


def test_rows_of_revision_1_are_still_there_after_the_upgrade(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "hub.db")
    engine = create_engine(url)
    _upgrade(engine, "0001")
    with engine.begin() as connection:
        assert "audit" not in inspect(connection).get_table_names()
        connection.execute(
            text("INSERT INTO datasets (id, company, name, created_ms, record) VALUES ('ds_1', 'acme', 'old', 7, '{}')")
        )
        connection.execute(text("INSERT INTO edges VALUES ('st_1', 'ds_1')"))
    engine.dispose()
    engine = open_database(url, PACKAGE)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT name FROM datasets")).scalar() == "old"
        assert connection.execute(text("SELECT target FROM edges")).scalar() == "ds_1"
        assert connection.execute(text("SELECT count(*) FROM audit")).scalar() == 0
    engine.dispose()


FORGED = "INTO audit (id, time_ms, company, subject, action, asset, owner)"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET subject = 'nobody'",
        "DELETE FROM audit",
        f"INSERT OR REPLACE {FORGED} SELECT id, time_ms, company, 'nobody', action, asset, owner FROM audit",
        f"INSERT {FORGED} VALUES (0, 1, 'acme', 'nobody', 'look', '', 'acme')",
        f"INSERT {FORGED} VALUES (-1, 1, 'acme', 'nobody', 'look', '', 'acme')",
        f"INSERT {FORGED} VALUES (-7, 1, 'acme', 'nobody', 'look', '', 'acme')",
    ],
)
def test_the_database_itself_refuses_to_rewrite_the_audit_log(tmp_path: Path, change: str) -> None:
    engine = open_database(sqlite_url(tmp_path / "hub.db"), PACKAGE)
    values = "(1, 'acme', 'ann', 'register', 'ds_1', 'acme')"
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO audit (time_ms, company, subject, action, asset, owner) VALUES {values}"))
    with engine.connect() as connection, pytest.raises(IntegrityError, match="append-only"):
        connection.execute(text(change))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT subject FROM audit")).scalar() == "ann"
    engine.dispose()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "hub.db"), PACKAGE)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
    engine.dispose()


def test_only_the_fence_asks_for_datasets_and_models() -> None:
    """No query elsewhere: whoever names these tables outside of it goes around the fence."""
    folder = Path(str(files(PACKAGE)))
    for file in folder.rglob("*.py"):
        if file.name in {"fence.py", "tables.py"} or "migrations" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.tables":
                assert not {one.name for one in node.names} & {"datasets", "models"}, file.name
            if isinstance(node, ast.Import):
                assert not any("sharing.tables" in one.name for one in node.names), file.name
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            assert "FROM datasets" not in text and "FROM models" not in text, file.name
            if isinstance(node, ast.ImportFrom) and node.module == f"{PACKAGE}.fence":
                assert "TABLES" not in {one.name for one in node.names}, file.name
