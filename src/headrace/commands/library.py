"""Registered datasets and models for commands that work on this machine: fetched, checked, and gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.assets import Dataset, Model
from headrace.commands.calling import call, fail, quoted
from headrace.commands.fetching import download, file_path, inside
from headrace.commands.records import not_gone


class HttpLibrary:
    """What a platform's hub has, as `headrace.evaluation.registered.Library`.

    Args:
        url: of the platform.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def dataset(self, id: str) -> Iterator[tuple[Dataset, Path]]:
        """The record and its file."""
        one = call(self._url, "GET", f"/datasets/{quoted(id)}")
        not_gone(one)
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            target = Path(folder) / inside(one["filename"]).name
            download(self._url, f"/datasets/{quoted(id)}/content", one["stored"], target, force=False)
            yield Dataset.model_validate(one), target

    @contextmanager
    def model(self, id: str) -> Iterator[tuple[Model, Path, Path | None]]:
        """The record, a folder with its files, and the code of its recipe."""
        one = call(self._url, "GET", f"/models/{quoted(id)}")
        not_gone(one)
        if not one["files"]:
            fail(f"{id} has no files you may read: its state is {one['state']}")
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            files = Path(folder) / "files"
            for file in one["files"]:
                place = files / inside(file["path"])
                download(self._url, file_path(id, file["path"]), file["stored"], place, force=False)
            code = Path(folder) / "code" if one["recipe"] else None
            if code is not None:
                download(self._url, f"/models/{quoted(id)}/code", one["recipe"]["code"], code, force=False)
            yield Model.model_validate(one), files, code
