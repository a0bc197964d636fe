"""Model cards and bills of materials: what they say, to whom, and that bills are what CycloneDX wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.access import Principal
from headrace.assets import Dataset, Environment, Model, OutputFile, Parity, Recipe, Snapshot, Stored, Translation
from headrace.claims import digest
from headrace.errors import NotFound
from headrace.services.verification.about import About
from headrace.services.verification.boms import bom
from headrace.services.verification.cards import card, plain
from tests.hub import ACME, BOLT, CODA, Trainer, dataset, grant, recipe, train, uploaded
from tests.notary import House, Weather, house, impatient

STORED = Stored(size=3, sha256=digest(b"abc"), root=digest(b"root"))
PARITY = Parity(inputs=9, real=5, edge=3, made=1, worst=2e-5, mean=1e-6, scale=255, tolerance=2.5e-3)
SAID = Translation(
    of="md_1", digest=digest(b"1"), framework="torch", exporter="torchscript", opset=17, dtypes="none changed",
    versions={"torch": "2.13.0+cpu", "onnx": "1.20.0"}, parity=PARITY,
)  # fmt: skip
SNAPSHOT = Snapshot(
    model="pv", generation="g1", spec=digest(b"spec"), published_ms=5, first_position=1, last_position=9, records=9,
    root=digest(b"root"), environment=digest(b"environment"),
)  # fmt: skip


def model(**more: Any) -> Model:
    """A record."""
    known = {"id": "md_2", "company": "acme", "name": "net", "created_ms": 0, "created_by": "ann", "state": "uploaded"}
    return Model.model_validate({**known, **more})


def data(**more: Any) -> Dataset:
    """A record."""
    known = {"id": "ds_1", "company": "acme", "name": "roof", "created_ms": 0, "created_by": "ann", "media": "csv"}
    return Dataset.model_validate({**known, "filename": "a.csv", "stored": STORED, **more})


def checked(about: About) -> dict[str, Any]:
    """A bill that CycloneDX's own validator lets pass, strictly."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    made = bom(about)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made))
    assert wrong is None, wrong.data.message
    assert made == bom(about)
    refs = [one["bom-ref"] for one in made["components"]]
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in made["dependencies"]}
    packages = {ref for ref in refs if ref.startswith("package/")}
    assert len(refs) == len(set(refs)) and needs[about.asset.id] == set(refs) - packages
    assert needs.get(f"{about.asset.id}/environment", set()) == packages
    return made


def test_every_kind_has_a_card_and_a_valid_bill() -> None:
    given = Recipe(code=STORED, datasets=["ds_1"], evaluation=["ds_2"], parameters={"rate": 0.1}, parent="md_0")  # type: ignore[call-arg]
    files = [OutputFile(path="a.bin", stored=STORED), OutputFile(path="b/c.txt", stored=STORED)]
    used = {"hyperparameters": {"rate": 0.1, "dropout": 0.25}}  # what its code says, defaults of its own among it
    environment = {"packages": {"torch": "2.13.0+cpu", "Some_Thing": "1!2.0"}, "python": "3.11", "digest": "x"}
    trained = model(
        recipe=given, state="trained", files=files, datasets=["ds_1"], metrics={"mse": 0.25, "ds_2": {"job": "jb_1", "mse": 1}},
        environment=environment, metadata=used, parent="md_0", input_shape=[36], output_shape=[], parameters=1234,
    )  # fmt: skip
    inputs = {
        "ds_1": data(samples=7, statistics={"columns": [{"name": "power", "mean": 1.5}]}),
        "md_0": model(id="md_0"),
    }
    about = About(trained, inputs, "memory ledger")
    text, bill = card(about), checked(about)
    for said in (
        "| power |  |  |  |  | 1.5 |  |",
        "| rate | 0.1 |",
        "| dropout | 0.25 |",
        "1,234",
        "`b/c.txt`",
        "memory ledger",
        "1 of its datasets",
    ):
        assert said in text, said
    assert {"mse"} == {one["type"] for one in _card(bill)["quantitativeAnalysis"]["performanceMetrics"]}
    assert {"pkg:pypi/torch@2.13.0%2Bcpu", "pkg:pypi/some-thing@1%212.0"} <= {
        one.get("purl") for one in bill["components"]
    }
    assert [one["name"] for one in bill["components"] if one["type"] == "data"] == ["roof", "ds_2"]
    assert {"headrace:parameter:rate": "0.1", "headrace:parameter:dropout": "0.25"}.items() <= {
        one["name"]: one["value"] for one in _card(bill)["properties"]
    }.items()
    learned = model(
        state="snapshot", snapshot=SNAPSHOT.model_copy(update={"topics": ["plant/trio"]}), metadata={"decision": {"reason": "11% better"}},
    )  # fmt: skip
    assert _card(bill)["modelParameters"]["inputs"] == [{"format": "array of shape 36"}]
    for asset, said in (
        (model(), "How, on which data and with which code it was trained"),
        (
            model(state="translated", translation=SAID, parent="md_1"),
            "2e-05 where answers go up to 255; 0.0025 allowed",
        ),
        (
            model(state="translated", translation=SAID, parent="md_1", metrics={"mse": 1}),
            f"Of the original `{SAID.of}`, whose card names the data",
        ),
        (
            model(state="translated", translation=blind(), parent="md_1"),
            "**Nothing recorded was compared: all inputs were made up, so it says little of those the model is made for.**",
        ),
        (
            model(state="translated", translation=blind(), parent="md_1"),
            "**The original's answers were all the same (output 'y'): a constant would have passed this comparison.**",
        ),
        (model(state="snapshot", snapshot=SNAPSHOT), "9 records, log positions 1 to 9"),
        (learned, "| because | 11% better |"),
        (learned, "- made of the streams plant/trio"),
        (learned, "Readings of streams, see *Learned online*"),
        (model(confidential=True, deleted_ms=1), "**Confidential**"),
        (data(confidential=True, statistics=None), "Its statistics"),
    ):
        about = About(asset)
        assert said in card(about)
        checked(about)


def blind() -> Translation:
    """What says little, and says so."""
    return SAID.model_copy(update={"parity": PARITY.model_copy(update={"real": 0, "made": 6, "constant": ["y"]})})


def _card(bill: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bill["metadata"]["component"]["modelCard"]
    return found


def test_names_are_words_and_no_markup() -> None:
    evil = "a|b\n# head <script>alert(1)</script> [x](javascript:y) `c`"
    text = card(About(model(name=evil, description=evil, metrics={evil: evil})))
    assert (
        "<script" not in text.replace("\\<script", "")
        and "\n# head" not in text
        and "](javascript" not in text.replace("\\](", "")
    )
    assert len(plain("x" * 9999)) < 2100
    checked(About(model(name=evil, metrics={evil: evil, "n": float("nan")})))


def test_an_asked_for_environment_is_said_where_none_was_recorded() -> None:
    given = Recipe(code=STORED, environment=Environment(requires={"torch": "2.13.0"}))  # type: ignore[call-arg]
    about = About(model(recipe=given, state="registered"))
    assert "| torch | 2.13.0 |" in card(about)
    assert [one["version"] for one in checked(about)["components"] if one["type"] == "library"] == ["2.13.0"]


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
async def here(tmp_path: Path, trainer: Trainer) -> AsyncIterator[House]:
    with impatient():
        async with house(tmp_path / "house", Weather(), trainer=trainer) as found:
            yield found


async def test_a_reader_sees_what_the_record_shows_him(here: House, trainer: Trainer, tmp_path: Path) -> None:
    theirs = await dataset(here.hub, BOLT, b"x,y\n1,2\n", name="their roof", confidential=True)
    await grant(here.hub, BOLT, theirs.id, "acme", "train")
    made = await recipe(here.hub, ACME, datasets=[theirs.id])
    held = await train(here.hub, trainer, made.id, tmp_path / "out", **{"secret-weights.bin": b"w"})
    await here.settled()
    assert held.held_for == ["bolt"]
    mine = await _both(here, ACME, made.id)
    assert "held until released by bolt" in mine and "secret-weights" not in mine and held.digest not in mine
    assert held.files[0].stored.sha256.removeprefix("sha256:") not in mine
    assert "secret-weights" in await _both(here, BOLT, made.id)  # whose data it is
    for id in (made.id, theirs.id):
        with pytest.raises(NotFound):
            await here.notary.card(CODA, id)
        with pytest.raises(NotFound):
            await here.notary.bom(CODA, id)
    assert "their roof" in await _both(here, ACME, theirs.id)


async def test_inputs_that_are_not_open_to_the_reader_have_an_id_only(
    here: House, trainer: Trainer, tmp_path: Path
) -> None:
    data = await dataset(here.hub, ACME, b"x,y\n1,2\n", name="my roof")
    made = await recipe(here.hub, ACME, datasets=[data.id])
    await train(here.hub, trainer, made.id, tmp_path / "out", **{"w.bin": b"w"})
    await grant(here.hub, ACME, made.id, "bolt", "read")
    await here.settled()
    assert "my roof" in await _both(here, ACME, made.id)
    theirs = await _both(here, BOLT, made.id)
    assert "my roof" not in theirs and data.stored.sha256.removeprefix("sha256:") not in theirs and "w.bin" in theirs
    assert "1 of its datasets: they are gone, or not open to you" in theirs


async def test_a_ledger_that_is_gone_is_no_reason_to_say_nothing(here: House) -> None:
    one = await uploaded(here.hub, ACME)
    await here.settled()
    record = await here.hub.model(ACME, one.id)
    assert "memory ledger" in await here.notary.card(ACME, one.id)
    here.weather.gone = True
    text = await here.notary.card(ACME, one.id)
    assert "memory ledger" not in text and record.contract in text


async def _both(here: House, who: Principal, id: str) -> str:
    return await here.notary.card(who, id) + json.dumps(await here.notary.bom(who, id))
