"""What every backend must do, whatever it learns. Run it on your own:

check_backend(lambda shape: Mine(Mine.Params(), shape, seed=0), Shape((36, 1), 24))
"""

from __future__ import annotations

import json
import pickletools
import random
import re
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from headrace.errors import BadInput, HeadraceError
from headrace.models.backends import Additive, Backend, Networked, Restorable, Shape, Startable
from headrace.records import Array
from headrace.services.learning import serving

WINDOW = Shape((36, 1), 24)
PER_TARGET = Shape((24, 10), 24, per_target=True)
SHAPES = {"window": WINDOW, "per-target": PER_TARGET}

Make: TypeAlias = Callable[[Shape], Backend]
"""Builds a new backend for a shape: always with the same params and seed."""


def check_backend(make: Make, *shapes: Shape) -> None:
    """Every check on what `make` builds, for these shapes or else a window and features per target.

    Raises:
        AssertionError: the contract is broken; the message says how.
    """
    for shape in shapes or SHAPES.values():
        for check in CHECKS:
            check(make, shape)


def examples(shape: Shape, n: int, seed: int = 0) -> tuple[Array, Array]:
    """Scaled inputs, and targets that depend on them; read-only, as a caller's arrays are."""
    generator = np.random.default_rng(seed)
    x = generator.random((n, *shape.input))
    level = x.mean(axis=2) if shape.per_target else x.mean(axis=(1, 2))[:, None] * np.ones(shape.horizon)
    y = 0.8 * level + 0.1 * generator.random((n, shape.horizon))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def story(make: Make, shape: Shape, interrupted: bool = False) -> list[bytes]:
    """State and predictions after each of some calls; `interrupted`: each in a new backend with the last `dump`."""
    backend = make(shape)
    x, y = examples(shape, 60)
    calls: list[Callable[[Backend], Any]] = [
        lambda it: it.predict(x[:3]),
        lambda it: it.fit(x[:30], y[:30]),
        lambda it: it.learn(x[30:40], y[30:40], x[:20], y[:20]),
        lambda it: it.predict(x[40:41]),
        lambda it: it.learn(x[40:41], y[40:41], x[:0], y[:0]),
        lambda it: it.learn(x[41:60], y[41:60], x[30:40], y[30:40]),
    ]
    pages = []
    for call in calls:
        if interrupted:
            state, backend = backend.dump(), make(shape)
            backend.load(state)
        call(backend)
        pages += [backend.dump(), backend.weights(), backend.predict(x[:5]).tobytes()]
    return pages


def check_members(make: Make, shape: Shape) -> None:
    """Params with a default for everything, default features as a spec would write them, and `heavy`."""
    kind = type(make(shape))
    kind.Params.model_validate({})
    assert isinstance(kind.heavy, bool)
    assert json.loads(json.dumps(kind.features)) == kind.features
    assert all(isinstance(step, dict) and len(step) == 1 for step in kind.features)


def check_predictions(make: Make, shape: Shape) -> None:
    """(n, horizon) float64, finite, also of nothing; an example's prediction does not depend on its company."""
    backend = _fitted(make, shape)
    x, _ = examples(shape, 5, seed=1)
    together = backend.predict(x)
    for n in (0, 1, 5):
        y = backend.predict(x[:n])
        assert y.shape == (n, shape.horizon), f"{n} inputs gave predictions of shape {y.shape}"
        assert y.dtype == np.float64, f"predictions are {y.dtype}"
        assert np.isfinite(y).all(), "a prediction is not finite"
        assert y.flags.c_contiguous
        assert np.allclose(y, together[:n], rtol=0, atol=1e-5)
    y[:] = 0
    assert (backend.predict(x) == together).all(), "a prediction shares memory with the model"


def check_determinism(make: Make, shape: Shape) -> None:
    """The same calls give the same bytes, whatever the process-wide generators are up to."""
    stories = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(seed)
        stories.append(story(make, shape))
    assert stories[0] == stories[1], "two backends with the same calls have different states"


def check_global_randomness(make: Make, shape: Shape) -> None:
    """No process-wide generator is moved."""
    _fitted(make, shape)
    before = _global_randomness()
    backend = _fitted(make, shape)
    x, y = examples(shape, 4, seed=2)
    backend.learn(x, y, x[:0], y[:0])
    backend.predict(x)
    backend.export()
    assert _global_randomness() == before, "a process-wide random generator was moved"


def check_interruptions(make: Make, shape: Shape) -> None:
    """Going on in a fresh backend from `dump`, between any two calls, changes nothing."""
    assert story(make, shape, interrupted=True) == story(make, shape), "load(dump()) changes what follows"


def check_predict_changes_nothing(make: Make, shape: Shape) -> None:
    """Neither does `weights`, `export` or `dump`."""
    backend = _fitted(make, shape)
    before, weights = backend.dump(), backend.weights()
    first = backend.predict(examples(shape, 3, seed=1)[0])
    backend.export()
    assert backend.dump() == before, "predict, weights, export or dump changed the state"
    assert backend.weights() == weights
    assert (backend.predict(examples(shape, 3, seed=1)[0]) == first).all()


def check_fit_starts_anew(make: Make, shape: Shape) -> None:
    """`fit` forgets all that was."""
    backend = _fitted(make, shape, seed=3)
    backend.learn(*examples(shape, 4, seed=4), *examples(shape, 2, seed=3))
    backend.fit(*examples(shape, 40))
    assert backend.dump() == _fitted(make, shape).dump(), "fit after fit differs from fit"


def check_missing_targets(make: Make, shape: Shape) -> None:
    """NaN targets teach nothing, and do not spoil what the others teach."""
    backend = make(shape)
    x, y = examples(shape, 40)
    holes = y.copy()
    holes[::3, ::2] = np.nan
    holes[5] = np.nan
    backend.fit(x, holes)
    backend.learn(x[:9], holes[:9], x[20:24], holes[20:24])
    assert np.isfinite(backend.predict(x)).all(), "a NaN target spoilt the predictions"
    before = backend.weights()
    backend.learn(x[:4], np.full((4, shape.horizon), np.nan), x[:0], y[:0])
    assert backend.weights() == before, "examples without any target changed the weights"


def check_nothing_to_learn(make: Make, shape: Shape) -> None:
    """No examples, no change; not even a first fit is too empty."""
    x, y = examples(shape, 4)
    backend = _fitted(make, shape)
    before = backend.weights()
    backend.learn(x[:0], y[:0], x[:0], y[:0])
    assert backend.weights() == before, "learning from nothing changed the weights"
    backend = make(shape)
    backend.fit(x[:0], y[:0])
    assert np.isfinite(backend.predict(x)).all()


def check_poison(make: Make, shape: Shape) -> None:
    """Infinite targets are refused or survived; the model stays finite, and as it was if they were refused."""
    backend = _fitted(make, shape)
    before = backend.dump()
    x, y = examples(shape, 4)
    for poison in (np.inf, -np.inf, 1e308):
        bad = y.copy()
        bad[1, 0] = poison
        try:
            backend.learn(x, bad, x[:0], y[:0])
        except HeadraceError:
            assert backend.dump() == before, "a refused example left traces"
        assert np.isfinite(backend.predict(x)).all(), f"a target of {poison} spoilt the predictions"
        backend.load(before)


def check_weights(make: Make, shape: Shape) -> None:
    """Well-formed safetensors, equal for equal models."""
    backend = _fitted(make, shape)
    data = backend.weights()
    size = int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8 : 8 + size])
    ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
    assert max(ends, default=0) == len(data) - 8 - size, "weights are not safetensors"
    again = make(shape)
    again.load(backend.dump())
    assert again.weights() == data, "weights change with load(dump())"


def check_restore(make: Make, shape: Shape) -> None:
    """What can be made from its weights alone predicts the same bytes, and takes no damaged weights."""
    backend, fresh = _fitted(make, shape), make(shape)
    if not isinstance(backend, Restorable) or not isinstance(fresh, Restorable):
        return
    weights, x = backend.weights(), examples(shape, 4, seed=7)[0]
    fresh.restore(weights)
    assert fresh.predict(x).tobytes() == backend.predict(x).tobytes(), "other predictions from the same weights"
    assert fresh.weights() == weights, "other weights than were restored"
    for bad in (b"", weights[:9], weights[: len(weights) // 2]):
        try:
            fresh.restore(bad)
        except HeadraceError:
            assert fresh.weights() == weights, "refused weights left traces"
        else:
            raise AssertionError("damaged weights were taken")


def check_insides(make: Make, shape: Shape) -> None:
    """What it offers explainers is what it predicts: terms to rounding, a network within float32."""
    backend, x = _fitted(make, shape), examples(shape, 4, seed=8)[0]
    predicted = backend.predict(x)
    if isinstance(backend, Additive):
        terms, rest = backend.terms(x)
        found = terms.reshape(len(x), shape.horizon, -1).sum(axis=2) + rest
        if backend.floor is not None:
            found = np.maximum(found, backend.floor)
        assert np.allclose(found, predicted, rtol=1e-10, atol=1e-12), "terms do not add up to predictions"
    if isinstance(backend, Networked):
        torch = sys.modules["torch"]
        found = backend.network()(torch.tensor(x, dtype=torch.float64)).detach().numpy()
        assert found.dtype == np.float64, "a network that is not in float64"
        assert np.allclose(found, predicted, rtol=1e-4, atol=1e-5), "the network predicts something else"


def check_start(make: Make, shape: Shape) -> None:
    """One that can start from a parent is it, bit for bit, and begins every fit with it; what it refuses leaves no trace."""
    backend = make(shape)
    if not isinstance(backend, Startable):
        return
    parent, (x, y) = _fitted(make, shape, seed=5).weights(), examples(shape, 20)
    for bad in (b"", parent[:40], parent[:-8], parent + bytes(8), make(Shape(shape.input, 5)).weights()):
        before = backend.dump()
        try:
            backend.start_from(bad)
        except BadInput as error:
            assert str(error)
            assert backend.dump() == before, "refused weights left traces"
        else:
            raise AssertionError("weights that are damaged, or another model's, were taken")
    backend.start_from(parent)
    assert backend.weights() == parent, "the first weights are not the parent's"
    scratch = make(shape)
    for one in (backend, scratch):
        one.fit(x, y)
    after = backend.dump()
    assert after != scratch.dump(), "a fit does not begin with the parent"
    backend.fit(x, y)
    assert backend.dump() == after, "a second fit does not begin with the parent"


def check_export(make: Make, shape: Shape) -> None:
    """The exported model predicts what the backend does, within 1e-6."""
    backend = _fitted(make, shape)
    for _ in range(2):
        runner = serving.load(backend.export(), shape)
        for n in (1, 0, 7):
            x, _ = examples(shape, n, seed=5)
            mine, served = backend.predict(x), runner.predict(x)
            assert served.shape == mine.shape
            assert served.dtype == np.float64
            worst = float((np.abs(served - mine) / np.maximum(1, np.abs(mine))).max(initial=0))
            assert worst <= 1e-6, f"the exported model is off by {worst:.1e}"
        backend.learn(*examples(shape, 6, seed=6), *examples(shape, 3))


def check_no_pickle(make: Make, shape: Shape) -> None:
    """Neither states nor exports hold a pickle."""
    backend = _fitted(make, shape)
    for data in (backend.dump(), backend.weights(), backend.export().data):
        assert not holds_pickle(data), "there is a pickle in the state or the export"


def check_damage(make: Make, shape: Shape) -> None:
    """Damaged or foreign states are refused with an error that says so, and change nothing."""
    backend = _fitted(make, shape)
    good = backend.dump()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    for bad in (b"", b"\0", good[:-1], good[:middle], good + b"\0", flipped, flipped[::-1]):
        try:
            backend.load(bad)
        except HeadraceError as error:
            assert str(error)
        else:
            raise AssertionError(f"a damaged state of {len(bad)} bytes was taken")
        assert backend.dump() == good, "a refused state left traces"


CHECKS: list[Callable[[Make, Shape], None]] = [
    check_members,
    check_predictions,
    check_determinism,
    check_global_randomness,
    check_interruptions,
    check_predict_changes_nothing,
    check_fit_starts_anew,
    check_missing_targets,
    check_nothing_to_learn,
    check_poison,
    check_weights,
    check_restore,
    check_start,
    check_insides,
    check_export,
    check_no_pickle,
    check_damage,
]


def holds_pickle(data: bytes) -> bool:
    """Whether some bytes are, or contain, a pickle (or the zip file that torch.save makes).

    >>> import pickle
    >>> holds_pickle(b"head" + pickle.dumps({"a": [1.5] * 9})), holds_pickle(bytes(99))
    (True, False)
    """
    if data.startswith(b"PK\x03\x04"):
        return True
    for found in re.finditer(rb"\x80[\x04\x05]\x95(.{8})", data, re.DOTALL):
        if int.from_bytes(found[1], "little") <= len(data) - found.end():
            return True
    return any(_imports(data[found.start() :]) for found in re.finditer(rb"\x80[\x02\x03]", data))


def _imports(data: bytes) -> bool:
    """Whether the pickle that starts here, if it is one, imports something."""
    names = set()
    try:
        for opcode, _, _ in pickletools.genops(data):
            names.add(opcode.name)
    except ValueError:
        return False
    return bool(names & {"GLOBAL", "STACK_GLOBAL"})


def _fitted(make: Make, shape: Shape, seed: int = 0) -> Backend:
    backend = make(shape)
    backend.fit(*examples(shape, 40, seed))
    return backend


def _global_randomness() -> tuple[object, ...]:
    state: Any = np.random.get_state(legacy=True)
    torch = sys.modules.get("torch")
    return random.getstate(), state[1].tobytes(), state[2:], torch.get_rng_state().numpy().tobytes() if torch else None
