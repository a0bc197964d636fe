"""Inside the sandbox: the network of an online snapshot, made of its weights. Only the platform's own is known by them alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace.errors import BadInput, CorruptState

GRU = "gru"


def network(files: Path, told: Mapping[str, Any]) -> Any:
    """A ``torch.nn.Module``: scaled windows (n, history, fields) -> scaled forecasts (n, horizon), its floor included.

    Args:
        told: "framework" of the snapshot; "module" and "floor" of its network, where its record has them.

    Raises BadInput: no network can be made of it, and why.
    """
    module = told.get("module", GRU)
    if told.get("framework") != "torch":
        raise BadInput(
            detail=f"an online snapshot of {told.get('framework') or 'an unknown learner'} is no network; it answers at the "
            "inference doors by the name of its online model"
        )
    if module != GRU:
        raise BadInput(
            detail=f"its network is code of its owner ({module}), and an online snapshot has the weights only: upload the "
            "network with these weights as TorchScript (.pt)"
        )
    return _floored(_gru(files), told.get("floor"))


def _gru(files: Path) -> Any:
    import torch

    from headrace.models.backends import Shape
    from headrace.models.backends.gru import Gru
    from headrace.models.backends.saved import read_safetensors
    from headrace.models.backends.torch import gru_tensors

    try:
        (path,) = (one for one in files.rglob("*") if one.is_file())
        found = read_safetensors("torch", path.read_bytes())
        hidden, dense = found["recurrent.weight_hh_l0"].shape[1], found["dense.weight"].shape[0]
        fields, horizon = found["recurrent.weight_ih_l0"].shape[1], found["output.weight"].shape[0]
        wanted = {name: one.shape for name, one in gru_tensors(Shape((1, fields), horizon), hidden, dense).items()}
    except (KeyError, IndexError, ValueError, CorruptState) as error:
        raise BadInput(detail="its weights are not those of a GRU of ours") from error
    if {name: one.shape for name, one in found.items()} != wanted:
        raise BadInput(detail="its weights are not those of a GRU of ours")
    made = Gru((1, fields), horizon, hidden, dense)
    made.load_state_dict({name: torch.from_numpy(one) for name, one in found.items()})
    return made


def _floored(made: Any, floor: float | None) -> Any:
    from headrace.models.backends.onnx_export import Floored

    return made if floor is None else Floored(made, floor)
