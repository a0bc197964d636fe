"""Run by tests/live/test_deployed_oracles.py in Triton's own environment: a deployed model of two inputs and outputs is asked."""

import json
import sys

import numpy as np
import tritonclient.http as triton

ADDRESS, MODEL = sys.argv[1:3]
A, B = np.array([[1, 2], [3, 4]]), np.array([[0.5, 2.0], [7.0, 0.0]], np.float16)

client = triton.InferenceServerClient(ADDRESS.removeprefix("http://"))
metadata = client.get_model_metadata(MODEL)
(version,) = metadata["versions"]
found = {"metadata": metadata, "ready": client.is_model_ready(MODEL, version), "answers": []}
for raw in (False, True):
    # its client cannot write FP16 as JSON: that input is raw always
    inputs = [triton.InferInput("a", [2, 2], "INT64"), triton.InferInput("b", [2, 2], "FP16")]
    inputs[0].set_data_from_numpy(A, binary_data=raw)
    inputs[1].set_data_from_numpy(B, binary_data=True)
    outputs = [triton.InferRequestedOutput(name, binary_data=True) for name in ("sum", "more")]
    answer = client.infer(MODEL, inputs, version, outputs)
    kinds = {one["name"]: one["datatype"] for one in answer.get_response()["outputs"]}
    found["answers"].append({name: [kinds[name], answer.as_numpy(name).tolist()] for name in kinds})
print(json.dumps(found))
