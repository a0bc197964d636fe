"""Run by tests/live/test_oip_oracles.py in KServe's own environment: its client asks a Headrace, answers as one JSON line."""

import asyncio
import json
import sys

ADDRESS, MODEL = sys.argv[1:3]
sys.argv = sys.argv[:1]  # the SDK parses the command line when it is imported

import numpy as np  # noqa: E402
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import RequestedOutput  # noqa: E402

X = np.random.default_rng(3).random((2, 24, 10))


def request(dtype: type, *, raw: bool, outputs: bool) -> InferRequest:
    tensor = InferInput("x", [2, 24, 10], {np.float64: "FP64", np.float32: "FP32"}[dtype])
    tensor.set_data_from_numpy(X.astype(dtype), binary_data=raw)
    asked = [RequestedOutput("y", {"binary_data": raw})] if outputs else None
    return InferRequest(model_name=MODEL, infer_inputs=[tensor], request_outputs=asked)


async def main() -> None:
    two = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    one = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    found = {
        "live": await two.is_server_live(ADDRESS),
        "ready": await two.is_server_ready(ADDRESS),
        "model": await two.is_model_ready(ADDRESS, MODEL),
        "nobody": await two.is_model_ready(ADDRESS, "nobody"),
        "v1": await one.is_model_ready(ADDRESS, MODEL),
        "last": (await one.infer(ADDRESS, {"instances": []}, model_name=MODEL))["predictions"][0],
        "answers": [],
    }
    for dtype in (np.float64, np.float32):
        for raw in (False, True):
            for outputs in (False, True):
                answer = await two.infer(ADDRESS, request(dtype, raw=raw, outputs=outputs), model_name=MODEL)
                found["answers"].append(answer.outputs[0].as_numpy().tolist())
    try:
        wrong = InferInput("x", [1, 3], "FP64")
        wrong.set_data_from_numpy(np.zeros((1, 3)), binary_data=False)
        await two.infer(ADDRESS, InferRequest(model_name=MODEL, infer_inputs=[wrong]), model_name=MODEL)
    except Exception as error:
        found["error"] = str(error)
    print(json.dumps({"x": X.tolist(), **found}))


asyncio.run(main())
