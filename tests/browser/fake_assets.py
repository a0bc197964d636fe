"""What the fake hub holds at first: a solar company's datasets, models, jobs and grants, as records of `headrace.assets`."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, field
from typing import Any

from headrace.assets import (
    Dataset,
    Environment,
    Grant,
    Job,
    Limits,
    Model,
    OutputFile,
    Parity,
    Recipe,
    Snapshot,
    Stored,
    StreamRange,
    Translation,
)

HOUR = 3_600_000
DAY = 24 * HOUR
OURS, THEIRS = "acme", "borealis"


def name_of(kind: str, number: int) -> str:
    return f"{kind}_{number:020x}"


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def stored(text: str, size: int) -> Stored:
    return Stored(size=size, sha256=digest(text), root=digest(f"root of {text}"))


@dataclass
class Shelf:
    """Everything there is, by id."""

    datasets: dict[str, Dataset] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)

    def add(self, *things: Dataset | Model | Job | Grant) -> None:
        for thing in things:
            shelf: dict[str, Any] = {"ds": self.datasets, "md": self.models, "jb": self.jobs, "gr": self.grants}[
                thing.id[:2]
            ]
            shelf[thing.id] = thing


def statistics(rows: int) -> dict[str, Any]:
    """Figures of columns as the sandbox's program takes them, from invented numbers."""
    lucky = random.Random(4)
    sun = [max(0.0, math.sin(math.pi * ((hour % 24) - 5) / 15)) ** 1.3 * lucky.uniform(0.3, 1) for hour in range(rows)]
    columns = {
        "power": [27_000 * one + lucky.gauss(0, 60) for one in sun],
        "i1": [33 * one + lucky.gauss(0, 0.4) for one in sun],
        "v1": [277 + lucky.gauss(0, 1.2) - 2 * one for one in sun],
        "temperature": [12 + 14 * one + lucky.gauss(0, 3) for one in sun],
        "clouds": [1 - one + lucky.gauss(0, 0.2) for one in sun],
        "door open": [0.0 for _ in sun],
    }
    found = [_figures(name, values, 0 if name != "clouds" else 37) for name, values in columns.items()]
    times = {"name": "time", "type": "TIMESTAMP", "first": "2019-01-01 00:00:00", "last": "2019-01-23 12:00:00"}
    texts = {"name": "inverter", "type": "VARCHAR", "shortest": 5, "longest": 8, "distinct": 3, "distinct_exact": True}
    found = [{**times, "count": rows, "missing": 0}, *found, {**texts, "count": rows - 3, "missing": 3}]
    names = list(columns)
    correlation = [[_correlation(columns[a], columns[b]) for b in names] for a in names]
    return {"columns": found, "matrix": {"columns": names, "covariance": correlation, "correlation": correlation}}


def pictures() -> dict[str, Any]:
    """Figures of an image folder."""
    figures = {"count": 812, "missing": 0, "infinite": 0, "min": 0.0, "max": 255.0, "std": 61.0}
    channels = [{"name": name, **figures, "mean": 90.0 + 20 * at} for at, name in enumerate("RGB")]
    mean = [[[120 + 4 * x, 90 + 4 * y, 60 + 2 * x + 3 * y] for x in range(16)] for y in range(16)]
    modes = {"RGB": {"images": 812, "channels": channels, "mean_image": mean}}
    about = {"sizes": [{"shape": [224, 224, 3], "images": 812}], "classes": {"clean": 500, "dirty": 312}}
    return {"images": 812, "formats": {"JPEG": 800, "PNG": 12}, "modes": modes, **about}


def _figures(name: str, values: list[float], missing: int) -> dict[str, Any]:
    kept = sorted(values[missing:])
    mean = sum(kept) / len(kept)
    figures = {
        "name": name,
        "type": "DOUBLE",
        "count": len(kept),
        "missing": missing,
        "infinite": 0,
        "min": kept[0],
        "max": kept[-1],
    }
    spread = math.sqrt(sum((one - mean) ** 2 for one in kept) / (len(kept) - 1))
    quantiles = {str(q): kept[round(q * (len(kept) - 1))] for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    return {**figures, "mean": mean, "std": spread, "quantiles": quantiles}


def _correlation(a: list[float], b: list[float]) -> float | None:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    spread = math.sqrt(sum((one - mean_a) ** 2 for one in a) * sum((one - mean_b) ** 2 for one in b))
    return sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / spread if spread else None


def dataset(number: int, name: str, now: int, **more: Any) -> Dataset:
    usual = {
        "company": OURS,
        "created_ms": now - number * 7 * HOUR,
        "created_by": "ada",
        "media": "csv",
        "filename": f"{name}.csv",
    }
    return Dataset(
        **{"id": name_of("ds", number), "name": name, "stored": stored(name, 1_000_000 * number), **usual, **more}
    )


def recipe(*datasets: str, **more: Any) -> Recipe:
    return Recipe(
        **{
            "code": stored("code", 18_431),
            "parameters": {"epochs": 20, "hidden": 32, "learning_rate": 0.001, "optimizer": "adam", "scale": True},
            "seeds": {"SEED": 7, "TORCH_SEED": 11},
            "environment": Environment(
                requires={"torch": "2.13.0", "numpy": "2.3.5"}, fingerprint=digest("environment")
            ),
            "datasets": list(datasets),
            "limits": Limits(),
            **more,
        }
    )


def model(number: int, name: str, now: int, **more: Any) -> Model:
    usual = {"company": OURS, "created_ms": now - number * 5 * HOUR, "created_by": "ada", "state": "trained"}
    return Model(**{"id": name_of("md", number), "name": name, **usual, **more})


def trained(number: int) -> dict[str, Any]:
    files = [
        OutputFile(path=path, stored=stored(f"{path} {number}", size))
        for path, size in (("model.safetensors", 61_440), ("plots/loss curve.png", 23_114))
    ]
    return {
        **{
            "files": files,
            "digest": digest(f"files {number}"),
            "framework": "torch",
            "input_shape": [24, 6],
            "output_shape": [24],
        },
        **{
            "parameters": 15_128,
            "metrics": {
                "mse": 0.0129,
                "mae": 1422.8,
                "skill": 0.31,
                "days": 60,
                "ds_later": {"job": "jb_1", "mse": 0.25},
            },
        },
        **{"fingerprint": digest("environment"), "environment": {"python": "3.11.9", "torch": "2.13.0", "threads": 1}},
        "metadata": {"tensors": 6, "dtype": "float32", "layers": [{"name": f"layer {n}"} for n in range(40)]},
    }


def full(now: int) -> Shelf:
    """A company in the middle of its work."""
    shelf = Shelf()
    ours, theirs = name_of("ds", 1), name_of("ds", 5)
    stream = StreamRange(
        topic="plant/trio/reading",
        from_ms=now - 60 * DAY,
        to_ms=now - DAY,
        first_position=1_204,
        last_position=86_411,
        records=84_960,
        root=digest("stream"),
    )
    done = {"statistics_state": "done", "statistics": statistics(541), "samples": 541, "sample_shape": [7]}
    shelf.add(
        dataset(
            1,
            "pv-2019",
            now,
            description="A year of the inverter on the roof, hourly.",
            stream=stream,
            media="parquet",
            filename="pv-2019.parquet",
            **done,
        ),
        dataset(2, "meters", now),
        dataset(
            3,
            "roof photos",
            now,
            media="images",
            filename="roof.zip",
            statistics_state="done",
            statistics=pictures(),
            samples=812,
            sample_shape=[224, 224, 3],
            confidential=True,
        ),
        dataset(
            4, "scribbles", now, statistics_state="failed", statistics_error="row 12 has 7 cells, the head line has 6"
        ),
        dataset(
            5, "wind-park", now, company=THEIRS, created_by="bo", description="Twelve turbines, ten minutes.", **done
        ),
        dataset(6, "old plant", now, deleted_ms=now - DAY, statistics_state="done", samples=90, sample_shape=[3]),
        dataset(7, "to be deleted", now, statistics_state="none"),
    )
    note = "trained twice, on 3 and 4 November: the same 2 files with the same digests"
    parent = name_of("md", 1)
    shelf.add(
        model(
            1,
            "pv-gru",
            now,
            description="The network of the chapter.",
            job=name_of("jb", 1),
            recipe=recipe(ours, evaluation=[name_of("ds", 2)]),
            datasets=[ours],
            reproducible="reproduced",
            reproducible_note=note,
            **trained(1),
        ),
        model(
            2,
            "pv-gru-wind",
            now,
            job=name_of("jb", 2),
            recipe=recipe(ours, theirs, parent=parent),
            datasets=[ours, theirs],
            parent=parent,
            held_for=[THEIRS],
        ),
        model(
            3,
            "turbine faults",
            now,
            company=THEIRS,
            created_by="bo",
            job=name_of("jb", 3),
            recipe=recipe(ours),
            datasets=[ours],
            held_for=[OURS],
            **trained(3),
        ),
        model(
            4,
            "pv-lstm",
            now,
            state="training",
            job=name_of("jb", 4),
            recipe=recipe(ours, name_of("ds", 6)),
            datasets=[ours, name_of("ds", 6)],
        ),
        model(5, "pv-wide", now, state="failed", job=name_of("jb", 5), recipe=recipe(ours), datasets=[ours]),
        model(
            6,
            "vendor forecast",
            now,
            state="uploaded",
            files=[OutputFile(path="model.onnx", stored=stored("onnx", 812_000))],
            framework="onnx",
            input_shape=[24],
            output_shape=[1],
            digest=digest("onnx"),
        ),
        model(
            7,
            "dropout net",
            now,
            job=name_of("jb", 7),
            recipe=recipe(ours, deterministic=False),
            datasets=[ours],
            reproducible="never",
            reproducible_note="its recipe declares it non-deterministic",
            **trained(7),
        ),
        model(8, "pv-next", now, state="registered", job=name_of("jb", 8), recipe=recipe(ours), datasets=[ours]),
    )
    _derived(shelf, now)
    _jobs(shelf, now)
    shelf.add(
        Grant(
            id=name_of("gr", 1),
            asset=ours,
            company=OURS,
            grantee=THEIRS,
            right="train",
            created_ms=now - 9 * DAY,
            created_by="ada",
            expires_ms=now + 30 * DAY,
        ),
        Grant(
            id=name_of("gr", 2),
            asset=ours,
            company=OURS,
            grantee="cargo",
            right="read",
            created_ms=now - 20 * DAY,
            created_by="ada",
            revoked_ms=now - 5 * DAY,
        ),
        Grant(
            id=name_of("gr", 3),
            asset=theirs,
            company=THEIRS,
            grantee=OURS,
            right="train",
            created_ms=now - 3 * DAY,
            created_by="bo",
        ),
    )
    return shelf


CONTRACT = "0x" + digest("contract")[7:47]


def _derived(shelf: Shelf, now: int) -> None:
    """A translation and a snapshot; and what is anchored, waits, failed and was revoked."""
    parity = Parity(inputs=75, real=64, edge=5, made=6, worst=3.1e-5, mean=2.4e-6, scale=27_400.0, tolerance=0.27)
    translation = Translation(
        of=name_of("md", 1), digest=digest("files 1"), framework="torch", exporter="torchscript", opset=17,
        dtypes="float64 to float32", versions={"torch": "2.13.0", "onnx": "1.19.0"}, parity=parity,
    )  # fmt: skip
    snapshot = Snapshot(
        model="pv-rls", key="trio", generation=digest("generation")[7:23], spec=digest("spec"), published_ms=now - DAY,
        first_position=1, last_position=86_411, records=86_411, root=digest("range"), environment=digest("environment"),
    )  # fmt: skip
    anchored = {"anchoring": "anchored", "contract": CONTRACT}
    more = {"files": [OutputFile(path="model.onnx", stored=stored("translated", 61_900))], "framework": "onnx"}
    weights = {"files": [OutputFile(path="weights.safetensors", stored=stored("weights", 900))], **anchored}
    shelf.add(
        model(9, "pv-gru (ONNX)", now, state="translated", translation=translation, parent=name_of("md", 1), digest=digest("translated"), **more, **anchored),
        model(10, "pv-rls", now, state="snapshot", snapshot=snapshot, digest=digest("weights"), **weights),
    )  # fmt: skip
    for thing, update in (
        (shelf.datasets[name_of("ds", 1)], anchored),
        (shelf.datasets[name_of("ds", 2)], {"anchoring": "waiting", "anchoring_note": "waits for the ledger: it is gone"}),
        (shelf.datasets[name_of("ds", 4)], {"anchoring": "failed", "anchoring_note": "the ledger has another record of it"}),
        (shelf.models[name_of("md", 1)], anchored),
        (shelf.models[name_of("md", 6)], {**anchored, "anchoring_note": "revoked: trained on the wrong meter"}),
    ):  # fmt: skip
        shelf.add(thing.model_copy(update=update))


def _jobs(shelf: Shelf, now: int) -> None:
    def job(number: int, **more: Any) -> Job:
        start = now - number * 5 * HOUR
        usual = {
            "company": OURS,
            "model": name_of("md", number),
            "created_ms": start,
            "created_by": "ada",
            "attempt": 1,
            "runner": "local",
        }
        ended = {
            "state": "done",
            "started_ms": start + 4_000,
            "ended_ms": start + 754_000,
            "exit_code": 0,
            "peak_memory_bytes": 412_000_000,
            "progress": 1.0,
        }
        return Job(**{"id": name_of("jb", number), **usual, **ended, **more})

    killed = (
        "it used more than the 2.1 GB of memory its recipe allows: raise limits.memory_bytes, or read the data in parts"
    )
    shelf.add(
        job(1), job(2), job(7),
        job(4, state="running", started_ms=now - 95_000, ended_ms=None, exit_code=None, peak_memory_bytes=None, progress=0.1, message="epoch 2 of 20, loss 0.0312"),
        job(5, state="failed", exit_code=137, progress=0.35, attempt=3, attempts=3, reason=killed, peak_memory_bytes=2_147_000_000),
        job(8, state="queued", attempt=0, started_ms=None, ended_ms=None, exit_code=None, peak_memory_bytes=None, progress=None, runner="", created_ms=now - 60_000),
        job(9, model=name_of("md", 1), state="queued", attempt=0, priority=5, started_ms=None, ended_ms=None, exit_code=None, peak_memory_bytes=None, progress=None, runner="", created_ms=now - 30_000),
        job(10, model=name_of("md", 1), state="cancelled", reason="cancelled by ada", progress=0.6, exit_code=143),
    )  # fmt: skip
    long = "".join(
        f"epoch {index // 40:3} step {index % 40:2}: loss {1 / (index + 3):.5f}\n" for index in range(12_000)
    )
    shelf.logs = {
        name_of(
            "jb", 1
        ): b"\x1b[32mreading\x1b[0m pv-2019.parquet\nstep 1\rstep 2\rstep 3\n::progress 1.0 done\nmse 0.0129\n",
        name_of("jb", 5): long.encode() + b"Killed\n",
        name_of("jb", 10): b"epoch 1\nstopped\n",
    }
    failed = shelf.jobs[name_of("jb", 5)]
    shelf.add(failed.model_copy(update={"log_bytes": len(shelf.logs[failed.id])}))
