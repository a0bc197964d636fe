"""What the original's calls are here: which functions of the services they come down to."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from typing import Any, Literal, TypeAlias, TypeVar

from headrace.access import Principal
from headrace.assets import Dataset, Model, Plain, Stored, new_id
from headrace.claims import LEVELS
from headrace.errors import BadInput, Conflict, NotFound, Unsupported
from headrace.original import contracts
from headrace.services.sharing.intake import Sent
from headrace.services.sharing.registering import Waiting
from headrace.services.sharing.requests import NewDataset, NewModel, Take, plain_name
from headrace.services.sharing.service import SharingService
from headrace.services.training.service import TrainingService
from headrace.services.verification.declaring import Declared, Kind
from headrace.services.verification.service import VerificationService

LAUNCHER = '''"""Runs the program `train` of the image, which is all the code of this model."""

import os
import shutil
import sys

if shutil.which("train") is None:
    sys.exit("the image has no program `train` on its PATH, which is what trains a model that was registered by its image alone")
os.execvp("train", ["train"])
'''
"""The code of a model that has none but its image. The files it is to write go where every job's go (docs/training.md)."""
What: TypeAlias = Literal["dataset", "model"]
DESCRIPTION = 3900
"""Characters of metadata that are kept as the description."""
DECLARED = "registered by its contract first"
New = TypeVar("New", NewDataset, NewModel)


class Original:
    """The original platform's services, as ours do them. `who` is always an open platform's anybody."""

    def __init__(self, sharing: SharingService, training: TrainingService, verification: VerificationService) -> None:
        self.sharing, self.training, self.verification = sharing, training, verification

    # -- registering

    async def declare(self, who: Principal, kind: Kind, terms: Plain) -> str:
        """Register the terms of a dataset or model whose content has not come; its id. A contract says
        them, where there is a ledger.

        Raises NotFound: the dataset it is to be trained on is not registered.
        """
        if isinstance(terms, contracts.ModelContract):
            dataset = terms.data_params.dataset_id
            if not await self._waiting(who, "dataset", dataset):
                await self.sharing.dataset(who, dataset)
        id = new_id("ds" if kind == "dataset" else "md")
        declaring = self.verification.declaring
        noted = await declaring.note(who, kind, _said(terms), of=id)
        with contextlib.suppress(Unsupported):  # there is no ledger, and its operator knows
            await declaring.deploy(who, noted)
        return id

    async def dataset(self, who: Principal, sent: Sent) -> Dataset:
        """Register the chapter's form of a dataset."""
        new = _new(NewDataset, _name(sent.filename, "dataset"), _about(sent.metadata))
        return await self.sharing.register.dataset(who, new, sent.filename, sent.take)

    async def model(self, who: Principal, sent: Sent) -> Model:
        """Register the chapter's form of a model: its code, which is trained at once."""
        said = contracts.chapter_model(sent.metadata)
        params, dataset = said.model_params, said.data_params.dataset_id if said.data_params else ""
        if dataset:
            await self.present(who, "dataset", dataset)
        recipe = contracts.recipe_of(params.params, params.seeds, params.train_image, dataset)
        new = _new(NewModel, _name(sent.filename, "model"), _about(sent.metadata))
        return await self.sharing.register.recipe(who, new, recipe, sent.take)

    async def fill(self, who: Principal, kind: What, id: str, sent: Sent) -> Dataset | Model:
        """Take in the content of something that was declared. Raises Conflict: it is there, or is not what was announced."""
        declared = await self._waiting(who, kind, id)
        if declared is None:
            there = await self._record(who, kind, id)
            raise Conflict(detail=f"{there.id} is registered, and what is registered does not change: register another")
        terms = declared.terms
        waiting = Waiting(id, contracts.sha256_of(terms.get("hash") or terms.get("model_params", {}).get("res_hash")))
        name = _name(sent.filename, kind)
        if kind == "dataset":
            new = _new(NewDataset, name, DECLARED)
            return await self.sharing.register.dataset(who, new, sent.filename, sent.take, waiting)
        return await self.sharing.register.model(who, _new(NewModel, name, DECLARED), sent.filename, sent.take, waiting)

    # -- training

    async def train(self, who: Principal, id: str, params: dict[str, Any]) -> Model:
        """Have a model trained, once. Raises Conflict: it cannot be, or only with the parameters it was registered with."""
        declared = await self._waiting(who, "model", id)
        if declared is None:
            return await self._again(who, await self.sharing.model(who, id), params)
        if declared.kind == "model_unverified":
            raise Conflict(detail=f"{id} was registered as trained elsewhere: nothing of it is trained here")
        image, dataset = declared.terms["model_params"]["train_image"], declared.terms["data_params"]["dataset_id"]
        await self.present(who, "dataset", dataset)
        if not image:
            raise BadInput(detail=f"{id} names no train_image, and no code came; send its weights: {_how(id)}")
        recipe = contracts.recipe_of(params, None, image, dataset)
        new = _new(NewModel, _name(image, "model"), DECLARED)
        return await self.sharing.register.recipe(who, new, recipe, self._launcher(who), Waiting(id))

    async def _again(self, who: Principal, model: Model, params: dict[str, Any]) -> Model:
        if model.recipe is None:
            raise Conflict(detail=f"{model.id} is {model.state}: it has no recipe that could be trained")
        if params and params != model.recipe.parameters:
            raise Conflict(
                detail=f"{model.id} is trained with the parameters it was registered with; for others register another model"
            )
        if model.state in {"failed", "cancelled"}:
            await self.training.retry(who, model.job)
            return await self.sharing.model(who, model.id)
        return model

    def _launcher(self, who: Principal) -> Take:
        async def take() -> Stored:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(zipfile.ZipInfo("train.py"), LAUNCHER)
            incoming = await self.sharing.artifacts.receive(who.company, new_id("up"))
            await incoming.write(packed.getvalue())
            return await incoming.finish()

        return take

    # -- asking

    async def present(self, who: Principal, kind: What, id: str) -> None:
        """Raises Conflict: it was declared, and its content has not come; NotFound."""
        if await self._waiting(who, kind, id):
            raise Conflict(detail=f"{id} was registered without its content, and waits for it: {_how(id)}")
        await self._record(who, kind, id)

    async def metadata(self, who: Principal, kind: What, id: str) -> dict[str, Any]:
        """The contract of a dataset or model, as it stands. Raises NotFound."""
        if waiting := await self._waiting(who, kind, id):
            return contracts.waiting_metadata(id, waiting)
        record, declared = await self._record(who, kind, id), await self.verification.declaring.of(who, id)
        if isinstance(record, Dataset):
            return contracts.dataset_metadata(record, declared)
        return contracts.model_metadata(record, declared)

    async def verify(self, who: Principal, address: str, hash: str) -> str:
        """Compare a hash with what a contract says; the level this reaches. Raises Conflict: it says another, or none."""
        said = await self.verification.contract(who, address)
        recorded = contracts.hashes_of(said)
        if not recorded:
            raise Conflict(detail=f"{address} says no hash: nothing to compare with (yet)")
        if said["revoked"] is not None:
            raise Conflict(detail=f"{address} is revoked: {said['revoked']}")
        if contracts.bare(hash) not in recorded:
            raise Conflict(detail=f"not verified: {address} says another hash")
        return LEVELS["L0"]

    async def _record(self, who: Principal, kind: What, id: str) -> Dataset | Model:
        return await (self.sharing.dataset(who, id) if kind == "dataset" else self.sharing.model(who, id))

    async def _waiting(self, who: Principal, kind: What, id: str) -> Declared | None:
        """What was declared of something whose content has not come; None: it came, or nothing was declared."""
        try:
            await self._record(who, kind, id)
        except NotFound:
            declared = await self.verification.declaring.of(who, id)
            fits = declared is not None and not declared.came and (declared.kind == "dataset") == (kind == "dataset")
            return declared if fits else None
        return None


def _said(terms: Plain) -> dict[str, Any]:
    return terms.model_dump(mode="json", exclude_none=True)


def _new(kind: type[New], name: str, description: str) -> New:
    return contracts.checked(kind, {"name": name, "description": description})


def _name(filename: str, otherwise: str) -> str:
    return plain_name(filename, otherwise)


def _about(metadata: bytes) -> str:
    """Its description: what it was registered with, whatever that says."""
    said = json.dumps(contracts.free(metadata), sort_keys=True, ensure_ascii=False)
    if len(said) > DESCRIPTION:
        raise BadInput(detail=f"the metadata have {len(said)} characters, and {DESCRIPTION} are kept")
    return f"as registered: {said}"


def _how(id: str) -> str:
    kind = "dataset" if id.startswith("ds_") else "model"
    return f"curl --request PUT --form {kind}=@FILE http://HOST:PORT/{kind}/{id}"
