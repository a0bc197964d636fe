"""The small model of the `/infer` comparison: ten features, one numpy dot: ``python linear.py PORT``.

Runs in the KServe environment.
"""

# mypy: ignore-errors

import numpy as np
from quiet import InferOutput, InferResponse, Model, serve

WEIGHTS = np.linspace(-1.0, 1.0, 10)


class Linear(Model):
    """`x @ WEIGHTS`."""

    def predict(self, payload, headers=None):
        result = payload.inputs[0].as_numpy() @ WEIGHTS
        output = InferOutput(name="y", shape=list(result.shape), datatype="FP64", data=result.tolist())
        return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    serve(Linear("linear"))
