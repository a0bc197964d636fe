"""Model cards (M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019) as Markdown, from records alone.

A card says what the records say, as its reader may see them, and what they do not say. It is a function of them: no clock, no
model; nobody has to write it. The same for datasets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from headrace.assets import Dataset, Model, Recipe, revoked
from headrace.claims import kind_of
from headrace.services.verification.about import About

TEXT, ROWS, PACKAGES = 2000, 40, 20
"""Characters of a free text, rows of a table, and packages, in a card."""
KINDS = {
    "dataset": "dataset",
    "model": "model, trained here from a recipe",
    "model_unverified": "model, uploaded as it is: nothing is known of how it was trained",
    "translation": "translation of another model to ONNX",
    "snapshot": "snapshot: what a model that learns online published",
}
CONFIDENTIAL = (
    "**Confidential**: the ledger has only the digest of its encrypted metadata. This card shows them to you because you may see "
    "its record; it is not for others."
)
UNSEEN = (
    "Gone, or not open to you. The claim of what was made of it names it; of the same company's, with its digests, which "
    "whoever may read the claim may read."
)
_SPECIAL = re.compile(r"([\\`*\[\]<>|#~])")


def card(about: About) -> str:
    """The card of a dataset or model."""
    asset = about.asset
    parts = [*_head(about)]
    if isinstance(asset, Dataset):
        parts += ["## Content", *_dataset(asset), *_stream(asset)]
    else:
        parts += [*_model(asset), *_metrics(asset), *_data(about), *_recipe(asset), *_environment(asset)]
        parts += [*_translation(asset), *_snapshot(asset), *_lineage(about)]
    parts += [*_recorded(about), "## What is not known", _bullets(unknown(about))]
    return "\n\n".join(parts) + "\n"


def unknown(about: About) -> list[str]:
    """What the records do not say, and somebody would have to ask for."""
    asset = about.asset
    wrote = "the description above is all they wrote" if asset.description else "they wrote no description"
    found = [
        "Licence, intended use, and what it should not be used for: no record has them. Ask "
        f"{plain(asset.company)}, its owner; {wrote}."
    ]
    if isinstance(asset, Dataset):
        found.append("How its samples were collected, whether they are typical, and whether they are about persons.")
        if asset.statistics is None:
            found.append("Its statistics: it was not looked into, or could not be.")
        return found
    found.append("Whether the data it was trained on are typical of those it is asked about; how it behaves elsewhere.")
    return found + _unknown_of_model(about, asset)


def _unknown_of_model(about: About, model: Model) -> list[str]:
    found = []
    kind = kind_of(model)
    if kind == "model_unverified":
        found.append("How, on which data and with which code it was trained.")
    if kind == "model" and model.files and model.reproducible == "unknown":
        found.append("Whether its recipe gives the same bytes again: nobody has run it twice.")
    if model.reproducible == "never":
        found.append("What its recipe would give another time: it is not deterministic.")
    if kind == "model" and not about.held_out and not any(isinstance(one, dict) for one in model.metrics.values()):
        found.append("How good it is on data it was not trained on: no held-out dataset was named.")
    if model.held_for:
        found.append(f"What it is: held until released by {plain(', '.join(model.held_for))}.")
    missing = [id for id in [*about.trained_on, *about.held_out] if id not in about.inputs]
    if missing:
        found.append(f"{len(missing)} of its datasets: they are gone, or not open to you.")
    return found


def _head(about: About) -> list[str]:
    asset = about.asset
    rows = [
        ("id", code(asset.id)),
        ("what", KINDS[kind_of(asset)]),
        ("owner", plain(asset.company)),
        ("registered", f"{_time(asset.created_ms)} by {plain(asset.created_by)}"),
    ]
    if isinstance(asset, Model):
        rows.append(("state", asset.state))
    found = [f"# {plain(asset.name)}"]
    if asset.deleted_ms is not None:
        found.append(f"**Deleted** {_time(asset.deleted_ms)}: this record is what is left.")
    if about.revoked is not None:
        found.append(f"**Revoked** by its owner, and not to be relied upon any more: {plain(about.revoked)}")
    if about.above:
        found.append(f"**Made of what was revoked**: {plain('; '.join(about.above))}")
    if asset.confidential:
        found.append(CONFIDENTIAL)
    if asset.description:
        found.append(plain(asset.description))
    return [*found, _table(("", ""), rows)]


def _model(model: Model) -> list[str]:
    rows = [
        ("framework", plain(model.framework)),
        ("input", _shape(model.input_shape)),
        ("output", _shape(model.output_shape)),
        ("parameters", _number(model.parameters)),
        ("digest", code(model.digest)),
    ]
    files = [(code(file.path), f"{file.stored.size:,}", code(file.stored.sha256)) for file in model.files]
    known = [row for row in rows if row[1]]
    return ["## Model", _table(("", ""), known) if known else "No content (yet) that you may see."] + (
        [_table(("file", "bytes", "sha256"), files)] if files else []
    )


def _metrics(model: Model) -> list[str]:
    own = [(plain(name), _figure(value)) for name, value in model.metrics.items() if not isinstance(value, dict)]
    later = [
        (code(dataset), plain(name), _figure(value))
        for dataset, values in model.metrics.items()
        if isinstance(values, dict)
        for name, value in values.items()
        if name not in {"job", "held_for"}
    ]
    if not own and not later:
        return ["## Metrics", "None."]
    found = ["## Metrics"]
    if own:
        found += [_measured_by(model), _table(("metric", "value"), own)]
    return found + ([_table(("evaluated later on", "metric", "value"), later)] if later else [])


def _measured_by(model: Model) -> str:
    if (said := model.translation) is None:
        return "As its own code measured them."
    return (
        f"Of the original {code(said.of)}, whose card names the data, as its own code measured them. The translation itself was "
        "compared only."
    )


def _data(about: About) -> list[str]:
    found = ["## Data"]
    for title, ids in (("trained on", about.trained_on), ("measured on, held out", about.held_out)):
        for id in ids:
            given = about.inputs.get(id)
            found.append(f"### {code(id)}, {title}")
            found += _input(given) if isinstance(given, Dataset) else [UNSEEN]
    if len(found) > 1:
        return found
    streams = isinstance(about.asset, Model) and about.asset.snapshot is not None
    return [*found, "Readings of streams, see *Learned online*." if streams else "No dataset is recorded."]


def _input(dataset: Dataset) -> list[str]:
    rights = f"{plain(dataset.company)}'s" + (", confidential" if dataset.confidential else "")
    return [f"{plain(dataset.name)}. {plain(dataset.description)}".strip(), f"Rights: {rights}.", *_dataset(dataset)]


def _dataset(dataset: Dataset) -> list[str]:
    rows = [
        ("media", dataset.media),
        ("samples", _number(dataset.samples)),
        ("shape of a sample", _shape(dataset.sample_shape)),
        ("bytes", f"{dataset.stored.size:,}"),
        ("sha256", code(dataset.stored.sha256)),
        ("Merkle root", code(dataset.stored.root)),
        ("contract", code(dataset.contract)),
    ]
    return [_table(("", ""), [row for row in rows if row[1]]), *_statistics(dataset.statistics or {})]


def _statistics(found: dict[str, Any]) -> list[str]:
    """A row for each column, feature or channel."""
    columns = list(found.get("columns") or found.get("features") or [])
    for mode in (found.get("modes") or {}).values():
        columns += [{"type": "channel, 0 to 255", **one} for one in mode["channels"]]
    rows = [
        (
            plain(one.get("name", place)),
            plain(one.get("type", "")),
            *(_figure(one.get(name)) for name in ("missing", "min", "max", "mean", "std")),
        )
        for place, one in enumerate(columns)
    ]
    return [_table(("column", "type", "missing", "least", "most", "mean", "std"), rows)] if rows else []


def _stream(dataset: Dataset) -> list[str]:
    if (stream := dataset.stream) is None:
        return []
    rows = [
        ("topic", plain(stream.topic)),
        ("from", _time(stream.from_ms)),
        ("to", _time(stream.to_ms)),
        ("records", f"{stream.records:,}"),
        ("log positions", f"{stream.first_position} to {stream.last_position}"),
        ("Merkle root", code(stream.root)),
    ]
    return ["## Stream it was made of", _table(("", ""), rows)]


def _recipe(model: Model) -> list[str]:
    if (recipe := model.recipe) is None:
        return []
    rows = [
        ("code", code(recipe.code.sha256)),
        ("entry point", code(recipe.entry_point)),
        ("deterministic", "yes" if recipe.deterministic else "no, as its owner says"),
        (
            "reproducible",
            model.reproducible + (f": {plain(model.reproducible_note)}" if model.reproducible_note else ""),
        ),
    ]
    given = [(plain(name), _figure(value)) for name, value in (*parameters_of(model).items(), *recipe.seeds.items())]
    found = ["## Recipe", _table(("", ""), rows)]
    return [*found, _table(("parameter or seed", "value"), given)] if given else found


def parameters_of(model: Model) -> dict[str, Any]:
    """Hyper-parameters in force: those of its recipe, and those its code says it used, defaults of its own among them."""
    used = model.metadata.get("hyperparameters")
    asked = model.recipe.parameters if model.recipe else {}
    return {**asked, **(used if isinstance(used, dict) else {})}


def packages(model: Model) -> dict[str, str]:
    """package -> version of the environment it was trained in, or of what the recipe asked for, or what translated it."""
    found = model.environment.get("packages")
    if isinstance(found, dict) and found:
        return {str(name): str(version) for name, version in found.items()}
    if model.translation is not None:
        return model.translation.versions
    return asked_for(model.recipe)


def asked_for(recipe: Recipe | None) -> dict[str, str]:
    """package -> version a recipe asks for."""
    return recipe.environment.requires if recipe else {}


def _environment(model: Model) -> list[str]:
    known = [
        (plain(name), _figure(value))
        for name, value in {"fingerprint": model.fingerprint, **model.environment}.items()
        if isinstance(value, bool | int | float | str) and value != "" and name != "digest"
    ]
    versions = [(plain(name), plain(version)) for name, version in packages(model).items()]
    found = ["## Environment"] + ([_table(("", ""), known)] if known else [])
    if len(versions) > PACKAGES:
        found.append(f"{len(versions)} packages; `headrace bom {model.id}` lists them.")
    elif versions:
        found.append(_table(("package", "version"), versions))
    return found if len(found) > 1 else []


def _translation(model: Model) -> list[str]:
    if (said := model.translation) is None:
        return []
    parity = said.parity
    rows = [
        ("of", f"{code(said.of)}, {plain(said.framework)}, {code(said.digest)}"),
        ("by", f"{plain(said.exporter)}, opset {said.opset}, dropout {said.dropout}"),
        ("types", plain(said.dtypes)),
        (
            "asked the same",
            f"{parity.inputs} inputs: {parity.real or 'none'} recorded, {parity.edge} edge cases, {parity.made} made",
        ),
        (
            "worst difference",
            f"{parity.worst:.3g} where answers go up to {parity.scale:.3g}; {parity.tolerance:.3g} allowed",
        ),
        ("mean difference", f"{parity.mean:.3g}"),
    ]
    doubts = [f"**{plain(doubt)}.**" for doubt in parity.doubts()]
    return ["## Translation", *doubts, _table(("", ""), rows)]


def _snapshot(model: Model) -> list[str]:
    if (said := model.snapshot) is None:
        return []
    decision = model.metadata.get("decision")
    reason = decision.get("reason", "") if isinstance(decision, dict) else ""
    rows = [
        ("online model", plain(said.model)),
        ("key", plain(said.key)),
        ("spec", code(said.spec)),
        ("published", f"{_time(said.published_ms)} (time of the readings)"),
        ("because", plain(reason if isinstance(reason, str) else "")),
        ("topics", plain(", ".join(said.topics))),
        ("learned from", f"{said.records:,} records, log positions {said.first_position} to {said.last_position}"),
        ("Merkle root", code(said.root)),
        ("environment", code(said.environment)),
    ]
    return ["## Learned online", _table(("", ""), [row for row in rows if row[1]])]


def _lineage(about: About) -> list[str]:
    model = about.asset
    assert isinstance(model, Model)
    lines = [f"made of dataset {code(id)}" for id in about.trained_on]
    if model.parent:
        parent = about.inputs.get(model.parent)
        lines.append(f"made of model {code(model.parent)}" + (f" ({plain(parent.name)})" if parent else ""))
    if (online := model.snapshot) is not None:
        lines.append(f"made of the streams {plain(', '.join(online.topics))}")
        lines.append(f"made by online model {plain(online.model)}")
    if model.job:
        lines.append(f"made by job {code(model.job)}")
    said = f"`headrace lineage {model.id}` shows all of it, and what was made of this."
    return ["## Lineage", *([_bullets(lines)] if lines else []), said]


def _recorded(about: About) -> list[str]:
    asset = about.asset
    note = f" ({plain(asset.anchoring_note)})" if asset.anchoring_note else ""
    rows = [
        ("anchoring", f"{asset.anchoring}{note}"),
        ("contract", code(asset.contract)),
        ("ledger", plain(about.chain)),
    ]
    for id, one in about.inputs.items():
        taken = "" if revoked(one) is None else ", revoked"
        rows.append((f"contract of {code(id)}", (code(one.contract) or "none") + taken))
    check = f"This card checks nothing: `headrace verify` does, and `headrace contract {asset.id}` shows what the ledger says."
    return ["## Recorded", _table(("", ""), [row for row in rows if row[1]]), check]


def plain(value: object) -> str:
    """Any text as words of Markdown: one line, no markup of its own, of bounded length."""
    text = " ".join(str(value).split())
    if len(text) > TEXT:
        text = f"{text[:TEXT]} …"
    return _SPECIAL.sub(r"\\\1", text)


def code(value: str) -> str:
    """An id, digest or path; empty stays empty."""
    text = " ".join(value.split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    every = list(rows)
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, every[:ROWS])]
    text = "\n".join(lines)
    return text if len(every) <= ROWS else f"{text}\n\n… and {len(every) - ROWS} more."


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _figure(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else plain(value)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _shape(shape: list[int] | None) -> str:
    return "" if shape is None else " x ".join(map(str, shape)) or "a number"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
