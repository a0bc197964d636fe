"""L2, re-derived: the recorded recipe and inputs give exactly the recorded model, made again in the sandbox; or the log does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from headrace.access import Principal
from headrace.assets import Dataset, Job, Model
from headrace.claims import Rederived
from headrace.errors import HeadraceError, Tampered
from headrace.services.sharing import Store
from headrace.services.verification import Rederiver, Retrainer, Retranslator
from headrace.services.verification.case import Case, owner
from headrace.services.verification.inner import all_within, bound
from headrace.services.verification.recomputing import parts
from headrace.services.verification.rung_intact import RungIntact
from headrace.services.verification.rung_recorded import RungRecorded, record
from headrace.services.verification.rung_translated import RungTranslated
from headrace.services.verification.rungs import Skipped, Step, Tell

LOOK = 0.3
"""Seconds between looks at a job."""
TOLERANCE = 1e-3
"""Largest difference of a value, as a part of the largest in its array, between two environments: that of replays, chosen, not
derived (`headrace.services.learning.rederiving`)."""
ENDED = frozenset({"done", "failed", "cancelled"})


class RungRederived:
    """Its checks.

    Args:
        retrainer: gives who runs recipes again; None: nobody does here.
        rederiver: gives who replays logs; `retranslator`: who translates again; likewise.
    """

    def __init__(
        self,
        sharing: Store,
        recorded: RungRecorded,
        intact: RungIntact,
        retrainer: Callable[[], Retrainer | None],
        rederiver: Callable[[], Rederiver | None],
        retranslator: Callable[[], Retranslator | None],
    ) -> None:
        self._sharing, self._recorded, self._intact = sharing, recorded, intact
        self._translated = RungTranslated(sharing, recorded, intact, retranslator)
        self._retrainer, self._rederiver = retrainer, rederiver

    def steps(self, case: Case) -> list[Step]:
        """Of one asset."""
        if case.barred:
            return [Step("L2", "re-derivation", partial(_barred, case.barred))]
        if isinstance(case.asset, Model) and case.asset.translation is not None:
            return self._translated.steps(case)
        if isinstance(case.asset, Model) and case.asset.snapshot is not None:
            return [Step("L2", "replay of the log", partial(self._replay, case))]
        if isinstance(case.asset, Model) and not no_l2(case.asset):
            if case.asset.parent:
                case.left.append(f"how its parent {case.asset.parent} came to be: it was looked at up to L1 only")
            checks = {"inputs": self._inputs, "code": self._code, "training again": self._again}
            return [Step("L2", name, partial(work, case)) for name, work in checks.items()]
        return [Step("L2", "re-derivation", partial(_impossible, case.asset))]

    # -- of a recipe

    async def _inputs(self, case: Case, tell: Tell) -> str:
        """Each is recorded and intact, and the one that the claim names."""
        found = case.recorded
        by = owner(case.asset, case.who)
        said = {str(part.get("id")): part for part in parts(found.opened)}
        for number, (id, part) in enumerate(sorted(said.items()), 1):
            tell(f"{number} of {len(said)}: {id}")
            inner = Case(by, await record(self._sharing, by, id), right="train")
            await all_within(id, [*self._recorded.steps(inner), *self._intact.steps(inner)], tell)
            bound(id, part, inner)
        return (
            f"{len(said)}, each recorded and intact, with the digests that the claim names" if said else "it has none"
        )

    async def _code(self, case: Case, tell: Tell) -> str:
        """The archive is the one that the claim names."""
        said = (case.recorded.opened.get("recipe") or {}).get("code")
        inner = Case(owner(case.asset, case.who), case.asset)
        files = await self._intact.hashed(inner, "code", tell)
        if files[0].stored.model_dump() != said:
            raise Tampered(detail="the code archive is not the one that was recorded")
        return f"{files[0].stored.sha256}, as the ledger has it"

    async def _again(self, case: Case, tell: Tell) -> str:
        """The training executed once more; what is compared is what the ledger holds, not what is stored here."""
        says, by, trainer = case.says, owner(case.asset, case.who), self._retrainer()
        if trainer is None:
            raise Skipped("no training service is known here: nothing was trained again")
        job = await _run(trainer, by, case.asset.id, tell)
        made = (await _seen(trainer, by, job)).metrics
        if job.state != "done" or not made.get("digest"):
            raise Skipped(f"the second training did not end well ({job.id}: {job.state}; {job.reason or 'no reason'})")
        now = await self._sharing.model(by, case.asset.id)
        if never(now):
            case.weaker = (
                "two runs gave different files: its recipe is not deterministic, or did not give what is recorded"
            )
        same = made.get("fingerprint") == says.get("fingerprint")
        where = "the same environment" if same else "another environment"
        gave = "other files" if job.held_for else str(made["digest"])  # what is held is not told by its digest either
        if made["digest"] == says.get("digest"):
            if never(now):
                raise Skipped(f"it never gets L2: {now.reproducible_note}")
            return f"{made['digest']} once more, in {where} (job {job.id})"
        if same:
            raise Tampered(detail=f"a second training in {where} gave {gave} (job {job.id})")
        worst = made.get("worst")
        if isinstance(worst, float | int) and worst <= TOLERANCE:
            far = "" if job.held_for else f": apart by {worst:.1e} of the largest value of their array"
            case.weaker = f"re-derived within tolerance, in another environment{far} ({TOLERANCE:.0e} may be)"
            raise Skipped(f"not byte by byte, so not L2; {case.weaker} (job {job.id})")
        raise Skipped(f"a second training in {where} gave {gave}, which says nothing (job {job.id})")

    # -- of an online model

    async def _replay(self, case: Case, tell: Tell) -> str:
        """The log gives these weights."""
        asset, says, rederiver = case.asset, case.says, self._rederiver()
        assert isinstance(asset, Model)
        if rederiver is None:
            raise Skipped("no log can be replayed here: not checked")
        weights = await self._weights(owner(asset, case.who), asset.id)
        found = await rederiver.replay(asset.company, asset, weights, lambda done: tell(f"{done:.0%} of the log"))
        if found.verdict == "impossible":
            raise Skipped(found.says)
        if found.verdict == "within tolerance":
            case.weaker = f"re-derived within tolerance: {found.says}"
            raise Skipped(f"not re-derived byte by byte; {case.weaker}")
        if found.verdict != "re-derived" or _other(found, says):
            raise Tampered(detail=found.says if found.verdict == "failed" else "other weights, or of another log")
        return f"{found.says}: {found.records:,} records below root {found.root}"

    async def _weights(self, by: Principal, id: str) -> bytes | None:
        with contextlib.suppress(HeadraceError):  # gone: then their digest alone is compared
            async with self._sharing.content(by, id, "read") as path:
                return await asyncio.to_thread(path.read_bytes)
        return None


def never(model: Model) -> bool:
    """Whether its recipe is known not to be deterministic."""
    return model.reproducible == "never" or (model.recipe is not None and not model.recipe.deterministic)


def no_l2(asset: Dataset | Model) -> str:
    """Why an asset can have no L2; "": it can. That two runs of its recipe differed is no such reason: it is run again, so that
    one model has one verdict."""
    if isinstance(asset, Dataset):
        return "there is none: a dataset is not derived from anything that could be run again"
    if asset.translation is not None or asset.snapshot is not None:
        return ""
    if asset.recipe is None:
        return "there is none: trained elsewhere, no recipe is recorded that could be run"
    if not asset.recipe.deterministic:
        return f"it never gets L2: {asset.reproducible_note or 'its recipe declares itself non-deterministic'}"
    return ""


async def _barred(why: str, _: Tell) -> str:
    raise Skipped(f"you may not have it made again: {why}")


async def _impossible(asset: Dataset | Model, _: Tell) -> str:
    """Raises Skipped: why it cannot be derived again."""
    raise Skipped(no_l2(asset))


async def _run(trainer: Retrainer, by: Principal, id: str, tell: Tell) -> Job:
    """A second training, until it has ended; ended itself when its caller goes."""
    asked = asyncio.ensure_future(trainer.reproduce(by, id))
    ended = None
    try:
        job = await asyncio.shield(asked)
        while job.state not in ENDED:
            part = "" if job.progress is None else f", {job.progress:.0%}"
            tell(f"{job.id} is {job.state}{part}{': ' + job.message if job.message else ''}")
            await asyncio.sleep(LOOK)
            job = await trainer.job(by, job.id)
        ended = job
        return job
    finally:
        if ended is None:
            with contextlib.suppress(HeadraceError):
                await trainer.cancel(by, (await asked).id)


async def _seen(trainer: Retrainer, by: Principal, job: Job) -> Job:
    """A job with its digest: of one that is held for others only these see it, and all that is told of it here is whether
    that is the recorded one."""
    if not job.held_for:
        return job
    return await trainer.job(Principal(job.held_for[0], by.subject, "service", frozenset({"service"})), job.id)


def _other(found: Rederived, says: dict[str, Any]) -> bool:
    """Whether a replay gave something else than the ledger has."""
    files, said = says.get("files") or [], says.get("snapshot") or {}
    return [file["sha256"] for file in files] != [found.digest] or found.root != said.get("root")
