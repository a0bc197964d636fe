"""Execution providers by the short names of specs, as ONNX Runtime calls them, and what brings them.

Names: onnxruntime/core/providers/get_execution_providers.cc, and the pages of onnxruntime.ai, "Execution Providers".
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "acl": "ACLExecutionProvider",
    "armnn": "ArmNNExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
    "cann": "CANNExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
}
"""Short name -> ONNX Runtime's."""
PACKAGES = {
    "cpu": "onnxruntime",
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "coreml": "onnxruntime (on macOS)",
    "directml": "onnxruntime-directml (on Windows)",
    "rocm": "onnxruntime-rocm",
    "migraphx": "onnxruntime-migraphx",
    "qnn": "onnxruntime-qnn",
}
"""The package that brings one; the others come with a build of ONNX Runtime of one's own."""
REMOTE = "azure"
"""Sends what a model is asked to somebody else's computers: refused."""
_SHORT = {name.lower(): short for short, name in NAMES.items()}


def short(name: str) -> str:
    """The short name of a provider; an unknown one as it is.

    >>> short("CUDAExecutionProvider"), short("cuda"), short("NewExecutionProvider")
    ('cuda', 'cuda', 'NewExecutionProvider')
    """
    return _SHORT.get(name.lower(), name.lower() if name.lower() in NAMES else name)


def wrong(name: str) -> str:
    """Why a spec may not name it; "" if it may.

    >>> wrong("cpu"), wrong("CPUExecutionProvider")
    ('', '')
    >>> wrong("cdua").partition(" Known")[0]
    "no execution provider 'cdua'; did you mean 'cuda'?"
    """
    found = short(name)
    if found in NAMES:
        return ""
    if found.lower().startswith(REMOTE):
        return "the provider 'azure' sends what a model is asked to another company's computers; it is not offered"
    near = get_close_matches(found.lower(), NAMES, 1)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"no execution provider {name[:40]!r}{guess} Known: {', '.join(sorted(NAMES))}"


def usable(wanted: Sequence[str], here: Sequence[str]) -> list[str]:
    """Those of the wanted that are here, in the order they are wanted; short names both."""
    return [one for one in dict.fromkeys(map(short, wanted)) if one in here]


def missing(wanted: Sequence[str], here: Sequence[str]) -> str:
    """What to say when none of the wanted is here.

    >>> missing(["cuda"], ["cpu"])
    'none of cuda is on this machine, which has cpu; cuda comes with the package onnxruntime-gpu, in the place of onnxruntime'
    """
    names = list(dict.fromkeys(map(short, wanted)))
    brought = [f"{one} comes with {_from(one)}" for one in names]
    return f"none of {', '.join(names)} is on this machine, which has {', '.join(here) or 'none'}; {'; '.join(brought)}"


def _from(name: str) -> str:
    package = PACKAGES.get(name, "")
    return f"the package {package}, in the place of onnxruntime" if package else "a build of ONNX Runtime that has it"
