"""A translation made once more, and what is compared where other bytes come of it: the recorded file's answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from headrace.access import Principal
from headrace.assets import Model, OutputFile, Stored
from headrace.claims import Retranslated, digest_of
from headrace.errors import BadInput, CorruptState, Forbidden, NotFound
from headrace.inside.parity import NARROWED, NEAR
from headrace.services.sharing import Sharing
from headrace.services.translation import Wish
from headrace.services.translation.sandboxed import ONNX, Exported, Subject, Translations

NAMED = ("python", "machine", "libc", "cpu_capability", "mkl_cbwr", "blas", "numpy_simd", "threads", "packages_digest")
"""What of an environment is named where it is another, besides the packages that translated."""
LARGEST_AXIS, MOST_AXES = 2**24, 8


class Again:
    """One of them.

    Args:
        model: the translation, as it is registered.
        subject: its original.
        place: an empty folder.
    """

    def __init__(
        self, translations: Translations, model: Model, subject: Subject, place: Path, cancel: asyncio.Event
    ) -> None:
        self._translations, self._model, self._subject = translations, model, subject
        self._place, self._cancel, self._wish = place, cancel, wish_of(model)

    async def run(self, sharing: Sharing, who: Principal, tell: Callable[[str], None]) -> Retranslated:
        """See `headrace.services.verification.Retranslator`."""
        tell("translates the original once more")
        (folder, exported), here = await self._export("second")
        made = Retranslated(  # type: ignore[call-arg]
            digest=await asyncio.to_thread(digest_in, folder / ONNX),
            fingerprint=str(here.get("digest", "")),
            differences=differences(self._model, here),
            missing=missing(self._model, self._subject),
        )
        if made.digest == self._model.digest:
            return made
        if made.fingerprint == self._model.fingerprint and not made.missing:
            tell("it gave another file in the same environment: once more")
            (third, _), _ = await self._export("third")
            steady = await asyncio.to_thread(digest_in, third / ONNX) == made.digest
            made = made.model_copy(update={"steady": steady})
        tell("compares the answers of the recorded file")
        return made.model_copy(update=await self._compared(sharing, who, folder, exported))

    async def _export(self, name: str) -> tuple[tuple[Path, Exported], dict[str, Any]]:
        return await self._translations.export(self._subject, self._wish, self._place / name, self._cancel)

    async def _compared(self, sharing: Sharing, who: Principal, folder: Path, exported: Exported) -> dict[str, Any]:
        """The recorded file, asked what the original was asked just now: parts of `Retranslated`."""
        found: dict[str, Any] = {}
        async with AsyncExitStack() as held:
            try:
                onnx = await held.enter_async_context(sharing.content(who, self._model.id, "derive"))
            except (NotFound, Forbidden, CorruptState) as error:
                return {"apart": f"the recorded file is not there to be compared ({error})"}
            found["compared"] = await asyncio.to_thread(digest_in, onnx)
            try:
                place = self._place / "compared"
                told = await self._translations.compare(
                    self._subject, self._wish, onnx, folder, exported, place, self._cancel
                )
            except BadInput as error:
                return {**found, "apart": str(error.fields.get("detail") or error)[:2000]}
        return {**found, "parity": told.parity}


def wish_of(model: Model) -> Wish:
    """What a translation was asked for, as far as it changes what is made.

    A tolerance that is what an unset one comes to counts as unset, so that each output has its own. The shape of its only
    input is the one that was given, or that it found by itself.
    """
    said = model.translation
    assert said is not None
    unset = {part * (said.parity.scale or 1.0) for part in (NEAR, NARROWED)}
    shape = model.input_shape or []
    given = 0 < len(shape) <= MOST_AXES and all(1 <= axis <= LARGEST_AXIS for axis in shape)
    return Wish(
        opset=said.opset,
        dropout=said.dropout,
        tolerance=None if said.parity.tolerance in unset else said.parity.tolerance,
        name="",
        input_shape=shape if given else None,
    )


def differences(model: Model, here: Mapping[str, Any]) -> list[str]:
    """What of this environment is another than that a translation was made in: packages by its certificate, the rest by its
    record."""
    said = model.translation
    assert said is not None
    has = {str(name).lower().replace("_", "-"): version for name, version in (here.get("packages") or {}).items()}
    pairs = [(name, was, has.get(name.lower().replace("_", "-"), "none")) for name, was in said.versions.items()]
    was = model.environment
    pairs += [(name, was[name], here.get(name)) for name in NAMED if name in was]
    return [f"{name} {str(then)[:60]} then, {str(now)[:60]} now" for name, then, now in pairs if then != now]


def missing(model: Model, subject: Subject) -> str:
    """Datasets that may have shown what its inputs are, and cannot be used any more."""
    said = model.translation
    assert said is not None
    if not said.parity.real or not subject.left_out:
        return ""
    count = subject.left_out
    return f"{count} of its datasets, which {'is' if count == 1 else 'are'} gone or not to be used any more"


def digest_in(path: Path) -> str:
    """Of a file as the only one of a model, `Model.digest`. Blocks."""
    with path.open("rb") as file:
        sha256 = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return digest_of([OutputFile(path=ONNX, stored=Stored(size=0, sha256=sha256, root=""))])
