"""Parents of online models: a registered model's weights that the first fit starts from.

They are asked for once, when a spec is applied, with the rights of who applies it; from then on they are in the log like the
user's own Python files. A replay, a restart or a worker asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from headrace.access import Principal
from headrace.disk import write_whole
from headrace.errors import BadInput, BadSpec, CorruptState, FixedLimit, Problem
from headrace.models.backends import BACKENDS, parent
from headrace.models.transformers.pipeline import build
from headrace.services.learning.plan import Plan, shape_from
from headrace.spec import Document
from headrace.states import digest

MOST = 64 * 2**20
"""Bytes of the parents of all models that one `apply` changes: they become one log entry."""


class Weights(Protocol):
    """Whoever keeps registered models."""

    async def weights(self, who: Principal, id: str) -> tuple[str, bytes]:
        """(digest, safetensors bytes) of a model's weights.

        Raises NotFound, Forbidden (also while it is held), Conflict (not trained yet), TooLarge, BadInput (no safetensors).
        """
        ...


class Parent(msgspec.Struct, frozen=True):
    """A parent as an apply entry carries it."""

    id: str
    digest: str
    weights: bytes = b""
    """A safetensors file; b"" once it lies in the folder of the model's code."""

    @property
    def bare(self) -> Parent:
        """Without its bytes."""
        return Parent(self.id, self.digest)


async def fetch(documents: Iterable[Document], source: Weights | None, who: Principal | None) -> dict[str, Parent]:
    """Name of each model that has a parent -> the parent. Raises BadSpec, FixedLimit, and what `Weights` raises."""
    found: dict[str, Parent] = {}
    total = 0
    for document in documents:
        if not (id := document.spec.parent):
            continue
        if source is None or who is None:
            message = "there is nobody here to ask for registered models; apply it on a platform (`headrace up`)"
            raise BadSpec([document.problem(("parent",), message)])
        name, weights = await source.weights(who, id)
        total += len(weights)
        if total > MOST:
            raise FixedLimit(what="what the models of this file start from", size=total, limit=MOST)
        found[document.spec.name] = Parent(id, name, weights)
    return found


def misfits(documents: Iterable[Document], parents: Mapping[str, Parent]) -> list[Problem]:
    """Where a parent's weights do not fit the network. A user's own module is made, and checked, by its worker alone."""
    problems = []
    for document in documents:
        found = parents.get(document.spec.name)
        if found is not None and found.weights:
            try:
                _fit(Plan(document.spec), found.weights)
            except BadInput as error:
                problems.append(document.problem(("parent",), f"{found.id} cannot be started from: {error}"))
    return problems


def _fit(plan: Plan, weights: bytes) -> None:
    arrays, backend = parent.read(weights), plan.spec.backend
    shape, _ = shape_from(plan, build(plan.features, plan.context))
    wanted = BACKENDS.find(backend.name).tensors(BACKENDS.params(backend.name, backend.params), shape)
    if wanted is not None:
        parent.fit(arrays, wanted)


def put(found: Parent, folder: Path) -> None:
    """The weights, whole, in the folder of a model's code."""
    path = folder / parent.FILE
    if found.weights and not (path.is_file() and digest(path.read_bytes()) == found.digest):
        write_whole(path, found.weights, mode=0o644)  # as the code beside it: read in a sandbox, too


def full(found: Parent | None, folder: str) -> Parent | None:
    """A parent with its bytes, from the folder of the code of a model that has it. Raises CorruptState."""
    if found is None or found.weights:
        return found
    weights = parent.weights(folder)
    if digest(weights) != found.digest:
        raise CorruptState(
            detail=f"the weights of {found.id} in {folder} are damaged; a restart of the platform writes them again"
        )
    return Parent(found.id, found.digest, weights)


def lent(documents: Sequence[Document], known: Iterable[tuple[Parent | None, str]]) -> dict[str, Parent]:
    """Parents of candidates that some model in service has, too: nobody needs to be asked for them.

    Args:
        known: (parent, code folder) of the models in service.
    """
    have = {found.id: (found, folder) for found, folder in known if found is not None}
    made = {}
    for document in documents:
        if document.spec.parent in have and (whole := full(*have[document.spec.parent])):
            made[document.spec.name] = whole
    return made
