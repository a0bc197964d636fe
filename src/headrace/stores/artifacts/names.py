"""The names an artifact store takes; whatever else is asked for is not there. Nothing of a caller's reaches a path unread."""

from __future__ import annotations

import re

from headrace.errors import UnknownObject

_COMPANY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}", re.ASCII)
_UPLOAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", re.ASCII)
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)


def company(name: str) -> str:
    """The name of a company. Raises UnknownObject."""
    return _fits(_COMPANY, name)


def upload(name: str) -> str:
    """The id of an upload. Raises UnknownObject."""
    return _fits(_UPLOAD, name)


def hexadecimal(digest: str) -> str:
    """The 64 digits of a digest. Raises UnknownObject."""
    return _fits(_DIGEST, digest).removeprefix("sha256:")


def _fits(pattern: re.Pattern[str], name: str) -> str:
    if pattern.fullmatch(name) is None:
        raise UnknownObject(name=name[:100])
    return name
