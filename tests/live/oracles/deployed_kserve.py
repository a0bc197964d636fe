"""Run by tests/live/test_deployed_oracles.py in KServe's own environment: a deployed model of two inputs and outputs is asked."""

import asyncio
import json
import sys

ADDRESS, MODEL = sys.argv[1:3]
sys.argv = sys.argv[:1]  # the SDK parses the command line when it is imported

import numpy as np  # noqa: E402
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # noqa: E402

A, B = np.array([[1, 2], [3, 4]]), np.array([[0.5, 2.0], [7.0, 0.0]], np.float16)


async def main() -> None:
    two = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    one = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    inputs = [InferInput("a", [2, 2], "INT64"), InferInput("b", [2, 2], "FP16")]
    inputs[0].set_data_from_numpy(A, binary_data=False)
    inputs[1].set_data_from_numpy(B, binary_data=True)
    asked = InferRequest(model_name=MODEL, infer_inputs=inputs)
    answer = await two.infer(ADDRESS, asked, model_name=MODEL)
    instances = [{"a": x.tolist(), "b": y.tolist()} for x, y in zip(A, B, strict=True)]
    found = {
        "ready": await two.is_model_ready(ADDRESS, MODEL),
        "answers": {one.name: [one.datatype, one.as_numpy().tolist()] for one in answer.outputs},
        "v1": (await one.infer(ADDRESS, {"instances": instances}, model_name=MODEL))["predictions"],
    }
    print(json.dumps(found))


asyncio.run(main())
