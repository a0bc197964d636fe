"""The ledger's process: ``python -m headrace.trust.evm FOLDER KEYS``. Questions on its standard input, answers on its standard
output, until the input ends: when the platform is gone, so is this."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import IO, Any

import msgspec

from headrace.disk import damaged, unavailable
from headrace.errors import CorruptState, DirectoryInUse, HeadraceError, StorageUnavailable, Temporary
from headrace.trust.evm.book import REBUILD, Book
from headrace.trust.evm.lock import hold
from headrace.trust.evm.wire import LENGTH, Answer, Request, framed
from headrace.trust.keyring import Keyring


class Server:
    """Answers one question after the other. The ledger is opened when it is first needed, and again after an error of the
    disk: then all that counts is what is on it."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self._folder, self._keys = folder, keys
        self._book: Book | None = None
        self._lock: IO[str] | None = None

    def answer(self, request: Request) -> Answer:
        """The answer, or the error."""
        try:
            return Answer(request.id, self._do(request))
        except HeadraceError as error:
            return Answer(request.id, error=type(error).__name__, fields=error.fields)
        except (OSError, sqlite3.Error) as error:
            self.close()
            if unavailable(error):
                return Answer(request.id, error=StorageUnavailable.__name__, fields={"detail": str(error)})
            if damaged(error):
                told = f"the ledger's files are damaged ({error}): {REBUILD}, or put a backup back"
                return Answer(request.id, error=CorruptState.__name__, fields={"detail": told})
            told = f"the ledger's files cannot be used ({error})"
            return Answer(request.id, error=Temporary.__name__, fields={"detail": told})

    def close(self) -> None:
        """Close what is open."""
        book, self._book = self._book, None
        if book is not None:
            book.close()

    def _do(self, request: Request) -> Any:
        if self._book is None:
            self._lock = self._lock or self._hold()
            self._book = Book(self._folder, Keyring(self._keys))
        verb = getattr(self._book, request.verb)
        if request.verb == "submit":
            return verb(request.text, request.understood())
        return verb() if request.verb == "status" else verb(request.text)

    def _hold(self) -> IO[str]:
        try:
            return hold(self._folder)
        except DirectoryInUse as error:  # perhaps by that of a platform that was killed, and ends soon
            raise Temporary(detail=f"another process (pid {error.fields['pid']}) has the ledger") from error


def serve(source: IO[bytes], into: IO[bytes], server: Server) -> None:
    """Until the input ends."""
    decoder = msgspec.msgpack.Decoder(Request)
    while len(length := source.read(LENGTH)) == LENGTH:
        body = source.read(int.from_bytes(length, "big"))
        into.write(framed(server.answer(decoder.decode(body))))
        into.flush()


def main() -> None:
    """See the module."""
    source, into = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)  # what a library prints is no answer
    server = Server(Path(sys.argv[1]), Path(sys.argv[2]))
    try:
        serve(source, into, server)
    except BrokenPipeError:
        os.dup2(null, into.fileno())  # the platform is gone; nobody waits for the rest
    finally:
        server.close()


if __name__ == "__main__":
    main()
