"""One job: its inputs, its run in the sandbox, and what comes out of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.access import Principal
from headrace.assets import Job, JobState, Limits, Model, Recipe
from headrace.errors import BadArchive, BadInput, Conflict, HeadraceError, Temporary, size_of
from headrace.runners import Ended, Runner, Task
from headrace.services.sharing import Sharing
from headrace.services.training import closeness, comparing, logs
from headrace.services.training.examine import examine
from headrace.services.training.logs import LEAST
from headrace.services.training.outputs import HYPERPARAMETERS, METRICS, collected, read_flat
from headrace.services.training.parameters import settle
from headrace.services.training.progress import Progress
from headrace.services.training.queue import Entry
from headrace.services.training.verdicts import Verdicts, fingerprint
from headrace.settings import TrainingSettings

Note = Callable[[dict[str, object]], Awaitable[None]]
"""Writes something about the running job into its row."""
CODE, DATA, EVALUATION, PARENT = "/work/code", "/work/data", "/work/evaluation", "/work/parent"
MODEL, OUTPUT, PARAMETERS = "/work/model", "/work/output", "/work/parameters.json"
TOLD = 20
"""Things left out of the output that are named in the log."""
_MORE = "delete datasets or models, or have the operator raise `--company-quota`"
EVERY = 1.0
"""Seconds between looks at a running job's progress, and so the most often its row is written."""


class NotYet(Temporary):
    """{detail}."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How an attempt ended, for good or for another try."""

    state: JobState
    how: str
    reason: str = ""
    fault: bool = False
    """The code failed: it may be tried again if the job has attempts left."""
    values: dict[str, Any] = field(default_factory=dict)
    """More of the job's row."""


def on_behalf(job: Job) -> Principal:
    """The job, as a principal of its company: what it reads it reads as the one who started it."""
    return Principal(job.company, job.created_by, "service", frozenset({"service"}))


class Running:
    """Runs jobs. Knows nothing of queues.

    Raises whatever the hub, the runner and the disk raise, `NotYet` if it passes and nothing of the job has run; what the code
    itself does wrong is in `Finished`.
    """

    def __init__(self, sharing: Sharing, runner: Runner, verdicts: Verdicts, settings: TrainingSettings) -> None:
        self._sharing, self._runner, self._verdicts, self._settings = sharing, runner, verdicts, settings

    async def run(self, entry: Entry, folder: Path, log: Path, note: Note, cancel: asyncio.Event) -> Finished:
        """One attempt.

        Args:
            folder: an empty one, removed by the caller afterwards.
            cancel: set to end it early.
        """
        job = entry.job
        async with AsyncExitStack() as held:
            model = await self._sharing.model(on_behalf(job), job.model)
            if job.kind == "train" and model.job == job.id and model.state == "trained":
                return Finished("done", "exit", "its result had been taken in before the platform was interrupted")
            progress = Progress()
            try:
                limits = await self._limits(entry, model)
                task = dataclasses.replace(await self._task(entry, model, folder, log, held, cancel), limits=limits)
            except Temporary as error:
                raise NotYet(detail=str(error).removesuffix(".").removesuffix("; try again later")) from error
            ended = await self._watched(dataclasses.replace(task, heard=progress.hear), progress, note, cancel)
            values = {"exit_code": ended.code, "peak_memory_bytes": ended.peak_memory, "log_bytes": _size(log)}
            if ended.how == "output" and limits.output_bytes < entry.recipe.limits.output_bytes:
                return Finished("failed", ended.how, _full(job, limits.output_bytes), True, values)
            if ended.how != "exit" or ended.code != 0:
                return _failed(job, ended, values)
            found = await self._result(entry, model, folder, log, ended, limits)
            values["log_bytes"] = _size(log)
        return Finished(found.state, found.how, found.reason, found.fault, {**values, "progress": 1.0, **found.values})

    # -- before

    async def _limits(self, entry: Entry, model: Model) -> Limits:
        """The recipe's, and not more output or log than its company may keep: before there is any. Raises Conflict."""
        job, limits = entry.job, entry.recipe.limits
        room = await self._sharing.room(job.company)
        if room is None:
            return limits
        if job.kind == "train" and not room:
            raise Conflict(detail=f"{_left_of(job)}: nothing; {_MORE}")
        output = {"train": room, "reproduce": room + sum(file.stored.size for file in model.files)}
        bounds = {"output_bytes": output.get(job.kind, max(room, LEAST)), "log_bytes": max(room, LEAST)}
        return limits.model_copy(update={name: min(getattr(limits, name), most) for name, most in bounds.items()})

    async def _task(
        self, entry: Entry, model: Model, folder: Path, log: Path, held: AsyncExitStack, cancel: asyncio.Event
    ) -> Task:
        job, recipe = entry.job, entry.recipe
        archive = await held.enter_async_context(self._sharing.code(on_behalf(job), job.model))
        code, parameters = await self._code(archive, recipe, folder, cancel)
        inputs: dict[str, Path] = {CODE: code, PARAMETERS: parameters}
        evaluating = job.kind == "evaluate"
        variables = _variables(recipe, job)
        for name, base, ids in (
            ("HEADRACE_DATA", DATA, [] if evaluating else recipe.datasets),
            ("HEADRACE_EVALUATION", EVALUATION, [job.dataset] if evaluating else recipe.evaluation),
        ):
            files = await self._datasets(job, base, ids, held)
            inputs |= files
            variables[name] = ":".join(files)
        if evaluating:
            inputs |= await self._weights(job, model, MODEL, held)
            variables["HEADRACE_MODEL"] = MODEL
        elif recipe.parent:
            parent = await self._sharing.model(on_behalf(job), recipe.parent)
            inputs |= await self._weights(job, parent, PARENT, held)
            variables["HEADRACE_PARENT"] = PARENT
        output = folder / "output"
        output.mkdir()
        return Task(
            command=["python", recipe.entry_point],
            inputs=inputs,
            output=output,
            log=log,
            limits=recipe.limits,
            environment=recipe.environment,
            variables=variables,
            folder=CODE,
        )

    async def _code(self, archive: Path, recipe: Recipe, folder: Path, cancel: asyncio.Event) -> tuple[Path, Path]:
        """The unpacked code and the file with its parameters."""
        inner = folder / "code"
        inner.mkdir()
        found = await examine(
            self._runner, archive, recipe.entry_point, inner, self._settings, keep=True, cancel=cancel
        )
        settled, problems = settle(recipe.parameters, found.parameters)
        if problems := found.problems + problems:
            raise BadArchive(detail="; ".join(problems)[:2000])
        parameters = folder / "parameters.json"
        parameters.write_text(json.dumps(settled, sort_keys=True))
        return inner / "output" / "code", parameters

    async def _datasets(self, job: Job, base: str, ids: list[str], held: AsyncExitStack) -> dict[str, Path]:
        """Path inside -> checked file outside, of each dataset in order."""
        who = on_behalf(job)
        files = {}
        for number, id in enumerate(ids):
            record = await self._sharing.dataset(who, id)
            path = await held.enter_async_context(self._sharing.content(who, id, "train"))
            files[f"{base}/{number}/{plain(record.filename)}"] = path
        return files

    async def _weights(self, job: Job, model: Model, base: str, held: AsyncExitStack) -> dict[str, Path]:
        """A model's files, below `base` as they were in its own output."""
        path = await held.enter_async_context(self._sharing.content(on_behalf(job), model.id, "train"))
        return {base: path} if path.is_dir() else {f"{base}/{model.files[0].path}": path}

    # -- during

    async def _watched(self, task: Task, progress: Progress, note: Note, cancel: asyncio.Event) -> Ended:
        watch = asyncio.create_task(_watch(progress, task.log, note))
        try:
            return await self._runner.run(task, cancel)
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await note(_told(progress, task.log))

    # -- after

    async def _result(
        self, entry: Entry, model: Model, folder: Path, log: Path, ended: Ended, limits: Limits
    ) -> Finished:
        job = entry.job
        try:
            paths, left_out = await asyncio.to_thread(collected, folder / "output", folder / "collected", limits)
        except BadInput as error:  # a runner that does not bound the output itself
            if limits.output_bytes == entry.recipe.limits.output_bytes:
                raise
            raise BadInput(detail=_full(job, limits.output_bytes)) from error
        left_out += ended.left_out
        if left_out and not job.held_for:
            await asyncio.to_thread(_add, log, left_out)
        metrics, bad = await _flat(job, folder / "collected", METRICS, "metrics")
        remark = bad or _left(job, left_out)
        if job.kind == "evaluate":
            return await self._evaluated(job, metrics, remark)
        if not set(paths) - {METRICS, HYPERPARAMETERS}:
            return _empty()
        if job.kind == "reproduce":
            return await self._compared(entry, model, folder / "collected", paths, remark)
        told, bad = await _flat(job, folder / "collected", HYPERPARAMETERS, "hyper-parameters")
        used = {**json.loads((folder / "parameters.json").read_text()), **told}
        remark = "; ".join(filter(None, [remark, bad]))
        found = {"metrics": metrics, "metadata": {"hyperparameters": used} if used else {}, **await self._about(entry)}
        await self._sharing.trained(job.model_copy(update={"metrics": metrics}), folder / "collected", paths, found)
        return Finished("done", "exit", remark, values={"metrics": metrics})

    async def _about(self, entry: Entry) -> dict[str, Any]:
        """What is known of a trained model besides its files."""
        recipe = entry.recipe
        environment = await asyncio.to_thread(self._runner.describe, recipe.environment, recipe.limits)
        never = await asyncio.to_thread(self._verdicts.never, entry.job.company, recipe)
        verdict = {"reproducible": "never", "reproducible_note": never} if never else {}
        return {"environment": environment, "fingerprint": fingerprint(environment), **verdict}

    async def _evaluated(self, job: Job, metrics: dict[str, Any], remark: str) -> Finished:
        if not metrics:
            how_to = f"with HEADRACE_MODE=evaluate the code has to write {METRICS} into the folder HEADRACE_OUTPUT"
            return Finished("failed", "exit", remark or f"it measured nothing: {how_to}", fault=True)
        await self._sharing.evaluated(job.model_copy(update={"metrics": metrics}), metrics)
        return Finished("done", "exit", remark, values={"metrics": metrics})

    async def _compared(self, entry: Entry, model: Model, folder: Path, paths: list[str], remark: str) -> Finished:
        environment = await asyncio.to_thread(self._runner.describe, entry.recipe.environment, entry.recipe.limits)
        outcome = await asyncio.to_thread(comparing.compare, model, folder, paths, fingerprint(environment))
        found: dict[str, Any] = {"digest": outcome.digest, "fingerprint": fingerprint(environment)}
        if outcome.verdict is None and (worst := await self._apart(entry.job, model, folder, outcome)) is not None:
            found["worst"] = worst
        text = f"{outcome.text}{outcome.files}"
        if (
            entry.job.held_for
        ):  # the note is on a model that may not be held: how many files differ is a word of the code's
            text = (
                "a second run made the same files"
                if outcome.verdict == "reproduced"
                else "a second run made other files"
            )
        note = f"{text} (job {entry.job.id})"
        if outcome.verdict == "never":
            await asyncio.to_thread(self._verdicts.mark, entry.job.company, entry.recipe, note)
        never = await asyncio.to_thread(self._verdicts.never, entry.job.company, entry.recipe)
        if outcome.verdict:
            verdict = "never" if never else outcome.verdict
            await self._sharing.judged(model.id, verdict, note if outcome.verdict == "never" else never or note)
        said = "; ".join(filter(None, [text, remark]))
        return Finished("done", "exit", said, values={"message": outcome.word, "metrics": found})

    async def _apart(self, job: Job, model: Model, folder: Path, outcome: comparing.Outcome) -> float | None:
        """How far the weights are from the recorded ones, if these are there."""
        with contextlib.suppress(HeadraceError):
            async with self._sharing.content(on_behalf(job), model.id, "train") as path:
                kept = {one.path: path if len(model.files) == 1 else path / one.path for one in model.files}
                named = {name: kept[name] for name in outcome.differing if name in kept and name != METRICS}
                if set(outcome.differing) - {METRICS} <= kept.keys():
                    return await closeness.apart(self._runner, named, folder, folder.parent / "closeness")
        return None


def _variables(recipe: Recipe, job: Job) -> dict[str, str]:
    """The environment inside, but for the inputs."""
    threads = str(max(1, int(recipe.limits.cpus)))
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {
        **{name: str(value) for name, value in recipe.seeds.items()},
        **dict.fromkeys(libraries, threads),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KERAS_BACKEND": "torch",
        "HEADRACE_CODE": CODE,
        "HEADRACE_OUTPUT": OUTPUT,
        "HEADRACE_PARAMETERS": PARAMETERS,
        "HEADRACE_MODE": "evaluate" if job.kind == "evaluate" else "train",
    }


def plain(filename: str) -> str:
    """A dataset's file name as it is inside: no folder, and no ``:``, which separates names in HEADRACE_DATA.

    >>> plain("../a:b.csv"), plain("..")
    ('a_b.csv', 'data')
    """
    name = filename.replace("\\", "/").rpartition("/")[2].replace(":", "_").replace("\0", "_")
    return name if name.strip(".") else "data"


def _full(job: Job, room: int) -> str:
    return f"it wrote more than {_left_of(job)}: {size_of(room)}; {_MORE}"


def _left_of(job: Job) -> str:
    return f"what was left of the quota of {job.company} when it started"


async def _flat(job: Job, output: Path, name: str, what: str) -> tuple[dict[str, Any], str]:
    """(what a file of the output says, why it was not taken)."""
    try:
        return await asyncio.to_thread(read_flat, output, name), ""
    except BadInput as error:  # while held, the names in it could tell what the data hold
        return {}, f"its {what} were not taken: {f'{name} is not as it has to be' if job.held_for else error}"


def _failed(job: Job, ended: Ended, values: dict[str, Any]) -> Finished:
    if ended.how == "cancelled":
        return Finished("cancelled", "cancelled", values=values)
    if ended.how != "exit":
        reason = ended.detail or f"it passed its limit: {ended.how}"
        return Finished("failed", ended.how, reason, True, values)
    what = "the code ended with an error" if job.held_for else _code(ended.code)
    return Finished("failed", "exit", f"{what}; `headrace job log {job.id}` shows why", True, values)


def _code(code: int) -> str:
    if code > 128 and code - 128 in set(signal.Signals):
        return f"the code was killed by {signal.Signals(code - 128).name}"
    return f"the code ended with exit code {code}"


def _empty() -> Finished:
    how_to = f"write the model's files into the folder HEADRACE_OUTPUT ({OUTPUT}), and measures into its {METRICS}"
    return Finished("failed", "exit", f"the code ended well but left no file: {how_to}", fault=True)


async def _watch(progress: Progress, log: Path, note: Note) -> None:
    heard = 0
    while True:
        await asyncio.sleep(EVERY)
        if progress.size != heard:
            heard = progress.size
            await note(_told(progress, log))


def _told(progress: Progress, log: Path) -> dict[str, object]:
    said = progress.said
    return {"log_bytes": _size(log), **({"progress": said[0], "message": said[1]} if said else {})}


def _left(job: Job, left_out: list[str]) -> str:
    """What of the output is no part of the model; without names while those could tell what the data hold."""
    if not left_out:
        return ""
    count = f"{len(left_out)} thing{'s' if len(left_out) > 1 else ''} in the output"
    what = f"{count} left out: only regular files are taken"
    return what if job.held_for else f"{what} ({'; '.join(left_out[:5])})"[:1000]


def _add(log: Path, left_out: list[str]) -> None:
    """The same below what the code printed."""
    lines = "".join(f"left out of the output: {line}\n" for line in left_out[:TOLD])
    with log.open("ab+") as file:
        if file.seek(0, 2):
            file.seek(-1, 2)
            lines = lines if file.read() == b"\n" else f"\n{lines}"
        file.write(lines.encode("utf-8", "replace"))


def _size(log: Path) -> int:
    """Bytes of the job's whole log, earlier attempts too."""
    return logs.size_of(log.parent)
