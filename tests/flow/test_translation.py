"""Models through the real sandbox to ONNX: the three examples, files of other frameworks, and code that means no good."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import textwrap
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.assets import Model
from headrace.errors import BadInput
from headrace.services.sharing.requests import NewModel
from headrace.services.sharing.service import SharingService
from headrace.services.training.service import TrainingService
from headrace.services.translation import Wish
from headrace.services.translation.service import TranslationService
from tests import hub as hubs
from tests.flow.test_training_examples import RUNNER, packed, platform, series, trained
from tests.hub import ACME, opened, taking
from tests.shelf import ended
from tests.shelf import text as log_of
from tests.translating import linear, translating
from tests.unit.test_translation import SNAPSHOT

__all__ = ["series"]
pytestmark = pytest.mark.xdist_group("translation")
WISH = Wish()  # type: ignore[call-arg]


@contextlib.asynccontextmanager
async def whole(folder: Path) -> AsyncIterator[tuple[SharingService, TrainingService, TranslationService]]:
    """Hub, queue and translation, with the real sandbox."""
    async with platform(folder) as (hub, queue), translating(hub, folder, RUNNER) as service:
        yield hub, queue, service


async def uploaded(hub: SharingService, path: Path) -> Model:
    """A model file, under its name."""
    new = NewModel(name=path.stem)
    return await hub.register.model(ACME, new, path.name, taking(hub, "acme", path.read_bytes()))


def windows(data: bytes, history: int = 36, horizon: int = 24) -> tuple[Any, Any]:
    """(n, history), (n, horizon) of the column power."""
    power = np.array([float(line.split(",")[1]) for line in data.decode().splitlines()[1:]])
    every = np.lib.stride_tricks.sliding_window_view(power, history + horizon)
    return every[:, :history], every[:, history:]


@pytest.mark.parametrize(
    ("name", "framework", "exporter", "dtypes"),
    [
        ("gru", "torch", "torchscript", "float32 kept"),
        ("sklearn", "sklearn", "skl2onnx", "float64 to float32"),
        ("keras", "keras", "torchscript", "float32 kept"),
    ],
)
async def test_the_examples_answer_the_same_in_onnx(
    tmp_path: Path, series: dict[str, bytes], name: str, framework: str, exporter: str, dtypes: str
) -> None:
    import onnxruntime

    async with whole(tmp_path) as (hub, queue, service):
        data = (await hubs.dataset(hub, ACME, series["train.csv"])).id
        held_out = (await hubs.dataset(hub, ACME, series["held-out.csv"])).id
        model = await trained(hub, queue, name, datasets=[data], evaluation=[held_out], parameters={"epochs": 1})
        made = await service.translate(ACME, model.id, WISH)
        said = made.translation
        assert said is not None and (said.framework, said.exporter, said.dtypes) == (framework, exporter, dtypes)
        assert (said.parity.real, said.parity.edge, said.parity.made) == (65, 5, 33)
        assert said.parity.worst <= said.parity.tolerance < 2e-3 * said.parity.scale
        assert (made.input_shape, made.output_shape, made.metrics) == ([36], [24], model.metrics)
        session = onnxruntime.InferenceSession(await hubs.read(hub, ACME, made.id))
        scale = json.loads(await hubs.read(hub, ACME, model.id, "scale.json"))
        past, future = windows(series["held-out.csv"])
        (found,) = session.run(None, {session.get_inputs()[0].name: past.astype(np.float32)})
        mse = np.mean(((found - future) / (scale["high"] - scale["low"])) ** 2)
        assert mse == pytest.approx(model.metrics["mse"], rel=1e-3), (
            "what the training itself measured on these windows"
        )


NET = """
import os, pathlib
def headrace_model(folder, parameters):
    import torch
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
        def forward(self, x):
            return {forward}
    torch.manual_seed(0)
    return Net()
def headrace_inputs(files, parameters):
    import numpy as np
    return np.ones((10, 3)) * np.arange(10)[:, None]
if __name__ == "__main__":
    pathlib.Path(os.environ["HEADRACE_OUTPUT"], "w.bin").write_bytes(b"w")
"""


async def code(hub: SharingService, queue: TrainingService, text: str, **given: Any) -> Model:
    """A model trained by one file of code."""
    made = await hubs.recipe(hub, ACME, packed("restless", main__py=text), entry_point="main.py", **given)
    job = await ended(queue, made.job, ACME)
    assert job.state == "done", (job.reason, await log_of(queue, job.id, ACME))
    return await hub.model(ACME, made.id)


async def test_code_that_acts_otherwise_when_it_is_traced_is_refused(tmp_path: Path) -> None:
    async with whole(tmp_path) as (hub, queue, service):
        data = (await hubs.dataset(hub, ACME)).id
        text = NET.format(forward="self.layer(x) * (1.01 if torch.jit.is_tracing() else 1.0)")
        made = await code(hub, queue, text, datasets=[data])
        with pytest.raises(BadInput, match=r"its answers differ by up to .* is allowed \(output 'y', .*`tolerance`"):
            await service.translate(ACME, made.id, WISH)
        allowed = await service.translate(ACME, made.id, Wish(tolerance=1.0))  # type: ignore[call-arg]
        assert allowed.translation is not None
        assert 0.01 < allowed.translation.parity.worst < 1 == allowed.translation.parity.tolerance
        assert allowed.translation.parity.real == 10


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of other programs."""
    import joblib  # type: ignore[import-untyped]
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    folder = tmp_path_factory.mktemp("files")
    x = np.random.default_rng(0).normal(size=(60, 4))
    words = np.where(x[:, 0] > 0, "high", "low")
    joblib.dump(LogisticRegression().fit(x, words), folder / "words.joblib")
    joblib.dump(KNeighborsClassifier().fit(x, words), folder / "neighbours.joblib")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(4, 2)).save(str(folder / "line.pt"))
        torch.jit.trace(singular(), torch.rand(2, 3, 3)).save(str(folder / "singular.pt"))  # type: ignore[no-untyped-call]
    torch.save(torch.nn.Linear(4, 2).state_dict(), folder / "weights.pt")
    torch.export.save(torch.export.export(torch.nn.Linear(4, 2), (torch.rand(2, 4),)), folder / "fixed.pt2")
    (folder / "net.onnx").write_bytes(linear().SerializeToString())
    return folder


def singular() -> Any:
    """A module whose operator ONNX does not have."""
    import torch

    class Values(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)

    return Values()


async def test_files_of_other_programs(tmp_path: Path, files: Path) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, RUNNER) as service:
        words = await service.translate(ACME, (await uploaded(hub, files / "words.joblib")).id, WISH)
        outputs = [(one["datatype"], one["shape"]) for one in words.metadata["outputs"]]
        assert outputs == [("string", [-1]), ("float32", [-1, 2])], "labels, and probabilities as a tensor"
        assert words.translation is not None and words.translation.parity.constant == []
        assert [one[:26] for one in words.translation.parity.doubts()] == ["Nothing recorded was compa"]
        assert words.metadata["original"].startswith("unverified")
        line = await uploaded(hub, files / "line.pt")
        with pytest.raises(BadInput, match="the shape of its inputs is not known"):
            await service.translate(ACME, line.id, WISH)
        made = await service.translate(ACME, line.id, Wish(input_shape=[4]))  # type: ignore[call-arg]
        assert made.translation is not None and made.translation.parity.real == 0 and made.input_shape == [4]


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("singular.pt", [3, 3], r"cannot be said in ONNX \(torchscript: .*linalg"),
        ("neighbours.joblib", None, "a graph within its graph.*skl2onnx has no plain graph for this kind of estimator"),
        ("words.joblib", [5, 5], r"it takes inputs of shape \[4\], not \[5, 5\]: leave the shape out"),
        ("weights.pt", None, "holds weights without their network: define headrace_model"),
        ("fixed.pt2", None, r"fixed\.pt2 was exported for batches of 2 only; export it for any"),
        ("net.onnx", None, "it is an ONNX model already"),
    ],
)
async def test_what_cannot_be_said_in_onnx(
    tmp_path: Path, files: Path, name: str, shape: list[int] | None, words: str
) -> None:
    async with opened(tmp_path) as hub, translating(hub, tmp_path, RUNNER) as service:
        model = await uploaded(hub, files / name)
        with pytest.raises(BadInput, match=words) as raised:
            await service.translate(ACME, model.id, Wish(input_shape=shape))  # type: ignore[call-arg]
        assert str(tmp_path) not in str(raised.value)


class Hostile:
    """What a pickle may do: anything, where it is opened."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


async def test_a_hostile_pickle_is_opened_in_the_sandbox_only(tmp_path: Path) -> None:
    secret, mark = tmp_path / "secret", tmp_path / "mark"
    secret.write_text("of the platform")
    command = f"cat {secret} > /work/output/model.onnx; touch {mark}; touch /work/output/mark; id > {tmp_path}/id"
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps(Hostile(command)))
    async with opened(tmp_path / "hub") as hub, translating(hub, tmp_path / "hub", RUNNER) as service:
        model = await uploaded(hub, evil)
        await hub.settled()
        with pytest.raises(BadInput, match="an estimator of scikit-learn is needed") as raised:
            await service.translate(ACME, model.id, WISH)
        assert "of the platform" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pkl", "hub", "secret"]


async def test_code_that_writes_its_own_certificate_is_compared_all_the_same(tmp_path: Path) -> None:
    """It leaves an ONNX file that is not its model, and takes the platform's own comparison apart where it runs."""
    text = (
        NET.format(forward="self.layer(x)")
        + f"if os.environ['HEADRACE_MODE'] == 'translate':\n{textwrap.indent(FORGED, '    ')}"
    )
    async with whole(tmp_path) as (hub, queue, service):
        model = await code(hub, queue, text)
        with pytest.raises(BadInput, match=r"its answers differ by up to"):
            await service.translate(ACME, model.id, Wish(input_shape=[3]))  # type: ignore[call-arg]


FORGED = """
from headrace.models.translators.torch import Network
import headrace.inside.parity as parity
parity._distance = parity._judged = lambda *_: 0
export = Network.export
def forged(self, inputs, opset, path, **more):
    said = export(self, inputs, opset, path, **more)
    import onnx
    model = onnx.load(str(path))
    for one in model.graph.initializer:
        values = onnx.numpy_helper.to_array(one)
        one.CopyFrom(onnx.numpy_helper.from_array(values * 1.1, one.name))
    onnx.save(model, str(path))
    return said
Network.export = forged
"""


async def test_what_a_hook_raises_is_said_to_whoever_wrote_it(tmp_path: Path) -> None:
    text = "import os, pathlib\npathlib.Path(os.environ['HEADRACE_OUTPUT'], 'w').write_text('w')\n"
    text += "def headrace_model(folder, parameters):\n    raise KeyError('hidden')\n"
    async with whole(tmp_path) as (hub, queue, service):
        model = await code(hub, queue, text)
        with pytest.raises(BadInput, match=r"headrace_model failed: KeyError: 'hidden'"):
            await service.translate(ACME, model.id, WISH)


def gru(folder: Path) -> bytes:
    """Weights as the torch backend publishes them."""
    from headrace.models.backends import Shape
    from headrace.models.backends.torch import Torch

    return Torch(Torch.Params(options={"hidden": 5, "dense": 4}), Shape((6, 2), 3), 0, str(folder)).weights()


async def test_a_snapshot_of_our_network_becomes_onnx_and_no_other(tmp_path: Path) -> None:
    import onnxruntime

    known: dict[str, Any] = {"framework": "torch", "input_shape": [6, 2], "output_shape": [3]}
    async with opened(tmp_path) as hub, translating(hub, tmp_path, RUNNER) as service:

        async def published(number: int, found: dict[str, Any], weights: bytes = b"weights") -> str:
            said = SNAPSHOT.model_copy(update={"published_ms": number})
            return (await hub.snapshot("acme", said, "roof", weights, found)).id

        weights = gru(tmp_path)
        floored = await published(1, {**known, "metadata": {"network": {"module": "gru", "floor": 0.25}}}, weights)
        made = await service.translate(ACME, floored, WISH)
        assert made.translation is not None and made.translation.framework == "torch"
        assert (made.input_shape, made.output_shape) == ([6, 2], [3]) and "floor" not in made.metadata["original"]
        session = onnxruntime.InferenceSession(await hubs.read(hub, ACME, made.id))
        (answers,) = session.run(None, {"x": np.random.default_rng(0).normal(size=(9, 6, 2)).astype(np.float32)})
        assert answers.min() == 0.25, "the floor is in it"
        again = await service.retranslate(ACME, made, lambda said: None)
        assert again.digest == made.digest
        older = await service.translate(ACME, await published(2, known, weights), WISH)
        assert "whether its forecasts had a floor, its record does not say" in older.metadata["original"]
        for number, found, words in (
            (
                3,
                {**known, "metadata": {"network": {"module": "my_net.py:Net"}}},
                r"code of its owner \(my_net\.py:Net\)",
            ),
            (4, {"framework": "rls"}, "an online snapshot of rls is no network"),
            (5, known, "its weights are not those of a GRU of ours"),
        ):
            with pytest.raises(BadInput, match=words):
                await service.translate(ACME, await published(number, found), WISH)
