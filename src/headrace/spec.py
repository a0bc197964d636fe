"""The user's ``headrace.yaml``: what a document may say, and where exactly it is wrong.

This module knows the shape of a spec, not the plug-ins it names: their parameters are checked by the service that will
run them, which reports problems with `Document.problem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from headrace.errors import BadSpec, Problem
from headrace.records import DAY, HOUR, MINUTE, SECOND
from headrace.topics import valid_filter

_UNITS = {"ms": 1_000_000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def duration(text: object) -> int:
    """Nanoseconds of "5m", "1h", "16d", "250ms".

    >>> duration("1h") == 3600 * 10**9
    True
    >>> duration("soon")
    Traceback (most recent call last):
        ...
    ValueError: expected a duration such as 30s, 5m, 1h or 16d, got 'soon'
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 16d, got {text!r}")
    return round(float(match[1]) * _UNITS[match[2]])


Duration: TypeAlias = Annotated[
    int, BeforeValidator(lambda value: value if isinstance(value, int) else duration(value))
]
"""Nanoseconds; in YAML "30s", "5m", "1h", "16d"."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Plug(_Strict):
    """A plug-in by name with its parameters: ``rls`` or ``rls: {forget: 0.99}``."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            ((name, params),) = value.items()
            if params is not None and not isinstance(params, dict):
                raise ValueError(f"expected parameters of {name!r} as a mapping, got {params!r}")
            return {"name": str(name), "params": params or {}}
        if isinstance(value, dict) and set(value) <= {"name", "params"}:
            return value
        raise ValueError("expected a name, or one name with its parameters: `rls: {forget: 0.99}`")


class Input(_Strict):
    """Which messages a model sees."""

    topics: list[str] = Field(min_length=1)
    """MQTT topic filters: ``plant/+/reading``, ``site/#``."""
    key: Literal["device", "topic", "none"] = "device"
    """One independent model per device, per topic, or one over everything."""
    decoder: Plug = Plug(name="auto")
    """How payloads are read; `auto` tells per message."""
    max_keys: int = Field(default=1000, ge=1)
    """Devices (or topics) beyond this many are ignored: a device must not be able to fill the memory."""
    target: str
    """The field to forecast, as it is called after the transform."""
    unit: str = ""
    """Unit of the target, for people: W, kWh, °C."""
    timezone: str = "UTC"
    """Whose midnight and hours count; an IANA name."""
    clock: Literal["event", "wall"] = "event"
    """"event": only readings move time. "wall": the platform also appends a tick to the log each minute, so that a
    sleeping device's windows close on time; for live data whose timestamps are the real time."""

    @field_validator("topics")
    @classmethod
    def _filters(cls, topics: list[str]) -> list[str]:
        for topic in topics:
            if topic.startswith("$") or not valid_filter(topic):
                raise ValueError(f"expected an MQTT topic filter such as plant/+/reading, got {topic!r}")
        return topics

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"expected an IANA time zone such as Europe/Madrid, got {name!r}") from None
        return name


class Forecast(_Strict):
    """What is predicted and when."""

    horizon: int = Field(default=24, ge=1, le=10_000)
    """Grid steps ahead."""
    every: Duration = DAY
    """A forecast is issued each time this much event time has passed, counted from local midnight + `at`."""
    at: Duration = 0
    """Offset of the first forecast of a day from local midnight."""


class Learning(_Strict):
    """When the model learns, and from what."""

    initial: Duration = 16 * DAY
    """Event time of readings used for the first fit, the scaler and nothing else; no forecast before it."""
    every: Duration = DAY
    """After the first fit, learn each time this much event time has passed, from the examples completed since."""
    examples: Literal["forecasts", "steps"] = "steps"
    """Which origins make examples: those of the issued forecasts, or every grid step."""
    replay: Literal["none", "ring", "all"] = "ring"
    """Old examples rehearsed with the new: none, those of the last `ring`, or all."""
    ring: Duration = 14 * DAY
    """Event time of old examples kept with ``replay: ring``."""


class Publish(_Strict):
    """The champion/challenger gate."""

    serve: Literal["live", "published"] = "live"
    """Answer with the learning model as it is now, or with the last snapshot that passed the gate."""
    improvement: float = Field(default=0.05, ge=0, lt=1)
    """Publish when the challenger's error is this fraction below the champion's..."""
    window: Duration = 7 * DAY
    """...over the forecasts scored in this trailing event time..."""
    minimum: int = Field(default=3, ge=1)
    """...of which there must be at least this many scored days."""


class Output(_Strict):
    """Where forecasts go."""

    topic: str = "headrace/forecast/{model}/{key}"
    """Each forecast is published here, retained."""


class Metadata(_Strict):
    """How the document is called."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")
    """Unique among the models in service: lower-case letters, digits, dots and dashes, at most 63."""


class OnlineModel(_Strict):
    """A model that learns from a stream."""

    kind: Literal["OnlineModel"]
    """What this document describes."""
    metadata: Metadata
    """Its name."""
    input: Input
    """Which messages it sees, and which field it forecasts."""
    transform: list[Plug] = Field(default_factory=list)
    """Steps from readings to model inputs; feature steps left out are filled in with the backend's own."""
    forecast: Forecast = Forecast()
    """How far ahead, and when."""
    backend: Plug
    """What learns, with its parameters: ``rls``, ``torch: {module: gru}``."""
    interval: Plug = Plug(name="residual")
    """The band around a forecast."""
    learning: Learning = Learning()
    """When it learns, and from what."""
    publish: Publish = Publish()
    """When a snapshot is published, and what is served."""
    output: Output = Output()
    """Where forecasts go."""
    seed: int = 0
    """Of everything random in the model."""

    @property
    def name(self) -> str:
        return self.metadata.name


KINDS: dict[str, type[OnlineModel]] = {"OnlineModel": OnlineModel}


@dataclass(frozen=True)
class Document:
    """One document of a spec file: the validated spec, its plain form, and the lines its fields stand on."""

    file: str
    spec: OnlineModel
    plain: dict[str, Any]
    """As written, for the log and for `diff`."""
    lines: dict[tuple[str | int, ...], int]

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem at `path`, on its line (or that of its nearest parent that is written)."""
        return _problem(self.file, self.lines, path, message)


def parse(text: str, file: str = "headrace.yaml") -> list[Document]:
    """Every document of a spec file.

    Raises:
        BadSpec: with all problems found, each with file, line, field and what was expected.
    """
    problems: list[Problem] = []
    documents: list[Document] = []
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise BadSpec([Problem(file, line, "(YAML)", str(getattr(error, "problem", error)))]) from error
    for node in nodes:
        if node is not None:
            _document(file, node, documents, problems)
    if not problems and not documents:
        problems.append(Problem(file, 1, "(file)", "expected at least one document with `kind: OnlineModel`"))
    _repeated(documents, problems)
    if problems:
        raise BadSpec(problems)
    return documents


def from_plain(plain: dict[str, Any], file: str = "(log)") -> Document:
    """A document that was parsed before, as the log keeps it."""
    return Document(file, OnlineModel.model_validate(plain), plain, {})


def needed_files(plain: dict[str, Any]) -> list[str]:
    """Names of the Python files a spec refers to: ``file: x.py`` and ``module: x.py:Class`` of its plug-ins."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in {"file", "module"} and isinstance(inner, str) and ".py" in inner:
                    found.append(inner.partition(":")[0])
                else:
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk({name: plain.get(name) for name in ("transform", "backend", "interval")})
    return found


def _document(file: str, node: yaml.Node, documents: list[Document], problems: list[Problem]) -> None:
    lines = dict(_lines(node, ()))
    loader = yaml.SafeLoader("")
    try:
        plain = loader.construct_document(node)
    except yaml.YAMLError as error:
        problems.append(Problem(file, node.start_mark.line + 1, "(YAML)", str(error)))
        return
    if not isinstance(plain, dict):
        problems.append(Problem(file, node.start_mark.line + 1, "(document)", "expected a mapping with `kind:`"))
        return
    kind = plain.get("kind")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        problems.append(_problem(file, lines, ("kind",), f"expected one of {known}, got {kind!r}"))
        return
    try:
        documents.append(Document(file, KINDS[kind].model_validate(plain), plain, lines))
    except ValidationError as error:
        problems += [_problem(file, lines, *explain(item)) for item in error.errors()]


def explain(item: Any) -> tuple[tuple[str | int, ...], str]:
    """Path and plain message of one pydantic error."""
    path, found = tuple(item["loc"]), item.get("input")
    match item["type"]:
        case "extra_forbidden":
            return path, "no such field here"
        case "missing":
            return path, "this field is required"
        case "value_error":
            return path, str(item["ctx"]["error"])
        case _:
            message = str(item["msg"]).removeprefix("Input should be ")
            return path, f"expected {message}, got {found!r}"


def _repeated(documents: list[Document], problems: list[Problem]) -> None:
    seen: set[str] = set()
    for document in documents:
        if document.spec.name in seen:
            problems.append(
                document.problem(("metadata", "name"), f"{document.spec.name!r} appears twice in this file")
            )
        seen.add(document.spec.name)


def _problem(file: str, lines: dict[tuple[str | int, ...], int], path: tuple[str | int, ...], message: str) -> Problem:
    nearest = path
    while nearest and nearest not in lines:
        nearest = nearest[:-1]
    field = ".".join(str(part) for part in path) or "(document)"
    return Problem(file, lines.get(nearest, 1), field, message)


def _lines(node: yaml.Node, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            yield from _lines(value, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))
