"""The one way ONNX Runtime is opened here: on one thread, and without its telemetry. Imports onnxruntime when asked.

Since its builds for Linux have telemetry, importing ONNX Runtime makes a device id and a database of events in the user's
cache, and a thread that sends them to its vendor; the variable below, set before the import, keeps it from that.
"""

from __future__ import annotations

import os
from typing import Any

SILENT = "ORT_DISABLE_TELEMETRY"


def open_session(model: bytes | str) -> Any:
    """An ``onnxruntime.InferenceSession`` of a model's bytes, or of the file it is in. Raises what ONNX Runtime raises."""
    os.environ[SILENT] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
