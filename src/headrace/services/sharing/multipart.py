"""A form with one large file (multipart/form-data, RFC 7578), streamed into the store while it comes.

Two parts, in this order: ``metadata``, small JSON; then the file. So that who may not, or whose metadata are wrong, is told
before the first gigabyte and not after it, and no byte of the file waits in a temporary place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.assets import Stored, new_id
from headrace.errors import BadInput, FixedLimit, HeadraceError
from headrace.services.http import Body, Receive, Scope, header
from headrace.stores.artifacts import Artifacts, Incoming

METADATA = 64 * 1024
"""Bytes of the metadata."""
EPILOGUE = 64 * 1024
"""Bytes after the last boundary; they mean nothing."""
NAME = 200
"""Characters of a file's name that are kept."""
_PLAIN = {b"", b"binary", b"7bit", b"8bit"}
Checked = TypeVar("Checked")


@dataclass(frozen=True)
class Taken(Generic[Checked]):
    """What a form held."""

    metadata: Checked
    part: str
    """Name of the file's part."""
    filename: str
    stored: Stored


async def take_in(
    scope: Scope,
    receive: Receive,
    artifacts: Artifacts,
    company: str,
    check: Callable[[bytes, str], Checked],
    parts: Sequence[str] = ("file",),
    otherwise: bytes | None = None,
) -> Taken[Checked]:
    """Read a form; of one that is refused nothing is left in the store.

    Args:
        check: what the metadata mean, given them and the name of the file's part; called before the file is taken in, raises
            what a caller is to be told.
        parts: names the file's part may have.
        otherwise: the metadata of a form that has none; given, they may also come after the file. For programs that are not
            ours: who has no right to send anything has to be refused before.

    Raises:
        BadInput: no such form, or not the whole of it came.
        StorageUnavailable, TooLarge: see `Incoming.write`.
    """
    form, body = _Form(artifacts, company, check, parts, otherwise), Body(receive)
    try:
        parser = _Parser(header(scope, b"content-type"))
        async for piece in body.pieces():
            for event in parser.read(piece):
                await form.take(event)
        parser.end()
        return await form.finish()
    except HeadraceError:
        await form.drop()
        await body.spill()
        raise
    except BaseException:
        await form.drop()
        raise


@dataclass(frozen=True)
class _Part:
    """A part begins."""

    name: str
    filename: str


@dataclass(frozen=True)
class _End:
    """A part ends."""


class _Parser:
    """Bytes of the body in, events out."""

    def __init__(self, content_type: bytes) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise BadInput(detail="the body has to be multipart/form-data: a part 'metadata', then the file")
        if not options.get(b"boundary"):
            raise BadInput(detail="the content-type names no boundary")
        self._events: list[_Part | bytes | _End] = []
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._over, self._after = False, 0
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header,
                    "on_headers_finished": self._part,
                    "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                    "on_part_end": lambda: self._events.append(_End()),
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise BadInput(detail=f"the form's boundary cannot be used: {error}") from error

    def read(self, data: bytes) -> Iterator[_Part | bytes | _End]:
        """What these bytes bring. Raises BadInput."""
        if self._over:
            self._after += len(data)
            if self._after > EPILOGUE:
                raise BadInput(detail="there is more after the form's last boundary")
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadInput(detail=f"the form cannot be read: {error}") from error
        finally:
            events, self._events = self._events, []
        yield from events

    def end(self) -> None:
        """Raises BadInput: the form is not whole."""
        if not self._over:
            raise BadInput(detail="the form ends before its last boundary: not all of it came")

    def _header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _part(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise BadInput(detail="a part of the form has no content-disposition with a name")
        if self._headers.get(b"content-transfer-encoding", b"").lower() not in _PLAIN:
            raise BadInput(detail="a part of the form has a content-transfer-encoding; send it as it is")
        self._events.append(_Part(_text(options[b"name"]), plain_name(_text(options.get(b"filename", b"")))))

    def _end(self) -> None:
        self._over = True


class _Form(Generic[Checked]):
    """What came of a form so far: metadata, then the file."""

    def __init__(
        self,
        artifacts: Artifacts,
        company: str,
        check: Callable[[bytes, str], Checked],
        parts: Sequence[str],
        otherwise: bytes | None,
    ) -> None:
        self._artifacts, self._company, self._check, self._parts = artifacts, company, check, parts
        self._otherwise = otherwise
        self._upload = new_id("up")
        self._metadata: bytearray | None = None
        self._checked: Checked | None = None
        self._file: _Part | None = None
        self._incoming: Incoming | None = None
        self._inside = False
        self._filing = False
        """Whether the part we are in is the file."""

    async def take(self, event: _Part | bytes | _End) -> None:
        """The next event. Raises BadInput."""
        if isinstance(event, _Part):
            self._inside = True
            await self._begin(event)
        elif isinstance(event, _End):
            self._inside = False
        elif self._filing and self._incoming is not None:
            await self._incoming.write(event)
        elif self._metadata is not None:
            self._metadata += event
            if len(self._metadata) > METADATA:
                raise FixedLimit(what="the metadata", size=f"over {METADATA}", limit=METADATA)

    async def _begin(self, part: _Part) -> None:
        wanted = " or ".join(map(repr, self._parts))
        self._filing = part.name != "metadata"
        if part.name == "metadata":
            if self._metadata is not None:
                raise BadInput(detail="the form has two parts 'metadata', or one after the file")
            self._metadata = bytearray()
        elif part.name not in self._parts:
            raise BadInput(detail=f"the form has a part {part.name[:40]!r}; there are 'metadata' and then {wanted}")
        elif self._metadata is None and self._otherwise is None:
            example = f"""curl -F 'metadata={{"name": "NAME"}}' -F {part.name}=@FILE"""
            raise BadInput(detail=f"the part 'metadata' has to come before {part.name!r}: {example}")
        elif self._incoming is not None:
            raise BadInput(detail=f"the form has a second file, {part.name!r}; send one at a time")
        else:
            if self._metadata is not None:
                self._checked = self._check(bytes(self._metadata), part.name)
            self._file = part
            self._incoming = await self._artifacts.receive(self._company, self._upload)

    async def finish(self) -> Taken[Checked]:
        """The whole. Raises BadInput: a part is missing."""
        metadata = self._otherwise if self._metadata is None else bytes(self._metadata)
        if metadata is None or self._file is None or self._incoming is None:
            missing = "'metadata'" if metadata is None else " or ".join(map(repr, self._parts))
            raise BadInput(detail=f"the form has no part {missing}")
        part = self._file
        checked = self._check(metadata, part.name) if self._checked is None else self._checked
        return Taken(checked, part.name, part.filename, await self._incoming.finish())

    async def drop(self) -> None:
        """Leave nothing behind."""
        if self._incoming is not None:
            await self._incoming.pause()
            await self._artifacts.discard(self._company, self._upload)


def plain_name(name: str) -> str:
    """The name of a file without its folders and without what no name needs.

    >>> plain_name("C:\\\\data\\\\a b.csv"), plain_name("../../etc/passwd"), plain_name("..\\0"), plain_name("")
    ('a b.csv', 'passwd', 'file', 'file')
    """
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(letter for letter in last if letter.isprintable())[:NAME].strip()
    return kept if kept.strip(".") else "file"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
