"""Bills of materials: CycloneDX 1.6 (ECMA-424, 1st edition) with the ML part, from the records a model card is made of.

Plain JSON: the Python library of CycloneDX knows no model cards and no datasets. Its validator checks, in tests, what is made
here.
A bill is a function of the records: no clock, and its serial number is derived from what it says.
"""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

from headrace import __version__
from headrace.assets import Dataset, Model, OutputFile, Stored, revoked
from headrace.claims import canonical, digest, kind_of
from headrace.services.verification.about import About
from headrace.services.verification.cards import KINDS, packages, parameters_of, unknown

MEDIA = "application/vnd.cyclonedx+json; version=1.6"
NAMESPACE = uuid.UUID("5d0f9a0e-6a55-4cf1-8f2b-0d6a0c6c1b7e")
"""Of serial numbers; any constant will do."""
Part = dict[str, Any]


def bom(about: About) -> Part:
    """The bill of a dataset or model."""
    asset = about.asset
    made = _model(about, asset) if isinstance(asset, Model) else _dataset(asset)
    kept = [one for one in made["properties"] if one["name"] != "headrace:revoked"]  # the ledger knows better
    made["properties"] = [*kept, *_properties(revoked=about.revoked, made_of_revoked="; ".join(about.above))]
    components = _components(about)
    bill: Part = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "headrace", "version": __version__}]},
            "component": made,
        },
        "components": components,
        "dependencies": _dependencies(asset.id, components),
    }
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest(canonical(bill)))}"}


def _components(about: About) -> list[Part]:
    """What it was made of, and its files."""
    asset = about.asset
    ids = list(dict.fromkeys([*about.trained_on, *about.held_out]))
    found = [_dataset(one) if isinstance(one := about.inputs.get(id), Dataset) else _unseen(id) for id in ids]
    if isinstance(asset, Model):
        if asset.parent:
            parent = about.inputs.get(asset.parent)
            found.append(
                _parent(parent) if isinstance(parent, Model) else _unseen(asset.parent, "machine-learning-model")
            )
        if asset.recipe:
            code = {"type": "file", "bom-ref": f"{asset.id}/code", "name": "code of the recipe"}
            found.append({**code, "hashes": _hashes(asset.recipe.code)})
        found += [_file(asset.id, file) for file in asset.files]
        if versions := packages(asset):
            found.append(_environment(asset))
            found += [_package(name, version) for name, version in sorted(versions.items())]
    return found


def _dependencies(id: str, components: list[Part]) -> list[Part]:
    """The model needs what it was made of, and the environment it was made in has the packages."""
    needs = sorted(one["bom-ref"] for one in components if one["type"] != "library")
    there = sorted(one["bom-ref"] for one in components if one["type"] == "library")
    environment = f"{id}/environment"
    return [
        {"ref": id, "dependsOn": needs},
        *({"ref": ref, "dependsOn": there} if ref == environment else {"ref": ref} for ref in needs),
        *({"ref": ref} for ref in there),
    ]


def _dataset(dataset: Dataset) -> Part:
    contents: Part = {"properties": _properties(samples=dataset.samples, sample_shape=dataset.sample_shape)}
    data: Part = {
        "type": "dataset",
        "name": dataset.name,
        "contents": contents,
        "governance": {"owners": [{"organization": {"name": dataset.company}}]},
    }
    if dataset.confidential:
        data["classification"] = "confidential"
    return {
        **_named("data", dataset),
        "hashes": _hashes(dataset.stored),
        "data": [data],
        "properties": _properties(
            merkle_root=dataset.stored.root,
            contract=dataset.contract,
            anchoring=dataset.anchoring,
            revoked=revoked(dataset),
            size=dataset.stored.size,
        ),
    }


def _model(about: About, model: Model) -> Part:
    return {
        **_named("machine-learning-model", model),
        **({"hashes": _hashes(model.files[0].stored)} if len(model.files) == 1 else {}),
        "modelCard": _card(about, model),
        "properties": _properties(
            kind=KINDS[kind_of(model)],
            digest=model.digest,
            contract=model.contract,
            anchoring=model.anchoring,
            fingerprint=model.fingerprint,
            reproducible=model.reproducible,
            state=model.state,
        ),
    }


def _card(about: About, model: Model) -> Part:
    parameters: Part = {"datasets": [{"ref": id} for id in dict.fromkeys([*about.trained_on, *about.held_out])]}
    if model.framework:
        parameters["architectureFamily"] = model.framework
    for name, shape in (("inputs", model.input_shape), ("outputs", model.output_shape)):
        if shape is not None:
            parameters[name] = [{"format": _format(shape)}]
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": _metrics(model)},
        "considerations": {"technicalLimitations": [*_taken_back(about), *unknown(about)]},
        "properties": _properties(**_settings(model), **_parity(model)),
    }


def _taken_back(about: About) -> list[str]:
    found = [] if about.revoked is None else [f"Revoked by its owner, not to be relied upon any more: {about.revoked}"]
    return found + [f"Made of what was revoked: {one}" for one in about.above]


def _format(shape: list[int]) -> str:
    """
    >>> _format([3, -1]), _format([])
    ('array of shape 3 x any', 'number')
    """
    return f"array of shape {' x '.join('any' if size < 0 else str(size) for size in shape)}" if shape else "number"


def _metrics(model: Model) -> list[Part]:
    found: list[Part] = []
    for name, value in model.metrics.items():
        if not isinstance(value, dict):
            found.append({"type": name, "value": str(value)})
            continue
        later = ((one, figure) for one, figure in value.items() if one not in {"job", "held_for"})
        found += [{"type": one, "value": str(figure), "slice": name} for one, figure in later]
    return found


def _settings(model: Model) -> dict[str, object]:
    if (recipe := model.recipe) is None:
        return {}
    given = {f"parameter:{name}": value for name, value in parameters_of(model).items()}
    return {
        **given,
        **{f"seed:{name}": value for name, value in recipe.seeds.items()},
        "entry_point": recipe.entry_point,
    }


def _parity(model: Model) -> dict[str, object]:
    if (said := model.translation) is None:
        return {}
    found = {f"parity:{name}": value for name, value in said.parity.model_dump(exclude={"constant"}).items()}
    return {
        **found,
        "parity:constant": ", ".join(said.parity.constant or []),
        "translated_from": said.of,
        "exporter": said.exporter,
        "opset": said.opset,
        "dropout": said.dropout,
    }


def _parent(parent: Model) -> Part:
    return {
        **_named("machine-learning-model", parent),
        "properties": _properties(
            digest=parent.digest, contract=parent.contract, state=parent.state, revoked=revoked(parent)
        ),
    }


def _named(kind: str, asset: Dataset | Model) -> Part:
    found: Part = {
        "type": kind,
        "bom-ref": asset.id,
        "name": asset.name or asset.id,
        "supplier": {"name": asset.company},
    }
    return {**found, "description": asset.description} if asset.description else found


def _unseen(id: str, kind: str = "data") -> Part:
    return {"type": kind, "bom-ref": id, "name": id, "description": "gone, or not open to whom this bill was made for"}


def _file(owner: str, file: OutputFile) -> Part:
    found = {"type": "file", "bom-ref": f"{owner}/files/{file.path}", "name": file.path}
    return {**found, "hashes": _hashes(file.stored)}


def _environment(model: Model) -> Part:
    asked = "asked for by its recipe" if not model.environment.get("packages") else "installed"
    if model.translation is not None and not model.environment.get("packages"):
        asked = "that translated and compared it"
    found: Part = {"type": "platform", "bom-ref": f"{model.id}/environment", "name": "environment it was made in"}
    found["description"] = f"its packages are those {asked} there; which of them its code used is not recorded"
    return {**found, "properties": _properties(fingerprint=model.fingerprint)}


def _package(name: str, version: str) -> Part:
    found = {"type": "library", "bom-ref": f"package/{name}", "name": name, "version": version}
    return {**found, "purl": f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version)}"}


def _hashes(stored: Stored) -> list[Part]:
    return [{"alg": "SHA-256", "content": stored.sha256.removeprefix("sha256:")}]


def _properties(**values: object) -> list[Part]:
    """What CycloneDX has no place for, under our own names."""
    known = {name: value for name, value in values.items() if value not in (None, "")}
    return [{"name": f"headrace:{name}", "value": str(value)} for name, value in known.items()]
