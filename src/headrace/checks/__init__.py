"""Contract suites: what every member of a plug-in family must do, shipped so that third parties can run them on theirs.

Each is a plain function that raises AssertionError with what went wrong; call it from a test.
"""

from __future__ import annotations

from headrace.checks.artifacts import check_artifacts
from headrace.checks.backends import check_backend
from headrace.checks.brokers import check_broker
from headrace.checks.decoders import check_decoder
from headrace.checks.drift import check_detector
from headrace.checks.explainers import check_explainer
from headrace.checks.identities import check_identities
from headrace.checks.intervals import check_interval
from headrace.checks.ledgers import check_ledger
from headrace.checks.logs import check_log
from headrace.checks.objects import check_objects
from headrace.checks.transformers import check_transformer
from headrace.checks.translators import check_translator

__all__ = [
    "check_artifacts",
    "check_backend",
    "check_broker",
    "check_decoder",
    "check_detector",
    "check_explainer",
    "check_identities",
    "check_interval",
    "check_ledger",
    "check_log",
    "check_objects",
    "check_transformer",
    "check_translator",
]
