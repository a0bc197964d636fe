"""The contract suite catches backends that break the contract."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from headrace.checks import backends as suite
from headrace.models.backends import Backend, Servable, Shape
from headrace.models.backends.rls import Rls
from headrace.records import Array
from headrace.states import pack


class Sound(Rls):
    """Keeps the contract."""


class WrongShape(Rls):
    def predict(self, x: Array) -> Array:
        return super().predict(x)[:, :-1]


class Single(Rls):
    def predict(self, x: Array) -> Array:
        return super().predict(x).astype(np.float32)


class Restless(Rls):
    def predict(self, x: Array) -> Array:
        self._both *= 1.001
        return super().predict(x)


class Gambler(Rls):
    def fit(self, x: Array, y: Array) -> None:
        super().fit(x + np.random.rand(), y)


class Forgetful(Rls):
    def load(self, data: bytes) -> None:
        super().load(data)
        self._both[: self._size] = np.eye(self._size)


class Hoarder(Rls):
    def fit(self, x: Array, y: Array) -> None:
        self._train(self._both.copy(), x, y)


class ZeroFiller(Rls):
    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        super().learn(x, np.nan_to_num(y), old_x, old_y)


class Gullible(Rls):
    def _keep(self, both: Array) -> None:
        self._both = both

    def _train(self, both: Array, x: Array, y: Array) -> None:
        self._each(both, self._rows(x), y.reshape(-1))
        self._keep(both)


class Stale(Rls):
    def export(self) -> Servable:
        state = {"weights": np.zeros((self._size, 1)), "floor": None}
        return Servable("numpy", pack(state), kernel="rls")


class Pickler(Rls):
    def dump(self) -> bytes:
        return pickle.dumps(self._both)

    def load(self, data: bytes) -> None:
        self._both = pickle.loads(data)


class Trusting(Rls):
    def dump(self) -> bytes:
        return self._both.tobytes()

    def load(self, data: bytes) -> None:
        whole = data[: len(data) // 8 * 8].ljust(self._both.nbytes, b"\0")
        self._both = np.frombuffer(whole)[: self._both.size].reshape(self._both.shape).copy()


class Sticky(Rls):
    def weights(self) -> bytes:
        return super().weights() + b"\0"


def maker(kind: type[Rls]) -> suite.Make:
    def make(shape: Shape) -> Backend:
        return cast(Backend, kind(kind.Params(), shape, 0))

    return make


def test_a_sound_backend_passes() -> None:
    suite.check_backend(maker(Sound))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (WrongShape, suite.check_predictions),
        (Single, suite.check_predictions),
        (Restless, suite.check_predict_changes_nothing),
        (Gambler, suite.check_determinism),
        (Gambler, suite.check_global_randomness),
        (Forgetful, suite.check_interruptions),
        (Hoarder, suite.check_fit_starts_anew),
        (ZeroFiller, suite.check_missing_targets),
        (Gullible, suite.check_poison),
        (Stale, suite.check_export),
        (Pickler, suite.check_no_pickle),
        (Trusting, suite.check_damage),
        (Sticky, suite.check_weights),
    ],
)
def test_an_unsound_backend_is_caught(kind: type[Rls], check: Callable[[suite.Make, Shape], None]) -> None:
    with pytest.raises(AssertionError):
        check(maker(kind), suite.PER_TARGET)
