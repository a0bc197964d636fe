"""What a company signs of an asset: two in-toto statements (in-toto/attestation, Statement v1) over the same files.

The first is ours: every file a subject, the claim and where it is recorded as the predicate. The second is what OpenSSF's
model signing v1.0 wants: one subject, the files in its predicate, so that `model_signing verify key` takes it. That format fixes
type and subject, so one statement cannot be both. Texts are canonical JSON; checked by making them anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from headrace.assets import OutputFile
from headrace.claims import canonical
from headrace.services.verification.sayings import Shown

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://headrace.example/attestations/asset/v1"
"""Ours. The domain is reserved (RFC 2606), so that nobody can ever answer there."""
SIGNATURE = "https://model_signing/signature/v1.0"


def asset_statement(files: Sequence[OutputFile], found: Shown, signer: str) -> bytes:
    """That these files are what was recorded.

    Args:
        signer: fingerprint of the key that signs this.
    """
    claim = found.claim
    predicate: dict[str, Any] = {
        "id": claim["id"],
        "company": claim["company"],
        "claim": claim,
        "result": found.result,
        "signer": signer,
        "ledger": {
            "chain": found.chain,
            "genesis": found.genesis,
            "operator": found.operator,
            "contract": found.contract,
            "owner": found.owner,
            "transactions": found.transactions,
        },
    }
    subject = [{"name": file.path, "digest": {"sha256": _hex(file)}} for file in files]
    return canonical({"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": predicate})


def model_statement(files: Sequence[OutputFile], name: str) -> bytes:
    """What `model_signing` signs of a folder with these files.

    Args:
        name: of the model; means nothing to a verifier.
    """
    ordered = sorted(files, key=lambda file: PurePosixPath(file.path).parts)
    whole = hashlib.sha256(b"".join(bytes.fromhex(_hex(file)) for file in ordered)).hexdigest()
    resources = [{"name": file.path, "algorithm": "sha256", "digest": _hex(file)} for file in ordered]
    predicate = {
        "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
        "resources": resources,
    }
    subject = [{"name": name, "digest": {"sha256": whole}}]
    return canonical({"_type": STATEMENT, "subject": subject, "predicateType": SIGNATURE, "predicate": predicate})


def _hex(file: OutputFile) -> str:
    return file.stored.sha256.removeprefix("sha256:")
