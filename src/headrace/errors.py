"""Every error Headrace raises on purpose, as one tree.

The docstring of a leaf is its message: it is filled in with the keyword arguments of the constructor and says what to
do next. Transports map the *branches* to their own codes (``services/*/http.py``); no code appears here.

HeadraceError
├── BadInput            the caller sent something wrong; sending it again will fail again
│   ├── Undecodable     a device's payload no decoder understands
│   ├── BadSpec         a headrace.yaml with at least one problem
│   ├── BadTensor       an inference input of the wrong name, shape or type
│   ├── BadArchive      a code archive that is not safe to unpack
│   └── Ragged          a table whose lines have different numbers of fields
├── NotFound            the thing named does not exist
│   ├── UnknownModel, UnknownKey, UnknownTopic, UnknownPrediction, UnknownObject
│   ├── UnknownPlugin, NoLog, UnknownAsset, UnknownContract
│   └── NotServed       a shadow: it exists, but answers nobody
├── Conflict            not possible while something else is as it is
│   └── HasShadows
├── TooLarge            over a configured limit
├── Unauthenticated     nobody we know: no token, or one that is not believed
├── Forbidden           the caller may not do this
│   └── PrivateAddress  a webhook into the operator's own network
├── Unsupported         understood, but not offered
├── Unexplained         there is no explanation that may be shown
├── Temporary           try again later
│   ├── Unanswered, TooSlow   the process that answers for a company ended, or was ended
│   ├── NotReady        exists, but has nothing to serve yet
│   ├── TooMany         others are being answered first
│   │   └── TooManyGuesses, TooManyNames, TooManyRegistrations   passwords, names of companies, registrations a day
│   └── StorageUnavailable   the log cannot commit (disk full, I/O error)
└── Permanent           the operator has to act
    ├── MissingExtra (Uncheckable), DirectoryInUse, UnusableDirectory, PortInUse, NotOpen, NotAlone, Fenced, LearningError
    ├── CorruptState    what is stored is not what was stored
    │   └── Tampered    what is shown is not what was recorded
    ├── UnknownSigner, Revoked   it holds together, and is not to be believed
    └── NoIsolation, WrongEnvironment   a program of somebody else cannot run here
"""

from __future__ import annotations

import inspect


class HeadraceError(Exception):
    """Something went wrong in Headrace: {detail}."""

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        template = inspect.cleandoc(type(self).__doc__ or "").replace("\n", " ")
        message = template.format_map(_Fields(fields))
        super().__init__(message[:-1] if message.endswith("..") and not message.endswith("...") else message)

    @property
    def brief(self) -> str:
        """What happened, for a list of checks that has words of its own around it."""
        return str(self.fields.get("brief") or self.fields.get("detail") or self)


class _Fields(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


class BadInput(HeadraceError):
    """{detail}."""


class Undecodable(BadInput):
    """{detail}."""


class BadSpec(BadInput):
    """{detail}"""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(detail="\n".join(str(problem) for problem in problems))


class Problem:
    """One thing wrong with a spec: where it stands, what was found, what was expected.

    >>> print(Problem("headrace.yaml", 12, "backend", "no backend 'rsl'; did you mean 'rls'?"))
    headrace.yaml:12: backend: no backend 'rsl'; did you mean 'rls'?
    """

    def __init__(self, file: str, line: int, field: str, message: str) -> None:
        self.file, self.line, self.field, self.message = file, line, field, message

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.message}"


class BadTensor(BadInput):
    """{detail}."""


class Ragged(BadInput):
    """{detail}: make all lines alike, and register the file again."""


class BadArchive(BadInput):
    """The code archive is refused: {detail}."""


class NotFound(HeadraceError):
    """{detail}."""


class UnknownModel(NotFound):
    """There is no model {name!r}; `headrace get` lists the models that exist."""


class UnknownKey(NotFound):
    """Model {name!r} has seen nothing of {key!r}; it knows {known}."""


class UnknownTopic(NotFound):
    """Nothing has been received on topic {topic!r}; `headrace inspect` lists the topics that exist."""


class UnknownPrediction(NotFound):
    """There is no prediction {id!r} of model {model!r}, or it is older than what is kept."""


class UnknownObject(NotFound):
    """There is no object {name!r} in the store."""


class UnknownAsset(NotFound):
    """There is no {kind} {id!r} that you may know of; `headrace {kind} list` shows those you may."""


class UnknownContract(NotFound):
    """There is no contract or transaction {address!r} of ours on this chain."""


class UnknownPlugin(NotFound):
    """There is no {family} {name!r}; known: {known}."""


class NoLog(NotFound):
    """There is no recorded log in {path}: `headrace replay` reads the data directory of the platform itself (--data), on
    its machine. A platform elsewhere can run the candidate on live messages: write `shadow: NAME` into its spec and
    `headrace apply` it."""


class NotServed(NotFound):
    """{name!r} is a shadow of {served!r} and is not served: ask {served!r}, or `headrace promote {name}` first."""


class Conflict(HeadraceError):
    """{detail}."""


class HasShadows(Conflict):
    """{name!r} is what {shadows} is compared with; `headrace promote` a candidate or `headrace delete` it first."""


def size_of(count: int) -> str:
    """Bytes for people.

    >>> size_of(999), size_of(2**20), size_of(5 * 10**9)
    ('999 bytes', '1 MiB', '4.7 GiB')
    """
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


class TooLarge(HeadraceError):
    """{what} is {size}, over the limit of {limit}; send less at a time or raise `{setting}`."""

    def __init__(self, **fields: object) -> None:
        counts = {name: fields[name] for name in ("size", "limit") if isinstance(fields.get(name), int)}
        told = {name: size_of(count) for name, count in counts.items() if isinstance(count, int)}
        if len(set(told.values())) < len(told):  # just above
            told = {name: f"{count:,} bytes" for name, count in counts.items()}
        super().__init__(**{**fields, **told})
        self.fields = fields


class FixedLimit(TooLarge):
    """{what} is {size}, over the limit of {limit}, which no setting raises; send less at a time."""


class Unauthenticated(HeadraceError):
    """{detail}; `headrace login` gets a token."""


class Forbidden(HeadraceError):
    """{detail}."""


class PrivateAddress(Forbidden):
    """The webhook's host {host!r} is not on the public internet; `headrace up --webhook-private` allows such addresses."""


class Unsupported(HeadraceError):
    """{detail}."""


class Unexplained(HeadraceError):
    """No explanation: {detail}; {instead}."""


class Temporary(HeadraceError):
    """{detail}; try again later."""


class NotReady(Temporary):
    """Model {name!r} {detail}; try again later."""


class Unanswered(Temporary):
    """{what} cannot be answered: {detail}; {instead}."""


class TooSlow(Temporary):
    """{what} was not answered within {seconds:g} s and its process was ended: {instead}."""


class TooMany(Temporary):
    """{count} {what} are waiting already; try again later."""


class TooManyGuesses(TooMany):
    """Too many wrong passwords for this name or from this address; try again in {seconds:.0f} s."""


class TooManyNames(TooMany):
    """Your company has named {count} companies within an hour that do not exist; ask for the right name, and try again later."""


class TooManyRegistrations(TooMany):
    """Your company has registered {count:,} datasets and models within 24 hours, and more may not be: what the ledger has of each
    stays for ever. Try again later, or have `LibrarySettings.registrations` raised."""


class StorageUnavailable(Temporary):
    """Nothing was stored: {detail}. Free space in the data directory; sending again is safe."""


class Permanent(HeadraceError):
    """{detail}."""


class MissingExtra(Permanent):
    """{family} {name!r} needs a library that is not installed ({module}): pip install 'headrace[{extra}]'."""


class Uncheckable(MissingExtra):
    """Nothing was checked: the signatures on a ledger need a library that is not installed here ({module}):
    pip install coincurve 'eth-hash[pycryptodome]'."""


class DirectoryInUse(Permanent):
    """{path} is in use by another Headrace (pid {pid}); stop it, or choose another --data."""


class UnusableDirectory(Permanent):
    """The data directory {path} cannot be used ({reason}); choose another --data, or make it yours."""


class PortInUse(Permanent):
    """Cannot listen on {host}:{port} ({reason}); choose another with {option} (0 takes a free one)."""


class NotOpen(Permanent):
    """`--open` asks nobody for a token, and {reason}: start without it, or on loopback with one company."""


class NotAlone(Permanent):
    """`--unsafe-no-sandbox` lets training code do what the platform can, and {reason}: start without it, or on loopback with one
    company."""


class Fenced(Permanent):
    """This worker was replaced (its epoch {mine}, current {current}): it stops without writing."""


class CorruptState(Permanent):
    """{detail}."""


class Tampered(CorruptState):
    """Not verified: {detail}."""


class UnknownSigner(Permanent):
    """Unknown signer: {detail}."""


class Revoked(Permanent):
    """Its owner says that it is not to be relied upon any more: {detail}."""

    @property
    def brief(self) -> str:
        return f"revoked: {self.fields.get('detail')}"


class LearningError(Permanent):
    """{detail}; nothing was learnt from these examples and the model stays as it was before them."""


class NoIsolation(Permanent):
    """This machine cannot run other people's code isolated ({reason}): {fix}."""


class WrongEnvironment(Permanent):
    """The recipe's environment cannot be had here: {detail}."""
