"""Sharing: the hub. Companies' datasets and models, who may use them, and what was made of what.

Sole user of the artifact store. Other services know this Protocol only; `SharingService` is it in process, `SharingClient`
the same over HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from headrace.access import Principal
from headrace.assets import Dataset, Job, Model, OutputFile, Recipe, Right, Scalar, Snapshot, Translation, Verdict

Role: TypeAlias = Literal["content", "code", "raw"]
"""Which files of an asset: its content, the code archive of its recipe, the records a dataset was made of."""


class Sharing(Protocol):
    """What the other services ask of the hub. `who` is the person on whose behalf; what he may not know of is NotFound."""

    async def dataset(self, who: Principal, id: str) -> Dataset:
        """The record. Raises NotFound."""
        ...

    async def model(self, who: Principal, id: str) -> Model:
        """The record. Raises NotFound."""
        ...

    async def check(self, who: Principal, id: str, right: Right) -> None:
        """Whether he may read an asset, or train on it, now. Raises NotFound, Forbidden."""
        ...

    def content(self, who: Principal, id: str, right: Right) -> AbstractAsyncContextManager[Path]:
        """The checked content for as long as the context lasts: a dataset's file; of a model with one file that file,
        of one with several a folder. Raises NotFound, Forbidden, CorruptState."""
        ...

    def code(self, who: Principal, model: str) -> AbstractAsyncContextManager[Path]:
        """The code archive of a recipe, checked. Raises NotFound, CorruptState."""
        ...

    async def began(self, job: Job) -> None:
        """A job of a model was queued, has begun, failed or was cancelled: the model's state follows.

        May come twice, and late: it changes nothing once that job's files were taken in. Of kind "train" only. From its start on
        ``job.held_for`` names the companies that may release what it made, also the log of one that failed.
        """
        ...

    async def trained(self, job: Job, output: Path, paths: Sequence[str], found: dict[str, Any]) -> Model:
        """A job ended well: take in its files and what is known of them; idempotent per job.

        Args:
            output: folder with the collected regular files.
            paths: of the files, relative to it.
            found: ``metrics``, ``fingerprint``, ``environment``, ``framework``, ``input_shape`` ... as `Model` has them.
        """
        ...

    async def evaluated(self, job: Job, metrics: dict[str, Scalar]) -> Model:
        """A trained model was measured on `job.dataset`: ``model.metrics[job.dataset] = {"job": job.id, **metrics}``, in
        the place of what an earlier evaluation on it found; idempotent per job. With ``job.held_for`` as ``held_for`` among
        them, until released."""
        ...

    async def judged(self, model: str, verdict: Verdict, note: str) -> Model:
        """Its recipe was run again: `Model.reproducible` and its note. "never" is for ever: nothing replaces it."""
        ...

    async def room(self, company: str) -> int | None:
        """Bytes a company may still keep; None: no quota, or it is not known here."""
        ...

    async def translated(
        self, who: Principal, of: str, translation: Translation, onnx: Path, found: dict[str, Any], name: str = ""
    ) -> Model:
        """Register a translation of a model under a new id: its invariant metadata kept, `of` its parent, state
        "translated". Idempotent for the same name and digests of original and result. What the original is held for, it is
        held for.

        Args:
            onnx: the checked ONNX file.
            name: "": the original's, with `` (ONNX)``.
            found: ``input_shape``, ``output_shape``, ``parameters``, ``metadata``, ``fingerprint``, ``environment`` as
                `Model` has them.

        Raises NotFound, Forbidden (needs `derive`), Conflict (the original is revoked, or another now), Tampered (its record is
        not what the ledger has).
        """
        ...

    async def snapshot(
        self, company: str, snapshot: Snapshot, name: str, weights: bytes, found: dict[str, Any]
    ) -> Model:
        """Register what an online model published, state "snapshot". Idempotent for the same weights of the same model,
        key, generation and time. `found` as above, and ``framework``."""
        ...


class Store(Sharing, Protocol):
    """What somebody asks who looks at contents while they are read from the store, without having them as files."""

    async def files(self, who: Principal, id: str, right: Right, role: Role = "content") -> list[OutputFile]:
        """The files of a content, as they are registered. Raises NotFound, Forbidden, Tampered, Temporary."""
        ...

    def pieces(self, who: Principal, id: str, right: Right, path: str, role: Role = "content") -> AsyncIterator[bytes]:
        """One of them as the store gives it, leaf by leaf. Raises the same, and CorruptState at the first that is another."""
        ...


class Trainer(Protocol):
    """What the hub asks of whoever trains: the training service, here or elsewhere."""

    async def validate(self, who: Principal, recipe: Recipe, code: Path) -> None:
        """Whether a job of this recipe could start. Raises BadInput (all problems at once), NotFound, Forbidden."""
        ...

    async def submit(self, who: Principal, model: str, recipe: Recipe, priority: int = 0, attempts: int = 1) -> Job:
        """Queue the training of a registered model. Idempotent: a model has one training job, and a second call gives it;
        the hub asks again when it cannot know whether the first call arrived."""
        ...


class Inspector(Protocol):
    """What the hub asks of whoever looks into files. It does so in a sandbox: the file is somebody else's."""

    async def inspect(self, path: Path, kind: str, media: str) -> dict[str, Any]:
        """What a file holds, as far as its format tells without running it.

        Args:
            path: the checked content under a name that says nothing; of a model with several files their folder.
            kind: "dataset" or "model".
            media: of a dataset its `Dataset.media`, "" to find that out, too; of a model with one file that file's name,
                otherwise "".

        Returns:
            of a dataset any of ``media``, ``samples``, ``sample_shape``, ``statistics``; of a model any of ``framework``,
            ``input_shape``, ``output_shape``, ``parameters``, ``metadata``. Other keys are left out.

        Raises BadInput (no such file, or damaged), TooLarge, NoIsolation: the message is kept with the record.
        """
        ...


class Notary(Protocol):
    """What the hub asks of whoever records: the verification service, here or elsewhere.

    Called for promises, in the order of what happened to one asset, again and again until it answers: all of it is idempotent.
    """

    async def record(self, asset: Dataset | Model, inputs: Sequence[Dataset | Model]) -> str:
        """Have the ledger say what this record says: a contract deployed if there is none, a result recorded if a training
        has ended, a snapshot's claim in a batch that is anchored. Returns the address of the contract once that is final.

        Raises Temporary (the ledger is behind or gone: ask again), Conflict (it says something else already).
        """
        ...

    async def revoke(self, asset: Dataset | Model, reason: str) -> None:
        """Have the ledger say that it is not to be relied upon any more. Raises Temporary."""
        ...

    async def recorded(self, asset: Dataset | Model) -> str:
        """The digest that the ledger itself holds of an asset's content: of a dataset its ``sha256``, of a model its
        ``digest``. Raises Temporary, UnknownContract (nothing is anchored), Tampered (contract and record disagree)."""
        ...
