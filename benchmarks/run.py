"""Measure every pair in one run and write the table.

    python -m benchmarks.run [--only PART,PART] [--quick] [--out FILE]

Only a whole run writes benchmarks/RESULTS.md and results.json by itself; a quick or partial one prints, or writes to
--out. Nothing here is a test: a miss is written down, not raised. The exit status is 1 only when a part could not be
measured.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import peers, processes, sharing
from benchmarks.peers import Headrace, Served, Streamed
from benchmarks.processes import Cores
from benchmarks.report import Run, Verdict, number, write

Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How long and where."""

    rounds: int
    seconds: float
    shared: Cores
    """The load and the gateway."""
    own: Cores
    """The learner; empty on a machine with one core: nothing is pinned."""

    @staticmethod
    def of(quick: bool) -> Plan:
        cores = sorted(os.sched_getaffinity(0))
        shared, own = (cores[:1], cores[1:2]) if len(cores) > 1 else ([], [])
        return Plan(1, 2.0, shared, own) if quick else Plan(3, 6.0, shared, own)


FRESH = 1_000_000
"""Readings are numbered from here in a second run on the same path: the first numbers would be duplicates."""


@contextmanager
def headrace(spec: bool) -> Iterator[Headrace]:
    """A fresh platform, with the bench model applied or none."""
    with tempfile.TemporaryDirectory(prefix="bench-headrace-") as name, peers.start_headrace(Path(name)) as found:
        yield peers.apply_headrace(found) if spec else found


class Bench:
    """The parts of a run; each adds its samples round by round."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.run, self.plan = run, plan

    def stream(self) -> None:
        """The chapter's path, the door alone and the whole stream, one after the other."""
        with peers.start_chapter_path() as chapter:
            self._path("chapter", chapter, count=20_000, backlog=1000)
        with peers.start_chapter_path(inflight=8) as chapter:
            found = self._load("stream", chapter, (), count=20_000, backlog=1000)
            self.run.add("stream.chapter_8.per_s", found["rate"])
        with headrace(spec=False) as door:
            self._pin(door)
            alone = Streamed(door.mqtt, "", peers.HEADRACE_MATCH)
            self._floor(alone)
            found = self._load("acks", alone, self.plan.shared, first=FRESH, count=1_000_000)
            self.run.add("stream.door.per_s", found["rate"])
        with headrace(spec=True) as whole:
            self._pin(whole)
            self._path("headrace", whole.streamed(), self.plan.shared, count=1_000_000, backlog=20_000)

    def _floor(self, door: Streamed) -> None:
        """What the latency cannot be below: the disk alone, then an acknowledgement without any learner."""
        for name, found in (
            ("disk", processes.answer("benchmarks.disk", "--seconds", self.plan.seconds, cores=self.plan.shared)),
            ("puback", self._load("puback", door, self.plan.shared)),
        ):
            for figure in ("p50", "p99"):
                self.run.add(f"latency.{name}.{figure}_ms", found[figure])

    def _path(self, name: str, path: Streamed, cores: Cores = (), **limits: int) -> None:
        found = self._load("latency", path, cores)
        self._complete(f"{name} at 200/s", found["matched"], found["sent"])
        for figure in ("p50", "p99"):
            self.run.add(f"latency.{name}.{figure}_ms", found[figure])
        before = processes.cpu_seconds(path.pids)
        found = self._load("stream", path, cores, first=FRESH, **limits)
        self._processor(f"stream.{name}", path.pids, before, found["sent"])
        if cores:
            self._limits(name, found["generator_us_per_reading"])
        self._complete(f"{name} flat out", found["answered"], found["sent"])
        self.run.add(f"stream.{name}.per_s", found["rate"])

    def _limits(self, name: str, generator: float) -> None:
        """What each core could do at most: processor time a reading of all that was pinned to it."""
        latest = {each: values[-1] for each, values in self.run.samples.items()}
        gateway = latest[f"stream.{name}.cpu_us.gateway"]
        learner = latest[f"stream.{name}.cpu_us"] - gateway
        self.run.add(f"stream.{name}.limit.learner_core_per_s", 1e6 / learner)
        self.run.add(f"stream.{name}.limit.gateway_core_per_s", 1e6 / (gateway + generator))

    def _processor(self, name: str, pids: Mapping[str, int], before: Mapping[str, float], count: float) -> None:
        used = {each: after - before[each] for each, after in processes.cpu_seconds(pids).items()}
        self.run.add(f"{name}.cpu_us", 1e6 * sum(used.values()) / count)
        for each in used if len(used) > 1 else ():
            self.run.add(f"{name}.cpu_us.{each}", 1e6 * used[each] / count)

    def _load(self, mode: str, path: Streamed, cores: Cores, **limits: int) -> Result:
        options: list[object] = ["--port", path.port, "--topic", peers.TOPIC, "--seconds", self.plan.seconds]
        options += ["--match", path.match.field, "--offset", path.match.offset]
        if path.output:
            options += ["--output", path.output]
        for name, value in limits.items():
            options += [f"--{name}", value]
        return processes.answer("benchmarks.load", mode, *options, cores=cores)

    def _pin(self, found: Headrace) -> None:
        if self.plan.own:
            found.pin(self.plan.shared, self.plan.own)

    def _complete(self, what: str, got: int, sent: int) -> None:
        if got != sent:
            self.run.notes.append(f"**{what}: {got:,} of {sent:,} readings were answered.**")

    def door(self) -> None:
        """The door's own benchmark, a subprocess that ends with a JSON object."""
        found = processes.answer("benchmarks.door")
        self.run.add("door.per_s", found["acknowledged_per_second"])
        self.run.add("door.cpu_us", found["door_cpu_us_per_message"])

    def infer(self) -> None:
        """The server on one core, the load on the other."""
        with peers.start_kserve_infer(cores=self.plan.own) as kserve:
            self._infer("kserve", kserve)
        with headrace(spec=True) as platform_:
            self._load("stream", platform_.streamed(), (), count=500)
            platform_.pin(self.plan.own, self.plan.own)
            self._infer("headrace", platform_.served())
            self._infer("deployed", peers.deployed(platform_))

    def _infer(self, name: str, served: Served) -> None:
        peers.ask(served)
        options: list[object] = ["--url", served.url, "--body", served.body]
        options += ["--token-file", served.token_file] if served.token_file else []
        options += ["--connections", 8, "--seconds"]
        processes.answer("benchmarks.http_load", *options, 1, cores=self.plan.shared)
        before = processes.cpu_seconds(served.pids)
        found = processes.answer("benchmarks.http_load", *options, self.plan.seconds, cores=self.plan.shared)
        self._processor(f"infer.{name}", served.pids, before, found["rate"] * self.plan.seconds)
        if found["failed"]:
            raise RuntimeError(f"{name}: {found['failed']} requests failed")
        self.run.facts["HTTP load"] = found["client"]
        for figure, sample in (("rate", "per_s"), ("p50", "p50_ms"), ("p99", "p99_ms")):
            self.run.add(f"infer.{name}.{sample}", found[figure])
        self.run.add(f"infer.{name}.rss_mb", processes.memory(served.pids.values())["rss"])

    def start(self) -> None:
        """A fresh folder to the first acknowledged message; memory after a model was applied, fed and asked."""
        with headrace(spec=False) as empty:
            begin = time.perf_counter()
            peers.first_acknowledgement(empty.mqtt)
            self.run.add("start.ready_s", empty.ready_seconds)
            self.run.add("start.message_s", empty.ready_seconds + time.perf_counter() - begin)
        with headrace(spec=True) as fed:
            self._load("stream", fed.streamed(), (), count=2000)
            peers.ask(fed.served())
            found = processes.memory(fed.pids.values())
            self.run.add("start.rss_mb", found["rss"])
            self.run.add("start.pss_mb", found["pss"])

    def sharing(self) -> None:
        """One large file and many small ones into the store of contents, beside plain copies."""
        sharing.measure(self.run)

    def sandbox(self) -> None:
        """The same small program bare and in the sandbox."""
        found = processes.answer("benchmarks.sandbox")
        self.run.add("sandbox.bare_s", found["bare"]["median_s"])
        self.run.add("sandbox.local_s", found["local"]["median_s"])
        self.run.add("sandbox.added_s", found["local"]["median_s"] - found["bare"]["median_s"])

    def register(self) -> None:
        """A small dataset registered, beside the least it could cost."""
        found = processes.answer("benchmarks.register", "--count", 150)
        self.run.add("register.hub_ms", found["registration"]["p50"])
        self.run.add("register.least_ms", found["least"]["p50"])

    def anchor(self) -> None:
        """A version anchored, beside the least it could cost; claims one by one, and in batches."""
        found = processes.answer("benchmarks.anchor", "--count", 100)
        self.run.add("anchor.version_ms", found["version"]["p50"])
        self.run.add("anchor.least_ms", found["least"]["p50"])
        self.run.add("anchor.single.per_s", found["claims_per_s"]["single"])
        self.run.add("anchor.batch.per_s", found["claims_per_s"]["batch"])
        self.run.add("anchor.start_s", found["start_s"])
        self.run.add("anchor.rss_mb", found["rss_mb"]["used"])

    def bundle(self) -> None:
        """A small bundle verified by the whole command; a large one, beside sha256sum."""
        found = processes.answer("benchmarks.bundle", "--megabytes", 1024)
        for name in ("small_s", "large_s", "sha256sum_s", "made_s", "peak_mb"):
            self.run.add(f"bundle.{name}", found[name])

    def translation(self) -> None:
        """The GRU of the examples to ONNX, over HTTP."""
        found = processes.answer("benchmarks.translation")
        self.run.add("translation.gru_s", found["median_s"])

    def ladder(self) -> None:
        """L1 of a gigabyte in the store, beside sha256sum of the same file."""
        found = processes.answer("benchmarks.ladder", "--megabytes", 1024)
        for name in ("l1_s", "sha256sum_s"):
            self.run.add(f"ladder.{name}", found[name])


PARTS = (
    "stream",
    "door",
    "infer",
    "start",
    "sharing",
    "sandbox",
    "register",
    "anchor",
    "bundle",
    "ladder",
    "translation",
)


def measure(run: Run, plan: Plan, parts: list[str]) -> bool:
    """Every part, round by round; a part that fails is noted and left, the others go on."""
    bench = Bench(run, plan)
    fine = True
    for part in parts:
        once: Callable[[], None] = getattr(bench, part)
        try:
            for index in range(plan.rounds):
                print(f"{part}: round {index + 1} of {plan.rounds}", file=sys.stderr)
                once()
        except Exception as error:
            run.notes.append(f"**{part} was not measured to the end**: {type(error).__name__}: {error}")
            fine = False
    return fine


def facts() -> dict[str, str]:
    """The machine and what runs on it."""
    described = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.split(":", 1)[1].strip() for line in described if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{cpu[0] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "commit": _output(["git", "describe", "--always", "--dirty"]),
        "chapter's path": ", ".join([*_pinned(), _output(["/usr/sbin/mosquitto", "-h"]).partition("\n")[0]]),
        "ours": ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "msgspec", "uvloop", "gmqtt")),
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def _pinned() -> list[str]:
    lines = (peers.CHAPTER / "requirements.txt").read_text().splitlines()
    return [line.replace("==", " ") for line in lines if "==" in line]


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, cwd=processes.ROOT).stdout.strip()
    except FileNotFoundError:
        return "?"


def show(verdict: Verdict) -> str:
    found = f"{number(verdict.measured.median)}{verdict.goal.unit}" if verdict.measured else "-"
    return f"{verdict.word:12} {found:>12}  {verdict.goal.text}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, with commas between")
    parser.add_argument("--quick", action="store_true", help="one short round: does it all run?")
    parser.add_argument("--out", type=Path, help="RESULTS.md; results.json is written beside it")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if options.out is None and not options.quick and set(options.only) == set(PARTS):
        options.out = peers.HERE / "RESULTS.md"
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return options


def main() -> int:
    options = arguments()
    run, plan = Run(facts()), Plan.of(options.quick)
    run.facts["rounds"] = f"{plan.rounds} of {plan.seconds:.0f} s"
    fine = measure(run, plan, options.only)
    run.facts["load average after"] = f"{os.getloadavg()[0]:.2f}"
    print(*map(show, run.verdicts()), *run.notes, sep="\n")
    for name, values in sorted(run.samples.items()):
        print(f"{name:32} {', '.join(map(number, values))}")
    if options.out:
        write(run, options.out)
        print(f"written: {options.out}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
