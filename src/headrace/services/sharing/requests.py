"""What callers send to register something: the bodies of the HTTP API, checked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from headrace.assets import Environment, Limits, Plain, Recipe, Right, Scalar, Stored
from headrace.controls import LINE, LINES, lines, one_line
from headrace.errors import BadInput

Take: TypeAlias = Callable[[], Awaitable[Stored]]
"""Makes an upload durable and puts it in its place: `Incoming.finish`."""
Media: TypeAlias = Literal["csv", "parquet", "npy", "npz", "images", "other"]
Name: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(one_line),
    Field(json_schema_extra={"pattern": LINE}),
]
Text: TypeAlias = Annotated[
    str, StringConstraints(max_length=4000), AfterValidator(lines), Field(json_schema_extra={"pattern": LINES})
]
Company: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Variable: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Id: TypeAlias = Annotated[str, StringConstraints(max_length=64)]
UPLOAD = "id of a finished resumable upload (`/uploads`), instead of a `file` or `code` part"
FOREVER = 253_402_300_800_000
"""Milliseconds of the year 10000: later is no time."""

_SUFFIXES: dict[str, Media] = {"csv": "csv", "parquet": "parquet", "npy": "npy", "npz": "npz"}
_ODD = re.compile(r"[^\w.,()+ -]", re.ASCII)


class NewDataset(Plain):
    """The `metadata` part of ``POST /datasets``."""

    name: Name
    description: Text = ""
    media: Media | None = Field(
        default=None, description="left out: by what is in it; images: an archive of an image folder"
    )
    confidential: bool = False
    filename: Annotated[str, StringConstraints(max_length=255)] = Field(
        default="", description="left out: the part's own"
    )
    upload: str = Field(default="", description=UPLOAD)


class NewRecipe(Plain):
    """A recipe without its code, which comes as a part of its own."""

    entry_point: Annotated[str, StringConstraints(min_length=1, max_length=255)] = "train.py"
    parameters: dict[Variable, Scalar] = Field(default={}, max_length=1000)
    seeds: dict[Variable, int] = Field(default={"SEED": 0}, max_length=100)
    environment: Environment = Environment()  # type: ignore[call-arg]
    datasets: list[Id] = Field(default=[], max_length=100)
    evaluation: list[Id] = Field(default=[], max_length=100)
    parent: Id = ""
    limits: Limits = Limits()  # type: ignore[call-arg]
    deterministic: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000, description="of its job; higher goes first")
    attempts: int = Field(default=1, ge=1, le=10, description="how often its job may be started")

    def with_code(self, code: Stored) -> Recipe:
        """The recipe as it is kept."""
        given = self.model_dump(exclude={"priority", "attempts"})
        made = Recipe.model_validate({**given, "code": code.model_dump()})
        try:
            again = Recipe.model_validate_json(made.model_dump_json())
        except ValidationError:
            again = None
        if again != made:  # JSON has no NaN and no infinity
            raise BadInput(detail="the recipe has a number that is not finite")
        return made


class NewModel(Plain):
    """The `metadata` part of ``POST /models``: with a recipe it is trained here, without it is taken as it is."""

    name: Name
    description: Text = ""
    recipe: NewRecipe | None = None
    confidential: bool = False
    filename: Annotated[str, StringConstraints(max_length=255)] = Field(
        default="", description="left out: the part's own"
    )
    upload: str = Field(default="", description=UPLOAD)


class FromStream(Plain):
    """The body of ``POST /datasets/from-stream``."""

    topic: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    from_ms: int = Field(ge=0, lt=FOREVER, description="first event time, ms since the epoch")
    to_ms: int = Field(gt=0, lt=FOREVER, description="event time where it ends, itself not in it")
    name: Name
    description: Text = ""
    confidential: bool = False


class NewGrant(Plain):
    """The body of ``POST /grants``."""

    asset: Id = Field(description="id of a dataset or model of one's own")
    grantee: Company = Field(description="the other company")
    right: Right
    expires_ms: int | None = Field(default=None, ge=0, lt=FOREVER, description="null: until revoked")


class Revocation(Plain):
    """The body of ``POST /datasets/{id}/revoke`` and ``POST /models/{id}/revoke``."""

    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        AfterValidator(one_line),
        Field(json_schema_extra={"pattern": LINE}, description="stands on the ledger for ever, for everybody to read"),
    ]


def media_of(filename: str) -> Media:
    """What a file's name says it is.

    >>> media_of("Plant.CSV"), media_of("notes.txt")
    ('csv', 'other')
    """
    return _SUFFIXES.get(filename.rpartition(".")[2].lower(), "other")


def plain_name(given: str, otherwise: str) -> str:
    r"""A file name that is safe to keep, send and mount: no folders, no controls, at most 120 characters.

    >>> plain_name("../../etc/passwd", "data"), plain_name("C:\\plant a.csv", "data"), plain_name("..", "data")
    ('passwd', 'plant a.csv', 'data')
    """
    last = re.split(r"[/\\]", given)[-1]
    name = _ODD.sub("_", last).strip(" ")[-120:].lstrip(". -")
    return name or otherwise
