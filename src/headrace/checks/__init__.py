<<<<<<< HEAD
"""Contract suites: what every member of a plug-in family must do, shipped so that third parties can run them on theirs.

Each is a plain function that raises AssertionError with what went wrong; call it from a test.
"""

from __future__ import annotations

from headrace.checks.backends import check_backend
from headrace.checks.intervals import check_interval
from headrace.checks.transformers import check_transformer

__all__ = ["check_backend", "check_interval", "check_transformer"]
=======
"""Contract suites: what every member of a plug-in family must do, shipped so that third parties can run them on theirs."""
>>>>>>> decoders
