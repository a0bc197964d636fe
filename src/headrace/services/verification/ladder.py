"""Climbs the ladder: every check of each rung up to the one that is asked for, then what they come to.

The level is the highest all of whose checks passed, and those of all below it. What cannot be looked at is never passed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from headrace.access import Principal
from headrace.assets import Dataset, Model
from headrace.claims import LEVELS, Check, Level, Report
from headrace.errors import Forbidden, HeadraceError, NotFound
from headrace.services.sharing import Store
from headrace.services.turns import Turns
from headrace.services.verification import Rederiver, Retrainer, Retranslator
from headrace.services.verification.ancestry import Descent
from headrace.services.verification.bundling import Bundling
from headrace.services.verification.case import Case
from headrace.services.verification.reading import Reading
from headrace.services.verification.rung_intact import RungIntact
from headrace.services.verification.rung_recorded import RungRecorded, record
from headrace.services.verification.rung_rederived import RungRederived
from headrace.services.verification.rungs import climbed
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Ledger

RUNGS: tuple[Level, ...] = ("L0", "L1", "L2")
AT_ONCE, TRAININGS = 4, 1
"""Verifications at one time, each of which reads all of an artifact; and of them those that run something again."""
PLACES, TRAINING_PLACES = 16, 4
"""Of one company, those that wait included."""
UNCLAIMED = {
    "dataset": "what no claim covers, and its record may say otherwise tomorrow: description, who registered it, file name",
    "model": "what no claim covers, and its record may say otherwise tomorrow: description, who registered it, a recipe's "
    "limits, whether it was reproduced, figures of later evaluations, its environment beyond the digest",
}
Makers: TypeAlias = tuple[
    Callable[[], Retrainer | None], Callable[[], Rederiver | None], Callable[[], Retranslator | None]
]


class Ladder:
    """Verifies.

    Args:
        sharing: the hub, asked for when it is needed.
        makers: give who runs recipes again, who replays logs, and who translates again; None: nobody does here.
    """

    def __init__(
        self,
        ledger: Ledger,
        reading: Reading,
        bundling: Bundling,
        keyring: Keyring,
        sharing: Callable[[], Store],
        makers: Makers,
    ) -> None:
        self._ledger, self._reading, self._bundling, self._keyring = ledger, reading, bundling, keyring
        self._sharing, self._makers = sharing, makers
        self._trainings = Turns(TRAININGS, TRAINING_PLACES, "verifications")
        self._others = Turns(AT_ONCE, PLACES, "verifications")

    async def verify(
        self, who: Principal, asset: Dataset | Model, level: Level
    ) -> AsyncGenerator[Check | Report, None]:
        """See `Verification.verify`; after `may`. Raises TooMany, before the first check."""
        turns = self._trainings if level == "L2" else self._others
        with turns.place(who.company):
            if turns.busy:
                yield Check(level="L0", name="turn", state="running", detail="waits for other verifications to end")
            async with turns.turn(who.company), aclosing(self._climb(who, asset, level)) as climb:
                async for one in climb:
                    yield one

    async def may(self, who: Principal, asset: Dataset | Model, level: Level) -> None:
        """Whoever may read it may have it looked at, also what is left of something deleted. Raises Forbidden, NotFound."""
        who.require("write" if level == "L2" else "read")
        if asset.deleted_ms is None:
            await self._sharing().check(who, asset.id, "read")

    async def _barred(self, who: Principal, asset: Dataset | Model) -> str:
        """Why he may not have it run again: that takes its owner, or a right to everything it reads; "": he may."""
        if asset.company == who.company or isinstance(asset, Dataset) or asset.translation is not None:
            return ""  # whether he may read the original of a translation is the first of its checks
        if asset.recipe is None:
            return f"only {asset.company!r} may have {asset.id} made again" + (
                ": its log is theirs" if asset.snapshot else ""
            )
        sharing = self._sharing()
        for id in [*asset.datasets, *asset.recipe.evaluation, *([asset.parent] if asset.parent else [])]:
            try:
                await record(sharing, who, id)  # what he may not know of is no attempt to train on it
                await sharing.check(who, id, "train")
            except (NotFound, Forbidden):
                return f"it takes the right to train on {id}, which nobody has granted to {who.company!r}"
        return ""

    async def _climb(
        self, who: Principal, asset: Dataset | Model, level: Level
    ) -> AsyncGenerator[Check | Report, None]:
        sharing = self._sharing()
        case, checks, whole = Case(who, asset), list[Check](), True
        case.barred = await self._barred(who, asset) if level == "L2" else ""
        reached: Level = "none"
        first = RungRecorded(self._ledger, self._reading, self._bundling, sharing)
        second = RungIntact(sharing, self._keyring)
        third = RungRederived(sharing, first, second, *self._makers)
        descent = Descent(self._reading, sharing)
        rungs = ((first.steps,), (second.steps, descent.steps), (third.steps,))
        for rung, parts in zip(RUNGS, rungs, strict=True):
            if RUNGS.index(rung) > RUNGS.index(level):
                case.left.append(f"{rung}: it was not asked for ({LEVELS[rung]})")
                continue
            if rung != "L0" and reached == "none":
                case.left.append(f"{rung}: what is recorded is not in order ({LEVELS[rung]})")
                continue
            async with aclosing(climbed([step for steps in parts for step in steps(case)])) as climb:
                async for check in climb:
                    yield check
                    checks += [check] if check.state != "running" else []
            whole = whole and all(one.state == "passed" for one in checks if one.level == rung)
            reached = rung if whole else reached
        yield await self._report(case, checks, reached)

    async def _report(self, case: Case, checks: list[Check], level: Level) -> Report:
        chain, single = await self._chain()
        words = [LEVELS[level], f"of company {case.asset.company}"]
        words += ["on a single-operator chain"] if single else []
        again = next((one for one in checks if one.level == "L2" and one.state == "passed"), None)
        if level != "L2" and again and all(one.state == "passed" for one in checks if one.level == "L2"):
            words.append("made again it has the recorded digest, but what is stored here does not")
        words += [word for word in (case.taken_back, case.weaker) if word]
        return Report(
            id=case.asset.id,
            level=level,
            says="; ".join(words),
            passed=not any(one.state == "failed" for one in checks),
            checks=checks,
            not_checked=[*dict.fromkeys(case.left), *_always(case, level)],
            chain=chain,
        )

    async def _chain(self) -> tuple[str, bool]:
        try:
            status = await self._ledger.status()
        except HeadraceError as error:
            return f"no chain can be asked: {error}", False
        kind = "a single-operator chain" if status.single else "a chain of several operators"
        return (
            f"chain {status.chain} (genesis {status.genesis}): {kind}, run by {status.operator or 'itself'}",
            status.single,
        )


def _always(case: Case, level: Level) -> list[str]:
    """What no verification here can show."""
    company = case.asset.company
    left = [
        "a revocation that comes later",
        "this platform: whoever runs it made these checks; a bundle can be checked elsewhere",
        "the ledger's operator: one alone runs the chain, and could have written another",
        "when: times are the operator's clock",
        f"whether what {company} says of it (statistics, metrics, metadata) is true; only that it said so",
        UNCLAIMED["dataset" if isinstance(case.asset, Dataset) else "model"],
    ]
    if isinstance(case.asset, Model) and case.asset.recipe is not None:
        left.append("the code: nobody reviewed what it does")
        if level != "L2":
            left.append("whether its recipe and inputs give these files")
    if isinstance(case.asset, Model) and case.asset.translation is not None and level != "L2":
        left.append("whether its original, translated again, gives this file")
    return left
