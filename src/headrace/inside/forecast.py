"""Inside the sandbox: asks a model for the forecasts of many windows, and writes them as raw little-endian doubles.

``/work/model`` holds the model's files. One ONNX file among them is asked directly; else the recipe's entry point runs
with ``HEADRACE_MODE=predict`` and writes ``predictions.npy`` of shape (windows, horizon) into ``$HEADRACE_OUTPUT``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from headrace.inside.place import WORK
from headrace.inside.recipe import defaults


def main() -> None:
    """Ends with a sentence and code 1 when there is no forecast."""
    request = json.loads((WORK / "request.json").read_text())
    windows = np.load(WORK / "data" / "0" / "windows.npz", allow_pickle=False)["x"]
    found = sorted((WORK / "model").rglob("*.onnx"))
    if len(found) == 1:
        made = _onnx(found[0], windows)
    elif request["entry_point"]:
        made = _code(request["entry_point"], request["parameters"])
    else:
        sys.exit(
            "this model cannot be asked: it has no single .onnx file, and no recipe whose code could be run with "
            "HEADRACE_MODE=predict"
        )
    wanted = (len(windows), request["horizon"])
    made = made.reshape(len(made), -1)
    if made.shape != wanted:
        sys.exit(f"the model answered with shape {made.shape}, expected {wanted}")
    (WORK / "output" / "predictions.f64").write_bytes(made.astype("<f8").tobytes())


def _onnx(path: Path, windows: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        sys.exit(f"the ONNX model has {len(inputs)} inputs; one is expected: the window of the target")
    wanted, kinds = inputs[0].shape, {"tensor(float)": "f4", "tensor(double)": "f8"}
    given = windows.astype(kinds.get(inputs[0].type, "f4"))
    shape = [size if isinstance(size, int) else -1 for size in wanted[1:]]
    if shape.count(-1) <= 1 and int(np.prod([s for s in shape if s > 0] or [1])) in {1, windows.shape[1]}:
        given = given.reshape(len(windows), *shape)
    else:
        sys.exit(f"the ONNX model takes {wanted}; windows of {windows.shape[1]} steps do not fit; choose --history")
    if wanted[0] == 1:
        return np.concatenate([session.run(None, {inputs[0].name: row[None]})[0] for row in given])
    return session.run(None, {inputs[0].name: given})[0]


def _code(entry: str, given: dict[str, Any]) -> Any:
    from headrace.runners.archive import unpack

    code, output = Path("/tmp/code"), Path("/tmp/output")  # noqa: S108 - the sandbox's own
    code.mkdir()
    output.mkdir()
    unpack(WORK / "code.archive", code)
    parameters = Path("/tmp/parameters.json")  # noqa: S108
    parameters.write_text(json.dumps({**defaults(code), **given}, sort_keys=True))
    variables = {
        "HEADRACE_MODE": "predict",
        "HEADRACE_PARAMETERS": str(parameters),
        "HEADRACE_CODE": str(code),
        "HEADRACE_DATA": str(WORK / "data" / "0" / "windows.npz"),
        "HEADRACE_MODEL": str(WORK / "model"),
        "HEADRACE_OUTPUT": str(output),
    }
    done = subprocess.run([sys.executable, entry], cwd=code, env={**os.environ, **variables}, check=False)
    if done.returncode:
        sys.exit(f"{entry} ended with exit code {done.returncode} when asked with HEADRACE_MODE=predict")
    answer = output / "predictions.npy"
    if not answer.is_file():
        sys.exit(f"{entry} wrote no predictions.npy into $HEADRACE_OUTPUT when asked with HEADRACE_MODE=predict")
    return np.load(answer, allow_pickle=False)


if __name__ == "__main__":
    main()
