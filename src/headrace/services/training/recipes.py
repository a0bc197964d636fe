"""Whether a job of a recipe could start: everything that can be known before it is queued, all problems at once."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import tempfile
from collections.abc import Awaitable, Iterator
from pathlib import Path, PurePosixPath

from headrace.access import Principal
from headrace.assets import Limits, Recipe
from headrace.errors import BadInput, Forbidden, HeadraceError, NoIsolation, NotFound, Temporary, size_of
from headrace.runners import Runner
from headrace.services.sharing import Sharing
from headrace.services.training.examine import examine
from headrace.services.training.parameters import settle
from headrace.settings import TrainingSettings

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_RESERVED = re.compile(
    r"HEADRACE_.*|LD_.*|DYLD_.*|PYTHON.*|PATH|HOME|USER|SHELL|PWD|IFS|ENV|BASH_ENV|TMPDIR|TEMP|TMP|LANG|LC_.*|TZ"
    r"|OMP_.*|OPENBLAS_.*|MKL_.*|NUMEXPR_.*|KERAS_.*|GLIBC_.*|MALLOC_.*",
)
"""Environment variables that are the platform's, or that change how a program is started: no seeds."""
_MOST = (
    ("memory_bytes", "memory"),
    ("cpus", "cpus"),
    ("processes", "processes"),
    ("seconds", "seconds"),
    ("output_bytes", "output_bytes"),
    ("output_files", "output_files"),
    ("log_bytes", "log_bytes"),
)
"""Field of `Limits` -> the setting that bounds it."""
SEEDS, PARAMETERS, INPUTS = 100, 1000, 256
"""Most of each in a recipe."""


class Recipes:
    """Checks recipes. What it asks of the hub it asks again when the job starts: a grant may be gone by then."""

    def __init__(self, sharing: Sharing, runner: Runner, settings: TrainingSettings, folder: Path) -> None:
        self._sharing, self._runner, self._settings, self._folder = sharing, runner, settings, folder

    async def check(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """Raises BadInput with all problems; a single one as what it is (NotFound, Forbidden ...); NoIsolation, Temporary."""
        problems: list[HeadraceError] = [BadInput(detail=text) for text in _plain(recipe, self._settings)]
        problems += await self._environment(recipe)
        problems += await self._inputs(who, recipe)
        problems += await self._archive(recipe, code)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise BadInput(detail="\n".join(str(problem).removesuffix(".") for problem in problems))

    async def holders(self, who: Principal, recipe: Recipe) -> list[str]:
        """Other companies whose datasets or model he may train on but not keep what comes out. Raises NotFound, Forbidden."""
        found = set()
        for id in [*recipe.datasets, *recipe.evaluation]:
            found |= await self._holder(who, id, (await self._sharing.dataset(who, id)).company)
        if recipe.parent:
            found |= await self._holder(who, recipe.parent, (await self._sharing.model(who, recipe.parent)).company)
        return sorted(found)

    async def _holder(self, who: Principal, id: str, owner: str) -> set[str]:
        if owner == who.company:
            return set()
        try:
            await self._sharing.check(who, id, "derive")
        except (NotFound, Forbidden):
            return {owner}
        return set()

    async def _environment(self, recipe: Recipe) -> list[HeadraceError]:
        try:
            await asyncio.to_thread(self._runner.check, recipe.environment)
        except (NoIsolation, Temporary):
            raise
        except HeadraceError as error:
            return [BadInput(detail=f"environment: {str(error).removesuffix('.')}")]
        return []

    async def _inputs(self, who: Principal, recipe: Recipe) -> list[HeadraceError]:
        problems: list[HeadraceError] = []
        for id in dict.fromkeys([*recipe.datasets, *recipe.evaluation][: 2 * INPUTS]):
            problems += await _refused(self._sharing.check(who, id, "train"))
        if recipe.evaluation and not problems:
            trained = await self.digests(who, recipe.datasets)
            for id in dict.fromkeys(recipe.evaluation):
                if text := copied(id, (await self._sharing.dataset(who, id)).stored.sha256, trained):
                    problems.append(BadInput(detail=f"evaluation: {text}"))
        if recipe.parent:
            problems += await self._parent(who, recipe.parent)
        return problems

    async def digests(self, who: Principal, ids: list[str]) -> dict[str, str]:
        """sha256 of a dataset's content -> its id, of those he may know of."""
        found = {}
        for id in ids:
            with contextlib.suppress(NotFound, Forbidden):
                found[(await self._sharing.dataset(who, id)).stored.sha256] = id
        return found

    async def _parent(self, who: Principal, id: str) -> list[HeadraceError]:
        try:
            await self._sharing.check(who, id, "train")
            parent = await self._sharing.model(who, id)
        except Temporary:
            raise
        except HeadraceError as error:
            return [error]
        if parent.held_for:
            return [
                Forbidden(detail=f"parent: model {id!r} is held for {', '.join(parent.held_for)} until they release it")
            ]
        if parent.state not in {"trained", "uploaded"} or not parent.files:
            return [
                BadInput(detail=f"parent: model {id!r} is {parent.state}; only a trained or uploaded one has weights")
            ]
        return []

    async def _archive(self, recipe: Recipe, code: Path) -> list[HeadraceError]:
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="check-") as folder:
            try:
                found = await examine(self._runner, code, recipe.entry_point, Path(folder), self._settings)
            except BadInput as error:
                return [error]
        texts = found.problems or settle(recipe.parameters, found.parameters)[1]
        return [BadInput(detail=" ".join(text.split())[:500]) for text in texts]


def copied(id: str, digest: str, trained: dict[str, str]) -> str:
    """Why a dataset is none to hold out, in words; "" if it is one.

    Args:
        trained: as of `Recipes.digests`, of what is trained on.
    """
    same = trained.get(digest, id)
    if same == id:
        return ""
    return f"{id!r} has the same bytes as {same!r}, which is trained on; a held-out dataset must hold others"


async def _refused(asked: Awaitable[None]) -> list[HeadraceError]:
    """The error of something asked of the hub, as a list of problems."""
    try:
        await asked
    except Temporary:
        raise
    except HeadraceError as error:
        return [error]
    return []


def _plain(recipe: Recipe, settings: TrainingSettings) -> Iterator[str]:
    """What is wrong with a recipe by itself."""
    path = PurePosixPath(recipe.entry_point)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".py" or recipe.entry_point.startswith("-"):
        yield f"entry_point: {recipe.entry_point!r} is not the path of a .py file in the code archive"
    yield from _limits(recipe.limits, settings)
    yield from _seeds(recipe.seeds)
    yield from _parameters(recipe)
    for id in recipe.datasets:
        if id in recipe.evaluation:
            yield f"evaluation: {id!r} is also trained on; a held-out dataset must be another one"
    if len(recipe.datasets) + len(recipe.evaluation) > INPUTS:
        yield f"datasets: more than {INPUTS} in one recipe"


def _limits(limits: Limits, settings: TrainingSettings) -> Iterator[str]:
    for field, setting in _MOST:
        asked, most = getattr(limits, field), getattr(settings, setting)
        if not asked <= most:  # NaN neither
            yield f"limits.{field}: {_measure(field, asked)} is more than the {_measure(field, most)} this platform gives"


def _measure(field: str, value: float) -> str:
    """A limit with its unit.

    >>> _measure("memory_bytes", 2**31), _measure("seconds", 3600), _measure("cpus", 1.5)
    ('2,147,483,648 bytes (2 GiB)', '3600 s', '1.5')
    """
    if field.endswith("bytes") and isinstance(value, int):
        return f"{value:,} bytes ({size_of(value)})"
    return f"{value:g}{' s' if field == 'seconds' else ''}"


def _seeds(seeds: dict[str, int]) -> Iterator[str]:
    if len(seeds) > SEEDS:
        yield f"seeds: more than {SEEDS}"
    for name, value in seeds.items():
        if not _NAME.fullmatch(name):
            yield f"seeds: {name[:100]!r} is no name of an environment variable (letters, digits, _)"
        elif _RESERVED.fullmatch(name):
            yield f"seeds: {name!r} is the platform's; call it SEED or MY_SEED"
        if abs(value) >= 2**64:
            yield f"seeds: {name[:100]!r} is over 64 bits"


def _parameters(recipe: Recipe) -> Iterator[str]:
    if len(recipe.parameters) > PARAMETERS:
        yield f"parameters: more than {PARAMETERS}"
    for name, value in recipe.parameters.items():
        if len(name) > 200 or (isinstance(value, str) and len(value) > 10_000):
            yield f"parameters: {name[:50]!r}: a name has up to 200 characters, a text up to 10000"
        if isinstance(value, int | float) and not (
            math.isfinite(value) if isinstance(value, float) else abs(value) < 2**63
        ):
            yield f"parameters: {name[:50]!r} is not a finite number of up to 64 bits"
