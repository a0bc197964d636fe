"""The routes of the original MLaaS platform, for its own client (`mlaas-sdk`) and for the calls its chapter prints.

A thin door: every rule is the hub's, the training service's or the verification service's. Its clients send no token, so it
exists on an open platform only (`headrace up --open`: one company, reached from this machine alone). See docs/original.md.
"""

from __future__ import annotations

from headrace.original.door import create_app
from headrace.original.registering import Original
from headrace.services import apidocs
from headrace.services.http import App
from headrace.services.sharing.service import SharingService
from headrace.services.training.service import TrainingService
from headrace.services.verification.service import VerificationService

PATHS = ("/dataset", "/model", "/metadata", "/train", "/contract", *apidocs.paths("original"))
"""How its paths begin. `/translate` is the translation service's own."""


def doors(
    sharing: SharingService, training: TrainingService, verification: VerificationService, largest_upload: int = 0
) -> dict[str, App]:
    """Its doors, by how their paths begin.

    Args:
        largest_upload: bytes of a file; 0: no limit but the company's quota.
    """
    return dict.fromkeys(PATHS, create_app(Original(sharing, training, verification), largest_upload))
