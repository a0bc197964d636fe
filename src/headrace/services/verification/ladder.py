"""Climbs the ladder: every check of each rung up to the one that is asked for, then what they come to.

The level is the highest all of whose checks passed, and those of all below it. What cannot be looked at is never passed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from headrace.access import Principal
from headrace.assets import Dataset, Model
from headrace.claims import LEVELS, Check, Level, Report, Summary
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
from headrace.services.verification.rung_rederived import RungRederived, no_l2
from headrace.services.verification.rungs import climbed
from headrace.services.verification.summing import summary
from headrace.trust.keyring import Keyring
from headrace.trust.ledgers import Ledger

RUNGS: tuple[Level, ...] = ("L0", "L1", "L2")
AT_ONCE, EACH = 4, 3
"""Verifications at one time, each of which reads all of an artifact; and of one company."""
TRAININGS, TRAININGS_EACH = 4, 1
"""The same, of those that run something again: what they run waits its turn in a queue of its own, too."""
PLACES, TRAINING_PLACES = 16, 4
"""Of one company, those that wait included."""
TRANSLATED = "re-derived: its recorded original, translated again, gives exactly this file"
"""What L2 means of a translation."""
AGAIN = frozenset({"training again", "translation again"})
"""Checks that show that an asset comes of what it was made of."""
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
        self._trainings = Turns(TRAININGS, TRAINING_PLACES, "verifications", TRAININGS_EACH)
        self._others = Turns(AT_ONCE, PLACES, "verifications", EACH)

    async def verify(
        self, who: Principal, asset: Dataset | Model, level: Level
    ) -> AsyncGenerator[Check | Report, None]:
        """See `Verification.verify`; after `may`. Raises TooMany, before the first check."""
        turns = self._trainings if level == "L2" else self._others
        with turns.place(who.company):
            if turns.busy(who.company):
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
        inputs = [*asset.datasets, *asset.recipe.evaluation, *([asset.parent] if asset.parent else [])]
        for id in [*inputs, asset.id]:  # what runs is a job of the owner's
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
                none = rung == "L2" and no_l2(asset)
                case.left.append(f"L2: {none}" if none else f"{rung}: it was not asked for ({LEVELS[rung]})")
                continue
            if rung != "L0" and reached == "none":
                case.left.append(f"{rung}: not looked at, because L0 was not reached ({LEVELS[rung]})")
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
        translated = isinstance(case.asset, Model) and case.asset.translation is not None
        words = [TRANSLATED if translated and level == "L2" else LEVELS[level], f"of company {case.asset.company}"]
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
            not_checked=[*dict.fromkeys(case.left), *_always(case, made_again=_made_again(checks))],
            chain=chain,
            about=_about(case, checks),
        )

    async def _chain(self) -> tuple[str, bool]:
        try:
            status = await self._ledger.status()
        except HeadraceError as error:
            return f"no chain can be asked: {error}", False
        kind = "a single-operator chain" if status.single else "a chain of several operators"
        return (
            f"chain of genesis block {status.genesis}: {kind}, run by {status.operator or 'itself'}",
            status.single,
        )


def _about(case: Case, checks: list[Check]) -> Summary | None:
    """What was verified; None where not all that is said of it is what the ledger says, and no more than its record shows him."""
    first = [one for one in checks if one.level == "L0" and one.name != "revocation"]
    if case.found is None or any(one.state == "failed" for one in first):
        return None
    found, own = case.found, case.who.company == case.asset.company
    if case.hidden and (not own or "recipe" not in found.opened):
        return None  # it is held for others: what is recorded is not for him, or not yet
    result = None if case.hidden else found.result_opened
    time = None if case.time is None else case.time * 1000
    return summary(found.opened, result, time, digests=own)


def _made_again(checks: list[Check]) -> bool:
    """Whether its recipe or its original gave it once more; also where what is stored here is damaged or gone."""
    return any(one.name in AGAIN and one.state == "passed" for one in checks)


def _always(case: Case, *, made_again: bool) -> list[str]:
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
    if isinstance(case.asset, Model) and case.asset.snapshot is not None:
        left.append(
            "Python steps of the company's own, where its spec has some: nobody reviewed what they do, and in a replay they can "
            "read all of the log"
        )
    if isinstance(case.asset, Model) and case.asset.recipe is not None:
        left.append("the code: nobody reviewed what it does")
        if not made_again:
            left.append("whether its recipe and inputs give these files")
    if isinstance(case.asset, Model) and case.asset.translation is not None and not made_again:
        left.append("whether its original, translated again, gives this file")
    return left
