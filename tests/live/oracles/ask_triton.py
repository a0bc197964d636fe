"""Run by tests/live/test_oip_oracles.py in Triton's own environment: its client asks a Headrace, answers as one JSON line."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

ADDRESS, MODEL = sys.argv[1:3]
X = np.random.default_rng(3).random((2, 24, 10))


def tensor(values: np.ndarray, kind: str, *, raw: bool) -> triton.InferInput:
    made = triton.InferInput("x", list(values.shape), kind)
    return made.set_data_from_numpy(values, binary_data=raw)


def refused(call, *arguments) -> str:
    try:
        call(*arguments)
    except InferenceServerException as error:
        return str(error)
    return ""


client = triton.InferenceServerClient(ADDRESS.removeprefix("http://"))
metadata = client.get_model_metadata(MODEL)
(version,) = metadata["versions"]
found = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model": client.is_model_ready(MODEL, version),
    "nobody": client.is_model_ready("nobody"),
    "server": client.get_server_metadata()["name"],
    "index": [one["name"] for one in client.get_model_repository_index()],
    "last": client.infer(MODEL, [tensor(np.zeros(0), "FP64", raw=True)]).as_numpy("y")[0].tolist(),
    "answers": [],
    "errors": [
        refused(client.load_model, MODEL),
        refused(client.infer, MODEL, [tensor(np.zeros((1, 3)), "FP64", raw=True)]),
        refused(client.infer, MODEL, [tensor(np.array([b"a"], dtype=object), "BYTES", raw=True)]),
        refused(client.infer, MODEL, [tensor(X, "FP64", raw=True)], "77"),
    ],
}
for dtype, kind in ((np.float64, "FP64"), (np.float32, "FP32")):
    for raw in (False, True):
        for outputs in (None, [triton.InferRequestedOutput("y", binary_data=raw)]):
            for packed in (None, "gzip", "deflate"):
                answer = client.infer(
                    MODEL,
                    [tensor(X.astype(dtype), kind, raw=raw)],
                    version,
                    outputs,
                    "me",
                    request_compression_algorithm=packed,
                )
                assert answer.get_response()["id"] == "me"
                found["answers"].append(answer.as_numpy("y").tolist())
print(json.dumps({"x": X.tolist(), **found}))
