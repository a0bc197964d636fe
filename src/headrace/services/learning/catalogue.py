"""Everything that answers under a name: online models and deployments, applied from one file and taken out by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headrace.access import Principal
from headrace.errors import BadSpec, Problem
from headrace.services.learning.deployed.service import Deployments, Prepared
from headrace.services.learning.service import LearningService
from headrace.spec import DeploymentDocument, Document


@dataclass
class Catalogue:
    """Applies and deletes; one change at a time."""

    learning: LearningService
    deployments: Deployments

    def __post_init__(self) -> None:
        self._changing = asyncio.Lock()

    async def apply(
        self, documents: Sequence[Document | DeploymentDocument], files: dict[str, str], who: Principal | None
    ) -> dict[str, str]:
        """Take all into service, or none: name -> created, changed or unchanged. Raises what `LearningService.apply` and
        `Deployments.prepare` do."""
        async with self._changing:
            try:
                online, changes, prepared = await self._checked(documents, files, who, dry=False)
                before = dict(self.deployments.known)
                await self.deployments.commit(prepared)
                try:
                    if online:
                        changes |= await self.learning.apply(online, files, who)
                except BaseException:
                    await self.deployments.revert(prepared, before)
                    raise
            finally:
                await self.deployments.sweep()
        return {one.spec.name: changes[one.spec.name] for one in documents}

    async def diff(
        self, documents: Sequence[Document | DeploymentDocument], files: dict[str, str], who: Principal | None
    ) -> dict[str, str]:
        """What `apply` would do, without doing it. Raises what it raises."""
        _, changes, _ = await self._checked(documents, files, who, dry=True)
        return {one.spec.name: changes[one.spec.name] for one in documents}

    async def _checked(
        self,
        documents: Sequence[Document | DeploymentDocument],
        files: dict[str, str],
        who: Principal | None,
        *,
        dry: bool,
    ) -> tuple[list[Document], dict[str, str], Prepared]:
        """(the online models, what each document changes, the deployments ready to be put into service)."""
        online = [one for one in documents if isinstance(one, Document)]
        deployed = [one for one in documents if isinstance(one, DeploymentDocument)]
        problems = _taken(online, "deployed", self.deployments.known.__contains__)
        problems += _taken(deployed, "an online model", self.learning.views.__contains__)
        if problems:
            raise BadSpec(problems)
        changes = await self.learning.diff(online, files, who) if online else {}
        prepared = await self.deployments.prepare(deployed, who, dry=dry) if deployed else Prepared({}, [])
        return online, {**changes, **prepared.changes}, prepared

    async def delete(self, name: str) -> None:
        """Take one out of service. Raises UnknownModel, StorageUnavailable."""
        async with self._changing:
            if name in self.deployments.known:
                await self.deployments.delete(name)
            else:
                await self.learning.delete(name)


def _taken(
    documents: Sequence[Document] | Sequence[DeploymentDocument],
    what: str,
    taken: Callable[[str], bool],
) -> list[Problem]:
    return [
        one.problem(
            ("metadata", "name"),
            f"{one.spec.name!r} is {what}; choose another name, or `headrace delete {one.spec.name}` first",
        )
        for one in documents
        if taken(one.spec.name)
    ]
