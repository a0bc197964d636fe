"""CSV and Parquet, read by DuckDB: types of the columns, figures of the numbers, ranges of times, distinct texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.errors import BadInput, Ragged
from headrace.inside.figures import BLOCK, Array, describe
from headrace.inside.lines import Layout, layout, ragged
from headrace.inside.media import GZIP, encoding, first_line
from headrace.inside.work import reason
from headrace.settings import InspectionSettings

CHUNK = 2048
"""Rows of DuckDB's vectors."""
NAME = 200
"""Characters of a column's name that are kept."""
DISTINCT = 10_000
"""Distinct texts up to which they are counted exactly; above, by HyperLogLog (a few percent)."""
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_NUMBERS_TOO = ("UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN", "BIGNUM")
_NUMERIC = (*_NUMBERS, *_NUMBERS_TOO)
_TIMES = ("DATE", "TIME", "TIMESTAMP")
_COMMA = re.compile(r"[+-]?\d+,\d+\s*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}\s*")
_SEPARATORS = ",;\t|"


def look(path: Path, media: str, limits: InspectionSettings) -> dict[str, Any]:
    """Samples are rows; the shape of one is the number of columns. Raises BadInput."""
    import duckdb

    alone: Any = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "temp_directory": ""}
    memory = f"{limits.memory_bytes // 2**21}MiB"  # half of it: the rest is for blocks
    with duckdb.connect(config={**alone, "threads": "1", "memory_limit": memory}) as database:
        try:
            database.execute("SET TimeZone = 'UTC'")
            made = layout(path) if media == "csv" else None
            for source in _sources(database, path, media, limits, made):
                try:
                    database.execute(f"CREATE OR REPLACE TEMP VIEW source AS SELECT * FROM {source}")
                    return _noted(_described(database, limits), _left_out(database, source, media, made))
                except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
                    failed = error
            if made is not None and (found := ragged(path, made, limits.line_bytes)):
                raise Ragged(detail=found) from failed
            raise failed
        except duckdb.OutOfMemoryException as error:
            raise MemoryError from error
        except duckdb.Error as error:
            raise BadInput(detail=f"it cannot be read as {media}: {_said(error)}") from error


def _left_out(database: Any, source: str, media: str, made: Layout | None) -> str:
    """What to say of lines before the table."""
    if media != "csv":
        return ""
    if made is not None:
        return f"left out: {made.skipped} no part of the table" if made.skipped else ""
    found = database.execute(f"SELECT * FROM {source.replace('read_csv', 'sniff_csv', 1)}").fetchone()
    count = int(found[5]) if found else 0
    return f"left out: the first {count:,} lines, which do not divide as the others do" if count else ""


def _noted(found: dict[str, Any], note: str) -> dict[str, Any]:
    statistics = found["statistics"]
    if note:
        statistics["note"] = "; ".join(filter(None, (note, statistics.get("note", ""))))
    return found


def _said(error: Exception) -> str:
    """What DuckDB said, without its advice and the path."""
    return re.sub(r'(file|in|path) "[^"]*"', r"the file", reason(error)).replace("Invalid Input Error: ", "")


def is_table(path: Path, limits: InspectionSettings) -> bool:
    """Whether a text file is a CSV: DuckDB finds columns in it, and it is more than lines of prose."""
    import duckdb

    try:
        with duckdb.connect(config={"threads": "1", "temp_directory": ""}) as database:
            made = layout(path)
            if made is not None and made.table:
                return True
            source = next(_sources(database, path, "csv", limits, None))
            found = database.execute(f"SELECT * FROM {source.replace('read_csv', 'sniff_csv', 1)}").fetchone()
    except (duckdb.Error, BadInput):
        return False
    if found is None:
        return False
    skipped, header, columns = int(found[5]), bool(found[6]), found[7]
    if any(column["type"] != "VARCHAR" for column in columns):
        return skipped == 0 or len(columns) > 1
    unnamed = any(re.fullmatch(r"column\d+", column["name"]) for column in columns)
    return skipped == 0 and header and len(columns) > 1 and not unnamed


def _sources(database: Any, path: Path, media: str, limits: InspectionSettings, made: Layout | None) -> Iterator[str]:
    """What to read, as SQL: first with types as the first 20,000 rows show them, then as the whole file does."""
    if media == "parquet":
        yield f"read_parquet({_literal(str(path))})"
        return
    _check_first_line(path, limits)
    options = {"max_line_size": str(limits.line_bytes), **(_given(made) if made is not None else {})}
    with path.open("rb") as file:
        options["compression"] = "'gzip'" if file.read(2) == GZIP else "'none'"
    for name in dict.fromkeys((encoding(path), "latin-1")):
        options["encoding"] = _literal(name)
        options.pop("decimal_separator", None)
        if _decimal_comma(database, _csv(path, options)):
            options["decimal_separator"] = "','"
        yield _csv(path, options)
        yield _csv(path, options | {"sample_size": "-1"})


def _given(made: Layout) -> dict[str, str]:
    """What DuckDB is told, so that it does not look for a part of the file that suits it better."""
    given = {"delim": _literal(made.separator), "skip": str(made.first - 1), "comment": "''"}
    if made.names:
        names = [name or f"column{place}" for place, name in enumerate(made.names)]
        given |= {"names": f"[{', '.join(map(_literal, names))}]", "header": "false", "skip": str(made.first)}
    return given


def _check_first_line(path: Path, limits: InspectionSettings) -> None:
    line = first_line(path, limits.line_bytes)
    if len(line) >= limits.line_bytes:
        raise BadInput(detail=f"its first line is longer than {limits.line_bytes:,} bytes: that is no table")
    most = max(line.count(one) for one in _SEPARATORS) + 1
    if most > limits.listed:
        raise BadInput(detail=f"its first line has {most:,} columns; {limits.listed:,} are the most")


def _csv(path: Path, options: Mapping[str, str]) -> str:
    given = "".join(f", {name} = {value}" for name, value in options.items())
    return f"read_csv({_literal(str(path))}{given})"


def _decimal_comma(database: Any, source: str) -> bool:
    """Whether numbers are written 1,5 among the first rows. Not if some have a point, nor if all could be thousands: 1,500."""
    import duckdb

    try:
        cursor = database.execute(f"SELECT * FROM {source} LIMIT 100")
    except duckdb.Error:
        return False  # the reader says why
    cells = [cell for row in cursor.fetchall() for cell in row]
    if any(isinstance(cell, float) for cell in cells):
        return False
    return any(_COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in cells if isinstance(cell, str))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _separated(database: Any, name: str) -> bool:
    """Whether most texts of the only column look like rows of a table."""
    count = f"count(*) FILTER (regexp_matches({_quoted(name)}, '[,;|\t]'))"
    found, every = database.execute(f"SELECT {count}, count(*) FROM source").fetchone()
    return bool(2 * found > every)


def _described(database: Any, limits: InspectionSettings) -> dict[str, Any]:
    types = {str(name): str(kind) for name, kind, *_ in database.execute("DESCRIBE source").fetchall()}
    if len(types) > limits.listed:
        raise BadInput(detail=f"it has {len(types):,} columns; {limits.listed:,} are the most")
    looked = dict(list(types.items())[: limits.columns])
    numbers = [name for name, kind in looked.items() if kind.startswith(_NUMERIC) and not kind.endswith("]")]
    figures, matrices, rows = describe(lambda: _blocks(database, numbers), len(numbers), limits.matrix)
    others, counted = _others(database, {name: kind for name, kind in looked.items() if name not in numbers})
    by_name = dict(zip(numbers, figures, strict=True)) | others
    statistics: dict[str, Any] = {
        "columns": [
            {"name": name[:NAME], "type": kind[:NAME], **by_name.get(name, {})} for name, kind in looked.items()
        ]
    }
    if matrices is not None:
        statistics["matrix"] = {"columns": [name[:NAME] for name in numbers[: limits.matrix]], **matrices}
    if list(looked.values()) == ["VARCHAR"] and _separated(database, next(iter(looked))):
        statistics["warning"] = (
            "it was read as one column of text, but its lines have separators in them: do all have as many?"
        )
    if len(types) > len(looked):
        statistics["note"] = f"the first {len(looked)} of {len(types):,} columns"
    return {"samples": rows if numbers else counted, "sample_shape": [len(types)], "statistics": statistics}


def _blocks(database: Any, numbers: list[str]) -> Iterator[Array]:
    """All rows of the numeric columns as doubles, in blocks."""
    if not numbers:
        return
    cursor = database.execute(f"SELECT {', '.join(f'{_quoted(name)}::DOUBLE' for name in numbers)} FROM source")
    vectors = max(1, BLOCK // len(numbers) // CHUNK)
    while len(frame := cursor.fetch_df_chunk(vectors)):
        yield np.column_stack([frame.iloc[:, place].to_numpy(np.float64) for place in range(len(numbers))])


def _others(database: Any, types: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], int]:
    """(figures of columns that are no numbers, rows)."""
    if not types:
        return {}, 0
    asked = ["count(*)"]
    for name, kind in types.items():
        column = _quoted(name)
        asked += [f"count({column})"]
        if kind.startswith(_TIMES):
            asked += [f"min({column})::VARCHAR", f"max({column})::VARCHAR", "NULL"]
        elif kind == "VARCHAR":
            asked += [f"min(length({column}))", f"max(length({column}))", f"approx_count_distinct({column})"]
        else:
            asked += ["NULL", "NULL", "NULL"]
    rows, *cells = database.execute(f"SELECT {', '.join(asked)} FROM source").fetchone()
    quads = (cells[at : at + 4] for at in range(0, len(cells), 4))
    found = {}
    for (name, kind), (count, low, high, distinct) in zip(types.items(), quads, strict=True):
        names = ("first", "last") if kind.startswith(_TIMES) else ("shortest", "longest")
        found[name] = {"count": count, "missing": rows - count}
        if kind.startswith((*_TIMES, "VARCHAR")):
            found[name] |= dict(zip(names, (low, high), strict=True))
        if distinct is not None:
            found[name] |= {"distinct": distinct, "distinct_exact": False}
    _count_exactly(database, found)
    return found, int(rows)


def _count_exactly(database: Any, found: dict[str, dict[str, Any]]) -> None:
    few = [name for name, one in found.items() if one.get("distinct", DISTINCT + 1) <= DISTINCT]
    if few:
        asked = ", ".join(f"count(DISTINCT {_quoted(name)})" for name in few)
        for name, exact in zip(few, database.execute(f"SELECT {asked} FROM source").fetchone(), strict=True):
            found[name] |= {"distinct": exact, "distinct_exact": True}
