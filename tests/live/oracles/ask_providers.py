"""Opens a model as the process of deployments does, with the ONNX Runtime of this environment; prints what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from headrace.services.learning.deployed.program import Kept
from headrace.services.learning.deployed.tensors import About, Question, Reply, arrays, opened, packed, part

data, kept = Path(sys.argv[1]).read_bytes(), Kept()
x = np.arange(6, dtype=np.float32).reshape(2, 3)
here, _ = opened(kept.answer(packed(Question()))[1:], About)
answers = {}
for wanted in (["openvino", "cpu"], ["cpu"], ["cuda", "openvino"]):
    question = Question("a", wanted, len(data), [part("x", x)], ["y"])
    reply, raw = opened(kept.answer(packed(question, [x], data))[1:], Reply)
    answers[",".join(wanted)] = [reply.provider, arrays(reply.outputs, raw)["y"].tolist()]
print(json.dumps({"here": here.providers, "answers": answers}))
