r"""Characters that are not seen but obeyed: a terminal's control codes, and those that turn the direction of a text."""

from __future__ import annotations

import re

_OBEYED = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""C0, DEL, C1; marks of direction; separators of lines and paragraphs; embeddings, overrides, isolates."""
LINE = rf"^[^{_OBEYED}]*$"
"""Texts of one line without them, as a regular expression of Python's and of JSON schema's."""
LINES = rf"^(?:[^{_OBEYED}]|[\n\t])*$"
"""The same, of several lines."""
_FOUND = re.compile(rf"[{_OBEYED}\ud800-\udfff]")


def seen(text: str, kept: str = "\n\t") -> str:
    r"""A text as a terminal may be given it: each such character but the `kept` ones becomes U+FFFD.

    >>> seen("a\x1b[2Jb\u202ec\n")
    'a\ufffd[2Jb\ufffdc\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return _FOUND.sub(lambda found: found[0] if found[0] in kept else "\ufffd", text)


def one_line(text: str) -> str:
    """The text itself. Raises ValueError if it has such characters."""
    return _without(text, "")


def lines(text: str) -> str:
    """The text itself. Raises ValueError if it has such characters other than line breaks and tabs."""
    return _without(text, "\n\t")


def _without(text: str, kept: str) -> str:
    for one in _FOUND.findall(text):
        if one not in kept:
            raise ValueError(f"it has the control character U+{ord(one):04X}; leave it out")
    return text
