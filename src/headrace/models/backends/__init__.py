"""Backends: what learns. Each is one file and knows nothing of streams, time or scores.

`x` is a batch of examples' inputs, shape (n, *Shape.input), C-contiguous float64; `y` their targets, shape (n, horizon),
scaled, NaN where a target is missing or was filled in: learn from the others. Examples come in time order.
Everything is deterministic: the same calls with the same arguments give the same bytes from `dump`, in another process too,
and ``load(dump())`` between any two calls changes nothing. No pickle. `headrace.checks.check_backend` tests all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from headrace.models.backends.parent import Tensor
from headrace.plugins import Family, Params
from headrace.records import Array


@dataclass(frozen=True)
class Shape:
    """Sizes a backend is built for."""

    input: tuple[int, int]
    """(history, fields) of a window, or (horizon, features per target)."""
    horizon: int
    per_target: bool = False
    """Whether the first input axis is the horizon: row h of `x` holds the features of target h."""


@dataclass(frozen=True)
class Servable:
    """A model as the serving process can run it without the library that trained it."""

    format: str
    """"onnx": `data` is an ONNX model, input "x" (n, *input) float32, output "y" (n, horizon).
    "numpy": `data` is `headrace.states.pack` of arrays, run by the function named in `headrace.services.learning.serving`
    under `kernel`."""
    data: bytes
    kernel: str = ""
    about: dict[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """One model of one key."""

    Params: ClassVar[type[Params]]
    features: ClassVar[list[dict[str, Any]]]
    """Feature steps used when the spec names none, as in `transform:`."""
    rehearses: ClassVar[bool]
    """Whether `learn` uses old examples; a lane keeps none for a backend that does not."""
    heavy: ClassVar[bool]
    """Runs in a worker process of its own (it loads a deep-learning library or a user's code)."""

    # def __init__(self, params: Params, shape: Shape, seed: int, folder: str = ".") -> None

    def predict(self, x: Array) -> Array:
        """(n, horizon) predictions, finite once fitted; changes nothing."""
        ...

    def fit(self, x: Array, y: Array) -> None:
        """The first training, from scratch, on all examples so far."""
        ...

    def learn(self, x: Array, y: Array, old_x: Array, old_y: Array) -> None:
        """Go on with new examples; `old_*` are earlier ones to rehearse (maybe none)."""
        ...

    def dump(self) -> bytes:
        """Everything: weights, optimiser, random state."""
        ...

    def load(self, data: bytes) -> None:
        """Go on from a `dump` of the same params and shape."""
        ...

    def weights(self) -> bytes:
        """The weights alone, as safetensors: what a snapshot's digest is taken of."""
        ...

    def export(self) -> Servable:
        """This very model for the serving process."""
        ...


# What a backend may offer beyond that: for explanations (`headrace.models.explainers`), and for transfer learning:


@runtime_checkable
class Restorable(Protocol):
    """Can predict from its weights alone."""

    def restore(self, weights: bytes) -> None:
        """Take over what `weights` gave, in a model of the same params and shape: it then predicts the same bytes.

        Raises:
            CorruptState: damaged, or of another model.
        """
        ...


@runtime_checkable
class Startable(Protocol):
    """Can start from the weights of another model instead of its own first ones."""

    @classmethod
    def tensors(cls, params: Any, shape: Shape) -> dict[str, Tensor] | None:
        """What a parent's weights must hold, in order, told without loading a library; None: only the made model knows."""
        ...

    def start_from(self, weights: bytes) -> None:
        """Be, and begin every `fit` with, the model of these weights (safetensors); call it before anything else.

        Raises:
            BadInput: they are another model's; the message names the tensor.
        """
        ...


@runtime_checkable
class Additive(Protocol):
    """A prediction is a sum with one term for each input, raised to a floor."""

    @property
    def floor(self) -> float | None:
        """Predictions below it are raised to it."""
        ...

    def terms(self, x: Array) -> tuple[Array, Array]:
        """(terms, rest): before the floor a prediction is the rest, (horizon,), plus its terms.

        Terms are (n, horizon, features) with features of each target, else (n, horizon, history, fields).
        """
        ...


@runtime_checkable
class Networked(Protocol):
    """A differentiable network stands behind it."""

    def network(self) -> Any:
        """A copy as a torch.nn.Module in float64 and evaluation mode: (n, *input) in, (n, horizon) out, floor included.

        Raises:
            Unsupported: the network does not run in float64.
        """
        ...


BACKENDS = Family(
    "backends",
    {
        "persistence": "headrace.models.backends.baseline:Persistence",
        "hour-mean": "headrace.models.backends.baseline:HourMean",
        "rls": "headrace.models.backends.rls:Rls",
        "ridge": "headrace.models.backends.ridge:Ridge",
        "hist-gb": "headrace.models.backends.hist_gb:HistGb",
        "torch": "headrace.models.backends.torch:Torch",
    },
    extras={"torch": "torch", "hist-gb": "sklearn"},
)
