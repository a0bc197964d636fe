"""Bundles for tests: of each kind of asset, on a `PaperLedger`, by companies whose keys follow from their names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from headrace import merkle
from headrace.assets import Dataset, Model, OutputFile, Recipe, Snapshot, Stored
from headrace.claims import canonical, claim_of, digest, digest_of, result_claim, sealed_claim, signed
from headrace.services.verification.bundles import Source, write
from headrace.services.verification.knowing import Pins
from headrace.services.verification.sayings import Inclusion, Name, Opening, Saying, reason_text
from headrace.services.verification.sealing import encrypted
from headrace.services.verification.signing import Signer
from headrace.trust.ledgers import Act, Anchor, Deploy, Record, Revoke
from tests.paper_ledger import PaperLedger

KEY = bytes(range(32))
CSV = b"time,power\n" + b"".join(b"%d,%d\n" % (hour, hour * 7 % 24) for hour in range(48))


def signer(company: str) -> Signer:
    """A company's signing key."""
    seed = int.from_bytes(hashlib.sha256(f"signer of {company}".encode()).digest()[:30], "big") + 1
    return Signer(ec.derive_private_key(seed, ec.SECP256R1()))


def stored(data: bytes) -> Stored:
    """What a content is known by."""
    tree = merkle.Tree()
    tree.update(data)
    return Stored(size=len(data), sha256=digest(data), root=merkle.named(tree.root()))


class Acting(Protocol):
    """A ledger that evidence is had from."""

    name: str
    operator: str

    def do(self, company: str, act: Act) -> tuple[Any, str]:
        """What its evidence is asked for with, and the contract."""
        ...

    def evidence(self, index: Any) -> dict[str, Any]:
        """Of that act."""
        ...


@dataclass
class Made:
    """What a bundle is made of, and where it goes."""

    folder: Path
    company: str = "acme"
    ledger: Acting = field(default_factory=PaperLedger)
    names_signer: bool = True
    sayings: dict[Name, Saying] = field(default_factory=dict)
    files: list[Source] = field(default_factory=list)
    index: dict[Name, Any] = field(default_factory=dict)
    contract: str = ""

    def put(self, **contents: bytes) -> list[OutputFile]:
        """Write files; ``weights__bin=`` is weights.bin."""
        for name, data in contents.items():
            path = name.replace("__", ".").replace("_0_", "/")
            place = self.folder / digest(data).removeprefix("sha256:")
            place.write_bytes(data)
            self.files.append(Source(OutputFile(path=path, stored=stored(data)), place))
        return [one.file for one in self.files]

    def deploy(self, asset: Dataset | Model) -> None:
        """A contract with its claim, sealed if it is confidential."""
        text = self._signed(claim_of(asset))
        opening = None
        if asset.confidential:
            opening = self._sealed(asset, text)
        recorded = opening.recorded if opening else text
        kind = "dataset" if isinstance(asset, Dataset) else "model"
        self.index["claim"], self.contract = self.ledger.do(self.company, Deploy(kind, recorded))  # type: ignore[arg-type]
        self.sayings["claim"] = Saying(text, {}, opening=opening)

    def record(self, model: Model) -> None:
        """Its result."""
        text = canonical(result_claim(model))
        opening = self._sealed(model, text) if model.confidential else None
        recorded = opening.recorded if opening else text
        self.index["result"], _ = self.ledger.do(self.company, Record(self.contract, recorded))
        self.sayings["result"] = Saying(text, {}, opening=opening)

    def anchor(self, model: Model, others: int = 4, place: int = 2) -> None:
        """Its claim in a batch with others."""
        text = self._signed(claim_of(model))
        leaves = [merkle.leaf(b"another claim %d" % one) for one in range(others)]
        leaves.insert(place, merkle.leaf(text))
        act = Anchor(merkle.root(leaves), len(leaves))
        self.index["claim"], self.contract = self.ledger.do(self.company, act)
        self.sayings["claim"] = Saying(text, {}, Inclusion(place, len(leaves), merkle.path(leaves, place)))

    def revoke(self, reason: str) -> None:
        """Its contract; what has none of its own, by a leaf of a batch."""
        if self.sayings["claim"].inclusion:
            claim = json.loads(self.sayings["claim"].text)
            text = canonical({"schema": "headrace/revocation/1", "id": claim["id"], "reason": reason})
            leaves = [merkle.leaf(text), merkle.leaf(b"another")]
            self.index["revocation"], _ = self.ledger.do(self.company, Anchor(merkle.root(leaves), 2))
            self.sayings["revocation"] = Saying(text, {}, Inclusion(0, 2, merkle.path(leaves, 0)))
            return
        self.index["revocation"], _ = self.ledger.do(self.company, Revoke(self.contract, reason))
        self.sayings["revocation"] = Saying(reason_text(reason), {})

    def said(self, without: Sequence[Name] = ()) -> dict[Name, Saying]:
        """With the evidence of the ledger as it is now."""
        return {
            name: Saying(one.text, self.ledger.evidence(self.index[name]), one.inclusion, one.opening)
            for name, one in self.sayings.items()
            if name not in without
        }

    def write(self, name: str = "asset.bundle", without: Sequence[Name] = ()) -> Path:
        """The bundle."""
        path = self.folder / name
        write(path, self.said(without), self.files, signer(self.company))
        return path

    @property
    def pins(self) -> Pins:
        """Both its company and the operator of its ledger."""
        return Pins({signer(self.company).public.fingerprint: self.company}, {self.ledger.operator: self.ledger.name})

    def _signed(self, claim: dict[str, object]) -> bytes:
        return canonical(signed(claim, signer(self.company).public.fingerprint) if self.names_signer else claim)

    def _sealed(self, asset: Dataset | Model, text: bytes) -> Opening:
        ciphertext = encrypted(KEY, text, asset.id)
        return Opening(self._signed(sealed_claim(asset, digest(ciphertext))), ciphertext, KEY)


def dataset(folder: Path, company: str = "acme", **more: object) -> Made:
    """A dataset of one file. `more` as in `Made`, and ``data``, ``confidential``."""
    data, confidential = more.pop("data", CSV), more.pop("confidential", False)
    made = Made(folder, company, **more)  # type: ignore[arg-type]
    (file,) = made.put(power__csv=data)  # type: ignore[arg-type]
    made.deploy(
        Dataset.model_validate({
            "id": f"ds_{company}", "company": company, "name": "power", "created_ms": 1, "created_by": "ann", "media": "csv",
            "filename": "power.csv", "stored": file.stored, "samples": 48, "sample_shape": [2],
            "statistics": {"power": {"mean": 11.5, "note": "kW"}}, "confidential": confidential,
        })
    )  # fmt: skip
    return made


def model(folder: Path, company: str = "acme", **more: object) -> Made:
    """A model that was trained from a recipe: claim and result, three files. `more` as above, and ``weights``, ``id``."""
    weights, confidential = more.pop("weights", b"weights"), more.pop("confidential", False)
    id = more.pop("id", f"md_{company}")
    made = Made(folder, company, **more)  # type: ignore[arg-type]
    files = made.put(weights__bin=weights, config_0_shape__json=b'{"in": 36}', empty__txt=b"")  # type: ignore[arg-type]
    recipe = Recipe(code=stored(b"code of " + company.encode()), parameters={"epochs": 20}, datasets=["ds_1"])
    asset = Model.model_validate({
        "id": id, "company": company, "name": "forecast", "created_ms": 2, "created_by": "ann", "state": "registered",
        "recipe": recipe, "datasets": ["ds_1"], "confidential": confidential,
    })  # fmt: skip
    made.deploy(asset)
    trained = {"files": files, "digest": digest_of(files), "job": "jb_1", "metrics": {"mse": 0.009}, "parameters": 36}
    made.record(asset.model_copy(update=trained))
    return made


def snapshot(folder: Path, company: str = "acme", **more: object) -> Made:
    """What an online model published, in a batch. `more` as in `Made`."""
    made = Made(folder, company, **more)  # type: ignore[arg-type]
    files = made.put(state__bin=b"learned")
    of = Snapshot(
        model="pv", generation="g1", spec=digest(b"spec"), published_ms=5, first_position=1, last_position=9, records=9,
        root=digest(b"root"), environment=digest(b"environment"),
    )  # fmt: skip
    made.anchor(
        Model(
            id=f"md_{company}", company=company, name="pv", created_ms=3, created_by="pv", state="snapshot",
            files=files, digest=digest_of(files), snapshot=of,
        )
    )  # fmt: skip
    return made


KINDS: dict[str, Callable[..., Made]] = {
    "dataset": dataset,
    "model": model,
    "snapshot": snapshot,
    "confidential dataset": partial(dataset, confidential=True),
    "confidential model": partial(model, confidential=True),
}
