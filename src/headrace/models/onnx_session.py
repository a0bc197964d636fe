"""The one way ONNX Runtime is opened here: on one thread, and without its telemetry. Imports onnxruntime when asked.

Since its builds for Linux have telemetry, importing ONNX Runtime makes a device id and a database of events in the user's
cache, and a thread that sends them to its vendor; the variable below, set before the import, keeps it from that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

SILENT = "ORT_DISABLE_TELEMETRY"
CPU = "CPUExecutionProvider"


def open_session(model: bytes | str, providers: Sequence[str] = (CPU,)) -> Any:
    """An ``onnxruntime.InferenceSession`` of a model's bytes, or of the file it is in. Raises what ONNX Runtime raises.

    Args:
        providers: execution providers as ONNX Runtime calls them, in order of preference. It leaves those out that fail to start,
            without an error: ``get_providers()`` of the session says which are in use.
    """
    os.environ[SILENT] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")  # and no other, which nobody looks through
    return onnxruntime.InferenceSession(model, options, providers=list(providers))


def available() -> list[str]:
    """Execution providers of the ONNX Runtime that is installed here."""
    os.environ[SILENT] = "1"
    import onnxruntime

    return list(onnxruntime.get_available_providers())
