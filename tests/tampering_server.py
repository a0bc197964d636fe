"""What somebody can change who has the platform's disk: each a named case, made by a function of the house it is done in.

A case names the check that has to fail. "raises": verification does not begin, because there is no such record any more for
whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.ladders import Standing

ZERO = "sha256:" + "0" * 64
Record: TypeAlias = dict[str, Any]


@dataclass
class Things:
    """Ids of what is there to be changed; all of it recorded."""

    data: str
    other: str
    """Another dataset of the same company."""
    stream: str
    secret: str
    model: str
    """Trained on `data`."""
    elsewhere: str
    snapshot: str
    translation: str
    """Of `model`."""


Change: TypeAlias = Callable[[Standing, Things], str]
"""Makes the change; returns the id of what is to be verified."""


@dataclass(frozen=True)
class Case:
    """One change."""

    check: str
    make: Change


def field(which: str, check: str, change: Callable[[Record], object]) -> Case:
    """A field of a record in the hub's database."""

    def make(on: Standing, things: Things) -> str:
        id: str = getattr(things, which)
        on.record(id, change)  # type: ignore[arg-type]
        return id

    return Case(check, make)


def row(which: str, check: str, sql: str, *values: Any, index: bool = True) -> Case:
    """A row of the verification service's database, or of the hub's."""

    def make(on: Standing, things: Things) -> str:
        id: str = getattr(things, which)
        (on.index if index else on.hub)(sql, *values, id)
        return id

    return Case(check, make)


def _swapped(on: Standing, things: Things) -> str:
    """The contract of another asset, in record and index."""
    other = on.column("SELECT address FROM contracts WHERE asset = ?", things.other)
    on.index("UPDATE contracts SET address = ? WHERE asset = ?", other, things.data)
    on.record(things.data, lambda record: record.update(contract=other))
    return things.data


def _whole(on: Standing, things: Things) -> str:
    """The whole row of another asset under this one's id."""
    on.index("DELETE FROM contracts WHERE asset = ?", things.data)
    on.index("UPDATE contracts SET asset = ? WHERE asset = ?", things.data, things.other)
    return things.data


def _lost(on: Standing, things: Things) -> str:
    """The row is gone, and the record names another asset's contract."""
    other = on.column("SELECT address FROM contracts WHERE asset = ?", things.other)
    on.index("DELETE FROM contracts WHERE asset = ?", things.data)
    on.record(things.data, lambda record: record.update(contract=other))
    return things.data


DATASET: dict[str, Case] = {
    "name": field("data", "claim", lambda record: record.update(name="another")),
    "time": field("data", "claim", lambda record: record.update(created_ms=1)),
    "media": field("data", "claim", lambda record: record.update(media="npz")),
    "size": field("data", "claim", lambda record: record["stored"].update(size=1)),
    "sha256": field("data", "claim", lambda record: record["stored"].update(sha256=ZERO)),
    "root": field("data", "claim", lambda record: record["stored"].update(root=ZERO)),
    "samples": field("data", "claim", lambda record: record.update(samples=7)),
    "sample_shape": field("data", "claim", lambda record: record.update(sample_shape=[9])),
    "statistics": field("data", "claim", lambda record: record.update(statistics={"columns": []})),
    "stream": field("data", "claim", lambda record: record.update(stream=None) or record.update(media="csv ")),
    "stream topic": field("stream", "claim", lambda record: record["stream"].update(topic="other")),
    "stream range": field("stream", "claim", lambda record: record["stream"].update(to_ms=1)),
    "stream records": field("stream", "claim", lambda record: record["stream"].update(records=1)),
    "stream root": field("stream", "claim", lambda record: record["stream"].update(root=ZERO)),
    "stream raw": field("stream", "claim", lambda record: record["stream"]["raw"].update(sha256=ZERO)),
    "secret name": field("secret", "claim", lambda record: record.update(name="another")),
    "company": field("data", "raises", lambda record: record.update(company="bolt")),
    "contract": field("data", "contract", lambda record: record.update(contract="0x" + "1" * 40)),
    "no record": field("data", "raises", lambda record: record.clear()),
}
"""Every claimed field of a dataset's record."""

CLAIM: dict[str, Callable[[Record], object]] = {
    "name": lambda record: record.update(name="another"),
    "time": lambda record: record.update(created_ms=1),
    "code": lambda record: record["recipe"]["code"].update(sha256=ZERO),
    "entry point": lambda record: record["recipe"].update(entry_point="other.py"),
    "parameter": lambda record: record["recipe"]["parameters"].update(rate=9),
    "seed": lambda record: record["recipe"]["seeds"].update(SEED=9),
    "environment": lambda record: record["recipe"]["environment"].update(image="evil"),
    "deterministic": lambda record: record["recipe"].update(deterministic=False),
    "datasets": lambda record: record.update(datasets=[]),
    "evaluation": lambda record: record["recipe"].update(evaluation=["ds_" + "0" * 20]),
    "parent": lambda record: record.update(parent="md_" + "0" * 20),
    "no recipe": lambda record: record.update(recipe=None),
}
RESULT: dict[str, Callable[[Record], object]] = {
    "digest": lambda record: record.update(digest=ZERO),
    "file digest": lambda record: record["files"][0]["stored"].update(sha256=ZERO),
    "file root": lambda record: record["files"][0]["stored"].update(root=ZERO),
    "file size": lambda record: record["files"][0]["stored"].update(size=1),
    "file path": lambda record: record["files"][0].update(path="x"),
    "job": lambda record: record.update(job="jb_0"),
    "framework": lambda record: record.update(framework="keras"),
    "input": lambda record: record.update(input_shape=[3]),
    "output": lambda record: record.update(output_shape=[3]),
    "parameters": lambda record: record.update(parameters=3),
    "metadata": lambda record: record.update(metadata={"a": 1}),
    "metrics": lambda record: record.update(metrics={"loss": 0.1}),
    "fingerprint": lambda record: record.update(fingerprint=ZERO),
}
TRANSLATION: dict[str, Callable[[Record], object]] = {
    "of": lambda record: record["translation"].update(of="md_" + "0" * 20),
    "parent": lambda record: record.update(parent="md_" + "0" * 20),
    "original's digest": lambda record: record["translation"].update(digest=ZERO),
    "exporter": lambda record: record["translation"].update(exporter="dynamo"),
    "opset": lambda record: record["translation"].update(opset=18),
    "dropout": lambda record: record["translation"].update(dropout="train-fixed"),
    "tolerance": lambda record: record["translation"]["parity"].update(tolerance=9.0),
    "versions": lambda record: record["translation"].update(versions={}),
    "no translation": lambda record: record.update(translation=None),
    **{name: RESULT[name] for name in ("digest", "file digest", "input", "fingerprint")},
}
MODEL: dict[str, Case] = {
    **{f"translation: {name}": field("translation", "claim", change) for name, change in TRANSLATION.items()},
    **{name: field("model", "claim", change) for name, change in CLAIM.items()},
    **{f"result: {name}": field("model", "result", change) for name, change in RESULT.items()},
    **{f"elsewhere: {name}": field("elsewhere", "claim", change) for name, change in RESULT.items()},
    "model's contract": field("model", "contract", lambda record: record.update(contract="0x" + "1" * 40)),
    "snapshot range": field("snapshot", "claim", lambda record: record["snapshot"].update(last_position=3)),
    "snapshot root": field("snapshot", "claim", lambda record: record["snapshot"].update(root=ZERO)),
    "snapshot key": field("snapshot", "claim", lambda record: record["snapshot"].update(key="k")),
}
"""Every claimed field of a model's record."""

ROWS: dict[str, Case] = {
    "files: digest": row("data", "files", "UPDATE files SET sha256 = ? WHERE asset = ?", ZERO, index=False),
    "files: root": row("data", "files", "UPDATE files SET root = ? WHERE asset = ?", ZERO, index=False),
    "files: size": row("data", "files", "UPDATE files SET size = 3 WHERE asset = ?", index=False),
    "files: path": row(
        "model", "files", "UPDATE files SET path = path || 'x' WHERE role = 'output' AND asset = ?", index=False
    ),
    "files: none": row("elsewhere", "files", "DELETE FROM files WHERE asset = ?", index=False),
    "contracts: claim": row("data", "contract", "UPDATE contracts SET claim = x'7b7d' WHERE asset = ?"),
    "contracts: kind": row("data", "contract", "UPDATE contracts SET kind = 'model' WHERE asset = ?"),
    "contracts: company": row("data", "contract", "UPDATE contracts SET company = 'bolt' WHERE asset = ?"),
    "contracts: deployed": row("data", "contract", "UPDATE contracts SET deployed = '0x1' WHERE asset = ?"),
    "contracts: no address": row("data", "contract", "UPDATE contracts SET address = '0x1' WHERE asset = ?"),
    "contracts: result": row("model", "contract", "UPDATE contracts SET result = x'7b7d' WHERE asset = ?"),
    "contracts: no result": row("model", "contract", "UPDATE contracts SET result = NULL WHERE asset = ?"),
    "contracts: recorded": row("model", "contract", "UPDATE contracts SET recorded = '0x1' WHERE asset = ?"),
    "contracts: reason": row("data", "contract", "UPDATE contracts SET reason = 'no', revoked = '0x1' WHERE asset = ?"),
    "contract of another": Case("contract", _swapped),
    "row of another": Case("contract", _whole),
    "row lost, contract of another": Case("contract", _lost),
    "leaves: claim": row("snapshot", "leaf of an anchored batch", "UPDATE leaves SET claim = x'7b7d' WHERE asset = ?"),
    "leaves: place": row("snapshot", "leaf of an anchored batch", "UPDATE leaves SET place = 7 WHERE asset = ?"),
    "leaves: company": row(
        "snapshot", "leaf of an anchored batch", "UPDATE leaves SET company = 'bolt' WHERE asset = ?"
    ),
    "leaves: none": row("snapshot", "leaf of an anchored batch", "DELETE FROM leaves WHERE asset = ?"),
    "batches: root": row(
        "snapshot", "leaf of an anchored batch", "UPDATE batches SET root = zeroblob(32) WHERE ? != ''"
    ),
    "batches: count": row("snapshot", "leaf of an anchored batch", "UPDATE batches SET count = 9 WHERE ? != ''"),
    "batches: transaction": row(
        "snapshot", "leaf of an anchored batch", "UPDATE batches SET anchored = '0x1' WHERE ? != ''"
    ),
    "batches: address": row(
        "snapshot", "leaf of an anchored batch", "UPDATE batches SET address = '0x1' WHERE ? != ''"
    ),
    "sealed: text": row("secret", "contract", "UPDATE sealed SET ciphertext = zeroblob(99) WHERE asset = ?"),
    "sealed: key": row("secret", "contract", "UPDATE sealed SET wrapped = zeroblob(60) WHERE asset = ?"),
    "sealed: none": row("secret", "contract", "DELETE FROM sealed WHERE asset = ?"),
}
"""Rows beside the records."""
CASES = {
    **{f"dataset: {name}": case for name, case in DATASET.items()},
    **{f"model: {name}": case for name, case in MODEL.items()},
    **ROWS,
}
