"""What a file holds, found after its registration by programs that run in a sandbox; a failure is a remark, no obstacle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from headrace.assets import Dataset
from headrace.errors import BadInput, HeadraceError, Temporary, TooLarge
from headrace.services.sharing import Inspector
from headrace.services.sharing.contents import Contents
from headrace.services.sharing.fence import Asset, put, unfenced
from headrace.services.sharing.hub import Hub
from headrace.services.sharing.promises import Promise, kept

TRIES = 3
"""Begun so often without an answer: perhaps it takes the platform with it, and it is left alone."""
LARGEST = 2**20
"""Bytes of an answer, as JSON."""
DATASET = ("media", "samples", "sample_shape", "statistics")
MODEL = ("framework", "input_shape", "output_shape", "parameters", "metadata")
UNREADABLE = "unreadable"
"""Key of a model's metadata: why nothing could be found out."""


class Inspecting:
    """Keeps promises of the kind "inspect"."""

    def __init__(self, hub: Hub, contents: Contents, inspector: Inspector) -> None:
        self._hub, self._contents, self._inspector = hub, contents, inspector

    async def inspect(self, promise: Promise) -> None:
        """Look into one asset, and write down what was found or why nothing was."""
        asset = await self._hub.book.read(lambda connection: unfenced(connection, promise.asset))
        changed: dict[str, Any]
        try:
            if asset is None or asset.deleted_ms is not None:
                changed = {}
            elif promise.attempts >= TRIES:
                raise BadInput(detail=f"looking into it was begun {promise.attempts} times and gave no answer")
            else:
                async with self._path(asset, promise) as (path, kind, media):
                    changed = _found(asset, await self._inspector.inspect(path, kind, media))
        except Temporary:
            raise
        except (HeadraceError, ValueError) as error:
            changed = _failed(asset, str(error))

        def write(connection: Connection) -> None:
            now = unfenced(connection, promise.asset)
            if now is not None and now.deleted_ms is None:
                put(connection, now.model_copy(update=_fresh(now, changed)))
            kept(connection, promise.id)

        await self._hub.book.write(write)
        self._hub.nudge()  # now it can be recorded

    @contextlib.asynccontextmanager
    async def _path(self, asset: Asset, promise: Promise) -> AsyncIterator[tuple[Path, str, str]]:
        if isinstance(asset, Dataset):
            async with self._hub.artifacts.local(asset.company, asset.stored) as path:
                yield path, "dataset", str(promise.detail.get("media", ""))
        elif len(asset.files) == 1:
            async with self._hub.artifacts.local(asset.company, asset.files[0].stored) as path:
                yield path, "model", asset.files[0].path
        else:
            async with self._contents.folder(asset.company, asset.files) as path:
                yield path, "model", ""


def _found(asset: Asset, answer: dict[str, Any]) -> dict[str, Any]:
    """The wanted keys of an answer, checked: it comes from a program that read somebody's file."""
    size = len(json.dumps(answer, allow_nan=False))
    if size > LARGEST:
        raise TooLarge(what="what was found in it", size=size, limit=LARGEST, setting="nothing")
    if isinstance(asset, Dataset) and answer.get("error"):
        media = str(Dataset.model_validate({**asset.model_dump(), "media": answer["media"]}).media)
        return {"media": media, **_failed(asset, str(answer["error"]))}
    wanted = DATASET if isinstance(asset, Dataset) else MODEL
    found = {name: answer[name] for name in wanted if answer.get(name) is not None}
    if isinstance(asset, Dataset):
        found |= {"statistics_state": "done", "statistics_error": ""}
    checked = type(asset).model_validate({**asset.model_dump(), **found})
    return {name: getattr(checked, name) for name in found}


def _failed(asset: Asset | None, reason: str) -> dict[str, Any]:
    if isinstance(asset, Dataset):
        return {"statistics_state": "failed", "statistics_error": reason[:2000]}
    return {"metadata": {UNREADABLE: reason[:2000]}}


def _fresh(asset: Asset, changed: dict[str, Any]) -> dict[str, Any]:
    """A model keeps what its training said of it: the file only adds to that."""
    if isinstance(asset, Dataset):
        return changed
    empty = {name: value for name, value in changed.items() if getattr(asset, name) in (None, "")}
    return {**empty, "metadata": {**changed.get("metadata", {}), **asset.metadata}}
