"""L2 of a translation: its original, translated once more in the sandbox, gives exactly the recorded ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from headrace.assets import Model
from headrace.claims import Retranslated
from headrace.errors import BadInput, Conflict, Forbidden, NotFound, Tampered, TooLarge, WrongEnvironment
from headrace.services.sharing import Store
from headrace.services.verification import Retranslator
from headrace.services.verification.case import Case, owner
from headrace.services.verification.inner import all_within, bound
from headrace.services.verification.recomputing import parts
from headrace.services.verification.rung_intact import RungIntact
from headrace.services.verification.rung_recorded import RungRecorded
from headrace.services.verification.rungs import Skipped, Step, Tell

ENDED_ILL = (BadInput, Conflict, Forbidden, NotFound, TooLarge, WrongEnvironment)
"""It could not be translated again, which says nothing of what was recorded."""


class RungTranslated:
    """Its checks.

    Args:
        retranslator: gives who translates again; None: nobody does here.
    """

    def __init__(
        self,
        sharing: Store,
        recorded: RungRecorded,
        intact: RungIntact,
        retranslator: Callable[[], Retranslator | None],
    ) -> None:
        self._sharing, self._recorded, self._intact = sharing, recorded, intact
        self._retranslator = retranslator

    def steps(self, case: Case) -> list[Step]:
        """Of one translation."""
        assert isinstance(case.asset, Model)
        case.left += [
            f"how its original {case.asset.parent} came to be: it was looked at up to L1 only",
            "the datasets whose samples its certificate is about",
        ]
        checks = {"original": self._original, "translation again": self._again}
        return [Step("L2", name, partial(work, case)) for name, work in checks.items()]

    async def _original(self, case: Case, tell: Tell) -> str:
        """It is recorded and intact, and the one that the claim names; and so is its code, where that was used."""
        original = await self._readable(case)
        inner = Case(owner(case.asset, case.who), original, right="derive")
        await all_within(original.id, [*self._recorded.steps(inner), *self._intact.steps(inner)], tell)
        for part in parts(case.recorded.opened):
            if part.get("id") == original.id:
                bound(original.id, part, inner)
        assert isinstance(case.asset, Model)
        said = case.asset.translation  # L0 found that the claim says the same, which may have it by its digest only
        if said is None or (said.of, said.digest) != (original.id, inner.says.get("digest")):
            raise Tampered(detail=f"it names another original than what the ledger has of {original.id}")
        code = await self._code(case, inner, tell)
        return f"{original.id} {said.digest}, recorded and intact{code}"

    async def _code(self, case: Case, inner: Case, tell: Tell) -> str:
        """The archive is the one that the original's claim names; only its own company's is used."""
        said = inner.recorded.opened.get("recipe")
        if not said or inner.asset.company != case.asset.company:
            return ""
        files = await self._intact.hashed(Case(inner.who, inner.asset), "code", tell)
        if files[0].stored.model_dump() != said.get("code"):
            raise Tampered(detail=f"{inner.asset.id}: the code archive is not the one that was recorded")
        return f", and its code {files[0].stored.sha256}"

    async def _again(self, case: Case, tell: Tell) -> str:
        """Translated once more; what is compared is what the ledger holds, not what is stored here."""
        await self._readable(case)
        digest, by, retranslator = str(case.says.get("digest")), owner(case.asset, case.who), self._retranslator()
        assert isinstance(case.asset, Model)
        if retranslator is None:
            raise Skipped("no translation service is known here: nothing was translated again")
        try:
            made = await retranslator.retranslate(by, case.asset, tell)
        except ENDED_ILL as error:
            told = f": {error.fields.get('detail') or error}" if case.who.company == case.asset.company else ""
            raise Skipped(f"the second translation did not end well{told}") from error
        said, weaker = judged(made, digest, case.asset.fingerprint)
        if weaker:
            case.weaker = said
            raise Skipped(f"not byte by byte, so not L2; {said}")
        return said

    async def _readable(self, case: Case) -> Model:
        """The original, if whoever asks may derive from it and it is still there. Raises Skipped."""
        id = case.asset.parent if isinstance(case.asset, Model) else ""
        try:
            found = await self._sharing.model(owner(case.asset, case.who), id)
            if found.deleted_ms is not None and case.who.company == case.asset.company:
                raise Skipped(f"its original {id} was deleted: there is nothing to translate again")
            await self._sharing.check(case.who, id, "derive")
        except (NotFound, Forbidden) as error:
            raise Skipped(f"its original {id} may not be derived from by you (any more): {error}") from error
        if found.held_for:
            raise Skipped(f"its original {id} is held for {', '.join(found.held_for)} until they release it")
        return found


def judged(made: Retranslated, digest: str, fingerprint: str) -> tuple[str, bool]:
    """(what a second translation has shown, whether that is less than L2). Raises Tampered, Skipped.

    Args:
        digest: of the recorded file; `fingerprint`: of the environment it was recorded in; "": unknown.
    """
    same = bool(fingerprint) and made.fingerprint == fingerprint and not made.missing
    where = f"in {_where(made, fingerprint)}"
    if made.digest == digest:
        return f"{digest} once more, {where}", False
    if same and made.steady is not False:
        raise Tampered(detail=f"a second translation {where} gave {made.digest}")
    if same:
        where += ", where no two translations give the same bytes"
    if not made.compared:
        raise Skipped(f"a second translation {where} gave {made.digest}; {made.apart}")
    if made.compared != digest:
        raise Tampered(detail="what is stored is not what was recorded, and a second translation gave yet another file")
    if made.parity is not None:
        far = f"{made.parity.worst:.1e} on {made.parity.inputs} inputs; {made.parity.tolerance:.1e} may be"
        return f"re-derived within tolerance, {where}: its answers are the original's within {far}", True
    if same:
        raise Tampered(detail=f"the recorded file does not answer as its original does, {where}: {made.apart}")
    raise Skipped(f"a second translation {where} gave {made.digest}, which says nothing: {made.apart}")


def _where(made: Retranslated, fingerprint: str) -> str:
    without = f", without {made.missing}" if made.missing else ""
    if fingerprint and made.fingerprint == fingerprint:
        return f"the same environment{without}"
    what = "another environment" if fingerprint else "an environment that may be another (none was recorded)"
    return f"{what} ({'; '.join(made.differences)}){without}" if made.differences else f"{what}{without}"
