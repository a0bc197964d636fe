"""The user's ``headrace.yaml``: what a document may say, and where exactly it is wrong.

This module knows the shape of a spec, not the plug-ins it names: their parameters are checked by the service that will
run them, which reports problems with `Document.problem`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from yaml.error import MarkedYAMLError

from headrace.errors import BadSpec, Problem
from headrace.records import DAY, HOUR, MINUTE, SECOND
from headrace.topics import valid, valid_filter

TEXT = 256 * 1024
"""Characters of a spec file: some thousand models, and a second of parsing."""
VALUES = 50_000
"""Values of a document with its aliases written out."""
LONGEST = 36_500 * DAY
Path: TypeAlias = tuple[str | int, ...]
"""Place of a field in a document."""
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
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|s|m|h|d)", text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 16d, got {_short(text)}")
    found = round(float(match[1]) * _UNITS[match[2]])
    if found > LONGEST:
        raise ValueError(f"expected at most 36500d, got {text}")
    return found


def written(ns: int) -> str:
    """A duration as a spec writes it, in its largest whole unit.

    >>> written(5 * MINUTE), written(36 * HOUR), written(30 * DAY), written(90 * SECOND), written(1_500_000_000)
    ('5m', '36h', '30d', '90s', '1.5s')
    """
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if ns >= size and ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns / SECOND:g}s"


def _duration(value: object) -> int:
    """A duration, also as the ns our own code gives. A small number in a spec is a forgotten unit, not nanoseconds."""
    own = isinstance(value, int) and not isinstance(value, bool) and (value == 0 or value >= _UNITS["ms"])
    return value if own else duration(value)  # type: ignore[return-value]


def _short(value: object) -> str:
    """A value as it is quoted in a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


Duration: TypeAlias = Annotated[int, BeforeValidator(_duration)]
"""Nanoseconds; in YAML "30s", "5m", "1h", "16d"."""


Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; no text and no boolean stands for one."""


class Loader(yaml.SafeLoader):
    """YAML whose only booleans are ``true`` and ``false``, as in YAML 1.2: ``on``, ``off``, ``yes`` and ``no`` are words."""


_BOOL = "tag:yaml.org,2002:bool"
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != _BOOL]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def plain_documents(text: str) -> list[Any]:
    """The documents of a file as plain values, unchecked. Raises yaml.YAMLError, ValueError, RecursionError."""
    return list(yaml.load_all(text, Loader=Loader))


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
                raise ValueError(f"expected parameters of {_short(name)} as a mapping, got {_short(params)}")
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
    target: str = Field(min_length=1)
    """The field to forecast, as it is called after the transform."""
    unit: str = ""
    """Unit of the target, for people: W, kWh, °C."""
    valid: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Plausible range of a field as it is sent, ``temp: [-40, 80]``; a value outside counts as missing (as does
    any beyond 1e30)."""
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
                raise ValueError(f"expected an MQTT topic filter such as plant/+/reading, got {_short(topic)}")
        return topics

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"expected an IANA time zone such as Europe/Madrid, got {_short(name)}") from None
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
    """Each forecast is published here, retained. ``{model}`` and ``{key}`` stand for what they say."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        plain = topic.replace("{model}", "m").replace("{key}", "k")
        if not valid(plain) or "{" in plain or "}" in plain:
            raise ValueError(
                f"expected a topic without wildcards, with {{model}} and {{key}} if you like, got {_short(topic)}"
            )
        return topic


class _Rule(_Strict):
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Unique within the model: lower-case letters, digits and dashes."""
    severity: Literal["info", "warning", "critical"] = "warning"
    """How much it matters, for those who are told."""


class _Level(_Rule):
    above: Number | None = None
    """Raise when the value is above this..."""
    below: Number | None = None
    """...or below this; exactly one of them."""
    clear: Number | None = None
    """Clear when the value has come back to this or beyond (default: to the threshold itself)."""

    @model_validator(mode="after")
    def _sides(self) -> _Level:
        if (self.above is None) == (self.below is None):
            raise ValueError("expected either `above` or `below`")
        if self.clear is not None and (self.clear - self.threshold) * self.side > 0:
            edge = "at or below `above`" if self.above is not None else "at or above `below`"
            raise ValueError(f"expected `clear` {edge} ({self.threshold:g}), got {self.clear:g}")
        return self

    @property
    def side(self) -> int:
        """1: high values are bad; -1: low ones."""
        return 1 if self.above is not None else -1

    @property
    def threshold(self) -> float:
        return self.above if self.above is not None else float(self.below or 0.0)

    @property
    def back(self) -> float:
        """Where it clears."""
        return self.threshold if self.clear is None else self.clear


class ReadingRule(_Level):
    """A field of the readings is too high or too low."""

    on: Literal["reading"]
    """This kind of rule."""
    field: str = Field(min_length=1)
    """The field, as it is called in what the device sends."""
    for_: Duration = Field(default=0, alias="for")
    """Only after all readings of this much event time were so; the first that is not starts it anew."""


class ForecastRule(_Level):
    """Some value of the served forecast is too high or too low. Judged at each forecast."""

    on: Literal["forecast"]
    """This kind of rule."""
    within: Duration | None = None
    """Look at the forecast only so far ahead (default: at all of it)."""


class BreachRule(_Rule):
    """Too many outcomes lay outside the band of their forecast. Judged at each scored forecast."""

    on: Literal["breach"]
    """This kind of rule."""
    share: Number = Field(default=0.3, gt=0, le=1)
    """Raise when at least this share of the outcomes lay outside. A 90 % band misses 0.1 on its good days."""
    clear: Number | None = Field(default=None, ge=0, le=1)
    """Clear when the share is below this (default: half of `share`)."""
    over: Duration = DAY
    """Counted over the forecasts scored in this trailing event time..."""
    minimum: int = Field(default=12, ge=1)
    """...if they have at least this many outcomes."""

    @model_validator(mode="after")
    def _sides(self) -> BreachRule:
        if self.clear is not None and self.clear > self.share:
            raise ValueError(f"expected `clear` at or below `share` ({self.share:g}), got {self.clear:g}")
        return self


class CoverageRule(_Rule):
    """The band has held too few of the outcomes for long. Judged at each scored forecast."""

    on: Literal["coverage"]
    """This kind of rule."""
    below: Number = Field(default=0.8, gt=0, le=1)
    """Raise when the band holds a smaller share of the outcomes: of the active ones (above 2 % of the scale: daylight,
    for PV) if there are any."""
    clear: Number | None = Field(default=None, ge=0, le=1)
    """Clear when it holds at least this share (default: `below`)."""
    over: Duration = 30 * DAY
    """Counted over the forecasts scored in this trailing event time..."""
    minimum: int = Field(default=100, ge=1)
    """...if they have at least this many outcomes."""

    @model_validator(mode="after")
    def _sides(self) -> CoverageRule:
        if self.clear is not None and self.clear < self.below:
            raise ValueError(f"expected `clear` at or above `below` ({self.below:g}), got {self.clear:g}")
        return self


class DriftRule(_Rule):
    """The target, or the model's error, is no longer what it was. Nothing but the alert follows from it."""

    on: Literal["drift"]
    """This kind of rule."""
    detector: Plug = Plug(name="peak")
    """What notices: ``peak`` (the target's highest values have moved), ``bias`` (the forecasts miss to one side)."""


class SilenceRule(_Rule):
    """A device that used to send has sent nothing for a while."""

    on: Literal["silence"]
    """This kind of rule."""
    for_: Duration = Field(alias="for", ge=SECOND)
    """How long. With ``clock: wall`` judged at the ticks, each minute; with ``clock: event`` by the newest event time of
    the model's other devices, so that a model whose devices all fall silent at once notices nothing."""


RULES: dict[str, type[_Rule]] = {
    "reading": ReadingRule,
    "forecast": ForecastRule,
    "breach": BreachRule,
    "coverage": CoverageRule,
    "drift": DriftRule,
    "silence": SilenceRule,
}
Rule: TypeAlias = Annotated[
    ReadingRule | ForecastRule | BreachRule | CoverageRule | DriftRule | SilenceRule, Field(discriminator="on")
]


class Alert(_Strict):
    """Where alerts go."""

    topic: str = "headrace/alert/{model}/{key}/{rule}"
    """Each change of an alert is published here, retained: who comes later learns how it stands."""
    webhook: str | None = Field(default=None, max_length=2000)
    """http or https address to which each change is also sent (POST, JSON), again and again until it is taken."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        plain = topic.replace("{model}", "m").replace("{key}", "k").replace("{rule}", "r")
        inner = plain.removeprefix("headrace/alert/")
        if not valid(inner) or "{" in plain or "}" in plain:
            raise ValueError(
                f"expected a topic without wildcards, with {{model}}, {{key}} and {{rule}} if you like, got {_short(topic)}"
            )
        return topic

    @field_validator("webhook")
    @classmethod
    def _webhook(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            good = False
        if not good or url != url.strip() or any(c.isspace() or ord(c) < 33 for c in url):
            raise ValueError("expected an address such as https://example.org/alerts")
        if "@" in parts.netloc:
            raise ValueError("expected an address without user and password: specs are shown and kept in the log")
        return url


NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"


def _registered(id: str) -> str:
    if re.fullmatch(r"md_[0-9a-f]{20}", id) is None:
        raise ValueError(f"expected the id of a registered model, md_ and 20 hex digits, got {_short(id)}")
    return id


class Metadata(_Strict):
    """How the document is called."""

    name: str = Field(pattern=NAME)
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
    interval: Plug = Plug(name="adaptive")
    """The band around a forecast."""
    explain: Plug = Plug(name="auto")
    """How forecasts are explained; has no influence on them."""
    learning: Learning = Learning()
    """When it learns, and from what."""
    parent: str = ""
    """A registered model (`headrace model list`) whose weights the first fit starts from, for every key, instead of random
    ones. Its one safetensors file must hold the backend's tensors; it is copied into the log when the spec is applied."""
    publish: Publish = Publish()
    """When a snapshot is published, and what is served."""
    output: Output = Output()
    """Where forecasts go."""
    alerts: list[Rule] = Field(default_factory=list, max_length=50)
    """What people want to be told of; each rule by its ``on:``."""
    alert: Alert = Alert()
    """Where alerts go."""
    shadow: str = ""
    """The model in service this one is a candidate for: it learns, forecasts and is scored on the same messages, but
    nothing of it is published and it answers nobody over V1, V2 or MQTT, until `headrace promote`. People may ask why it
    forecasts what it does: on the page, with `headrace explain`, at `/api/models/{name}/explanation`."""
    seed: int = 0
    """Of everything random in the model."""

    @field_validator("parent")
    @classmethod
    def _registered(cls, id: str) -> str:
        return id and _registered(id)

    @property
    def name(self) -> str:
        return self.metadata.name


class Deployment(_Strict):
    """A registered ONNX model that answers at the inference doors, and learns nothing."""

    kind: Literal["Deployment"]
    """What this document describes."""
    metadata: Metadata
    """Its name at the doors; no online model may have the same."""
    model: str
    """Id of a registered model (`headrace model list`) that is ONNX: a translation, or an upload. Its bytes are read when this
    is applied, with the rights of who applies it."""
    providers: list[str] = Field(default_factory=lambda: ["cpu"], min_length=1, max_length=8)
    """ONNX Runtime's execution providers in order of preference (default: cpu); those that are not here are passed over, and the
    answers say which one is in use."""

    @field_validator("model")
    @classmethod
    def _registered(cls, id: str) -> str:
        return _registered(id)

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self.metadata.name


KINDS: dict[str, type[OnlineModel | Deployment]] = {"OnlineModel": OnlineModel, "Deployment": Deployment}


@dataclass(frozen=True)
class _Document:
    """One document of a spec file: the validated spec, its plain form, and the lines its fields stand on."""

    file: str
    spec: Any
    plain: dict[str, Any]
    """As written, for the log and for `diff`."""
    lines: dict[Path, int]

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at `path`, on its line (or that of its nearest parent that is written)."""
        return _problem(self.file, self.lines, path, message)


@dataclass(frozen=True)
class Document(_Document):
    """One of an online model."""

    spec: OnlineModel


@dataclass(frozen=True)
class DeploymentDocument(_Document):
    """One of a deployment."""

    spec: Deployment


def parse(text: str, file: str = "headrace.yaml") -> list[Document]:
    """Every document of a spec file of online models.

    Raises:
        BadSpec: with all problems found, each with file, line, field and what was expected; also for a deployment.
    """
    documents = parse_all(text, file)
    online = [one for one in documents if isinstance(one, Document)]
    if len(online) < len(documents):
        message = "expected OnlineModel here; a Deployment is for `headrace apply`"
        raise BadSpec([one.problem(("kind",), message) for one in documents if not isinstance(one, Document)])
    return online


def parse_all(text: str, file: str = "headrace.yaml") -> list[Document | DeploymentDocument]:
    """Every document of a spec file, of all kinds. Raises BadSpec."""
    problems: list[Problem] = []
    documents: list[Document | DeploymentDocument] = []
    if len(text) > TEXT:
        raise BadSpec([Problem(file, 1, "(file)", f"{len(text):,} characters; at most {TEXT:,} are read")])
    try:
        nodes = list(yaml.compose_all(text, Loader=Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadSpec([_yaml_problem(file, error, text)]) from error
    for node in nodes:
        if node is not None:
            _document(file, node, documents, problems)
    if not problems and not documents:
        problems.append(
            Problem(file, 1, "(file)", "expected at least one document with `kind: OnlineModel` or `kind: Deployment`")
        )
    _repeated(documents, problems)
    if problems:
        raise BadSpec(problems)
    return documents


def from_plain(plain: dict[str, Any], file: str = "(log)") -> Document:
    """A document that was parsed before, as the log keeps it."""
    return Document(file, OnlineModel.model_validate(plain), plain, {})


def needed_files(plain: dict[str, Any]) -> list[str]:
    """Names of the Python files a spec refers to: ``file: x.py`` and ``module: x.py:Class`` of its plug-ins."""
    return [file for _, file, _ in user_code(plain)]


def user_code(plain: dict[str, Any]) -> list[tuple[Path, str, str]]:
    """(place in the spec, Python file, class or "") of everything of the user's own that a spec refers to."""
    found: list[tuple[Path, str, str]] = []
    for section in ("transform", "backend", "interval", "explain"):
        value = plain.get(section)
        plugs = enumerate(value) if isinstance(value, list) else [("", value)]
        for index, plug in plugs:
            for name, params in plug.items() if isinstance(plug, dict) else ():
                place = (section, *([index] if index != "" else []), str(name))
                found += _files_of(place, params)
    return found


def _files_of(place: Path, params: object) -> Iterator[tuple[Path, str, str]]:
    for name, value in params.items() if isinstance(params, dict) else ():
        if name in {"file", "module"} and isinstance(value, str) and ".py" in value:
            file, _, wanted = value.partition(":")
            yield (*place, name), file, wanted


def _document(
    file: str, node: yaml.Node, documents: list[Document | DeploymentDocument], problems: list[Problem]
) -> None:
    try:
        _weigh(node, set(), {})
        _unlike(node, set())
        plain = Loader("").construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        problems.append(_yaml_problem(file, error, "", node.start_mark.line + 1))
        return
    lines = dict(_lines(node, ()))
    odd = [_problem(file, lines, path, message) for path, message in _odd(plain, ())]
    if odd:
        problems += odd
        return
    if not isinstance(plain, dict):
        problems.append(Problem(file, node.start_mark.line + 1, "(document)", "expected a mapping with `kind:`"))
        return
    kind = plain.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(KINDS)
        problems.append(_problem(file, lines, ("kind",), f"expected one of {known}, got {_short(kind)}"))
        return
    try:
        spec = KINDS[kind].model_validate(plain)
        if isinstance(spec, Deployment):
            documents.append(DeploymentDocument(file, spec, plain, lines))
        else:
            documents.append(Document(file, spec, plain, lines))
    except ValidationError as error:
        problems += [_problem(file, lines, *explain(item)) for item in error.errors()]


def _yaml_problem(file: str, error: Exception, text: str, line: int = 1) -> Problem:
    """What YAML itself could not read."""
    mark, place = getattr(error, "problem_mark", None), getattr(error, "position", None)
    if mark is not None:
        line = mark.line + 1
    elif isinstance(place, int):
        line = text.count("\n", 0, place) + 1
    if isinstance(error, RecursionError):
        message = "nested too deep"
    else:
        message = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    return Problem(file, line, "(YAML)", message.splitlines()[0] if message else "cannot be read")


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _weigh(node: yaml.Node, above: set[int], known: dict[int, int]) -> int:
    """How many values a node holds with its aliases written out.

    Raises:
        MarkedYAMLError: too many, or an alias inside what it stands for.
    """
    if id(node) in above:
        raise MarkedYAMLError(problem="an alias contains itself", problem_mark=node.start_mark)
    if id(node) not in known:
        above.add(id(node))
        known[id(node)] = 1 + sum(_weigh(inner, above, known) for inner in _inner(node))
        above.remove(id(node))
        if known[id(node)] > VALUES:
            raise MarkedYAMLError(
                problem=f"more than {VALUES:,} values, counting aliases", problem_mark=node.start_mark
            )
    return known[id(node)]


def _unlike(node: yaml.Node, seen: set[int]) -> None:
    """No mapping may name a key twice: YAML forbids it, its parser keeps the last. Raises MarkedYAMLError."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise MarkedYAMLError(problem=f"{_short(key.value)} appears twice here", problem_mark=key.start_mark)
            names.add(key.value if isinstance(key, yaml.ScalarNode) else "")
    for inner in _inner(node):
        _unlike(inner, seen)


def _odd(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """What YAML knows and JSON, in which specs are kept, does not."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield path, f"expected names as keys, got {_short(key)}; put it in quotes"
            else:
                yield from _odd(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _odd(inner, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"expected a finite number, got {value}"
    elif isinstance(value, int) and abs(value) >= 2**63:
        yield path, "expected a number below 2^63"
    elif not isinstance(value, str | int | float | None):
        kind = "a date" if isinstance(value, date) else f"YAML's {type(value).__name__}"
        yield path, f"{kind} is not known here; put a text in quotes"


def explain(item: Any) -> tuple[Path, str]:
    """Path and plain message of one pydantic error."""
    path = tuple(item["loc"])
    if path[:1] == ("alerts",):
        path = path[:2] + path[3:]  # without the kind of rule, which is no place in the file
    return (*path, "on") if item["type"] == "union_tag_invalid" else path, _message(item)


_SAYINGS = {
    "extra_forbidden": "no such field here",
    "missing": "this field is required",
    "union_tag_not_found": f"expected `on:` with one of {', '.join(RULES)}",
}


def _message(item: Any) -> str:
    found, kind = item.get("input"), item["type"]
    if kind in _SAYINGS:
        return _SAYINGS[kind]
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "union_tag_invalid":
        return f"expected one of {', '.join(RULES)}, got {_short(item['ctx']['tag'])}"
    message = str(item["msg"])
    if message.startswith("Input should be "):
        return f"expected {message.removeprefix('Input should be ')}, got {_short(found)}"
    return f"{message[:1].lower()}{message[1:]}, got {_short(found)}"


def _repeated(documents: list[Document | DeploymentDocument], problems: list[Problem]) -> None:
    seen: set[str] = set()
    for document in documents:
        if document.spec.name in seen:
            place: Path = ("metadata", "name")
            problems.append(document.problem(place, f"{document.spec.name!r} appears twice in this file"))
        seen.add(document.spec.name)


def _problem(file: str, lines: dict[Path, int], path: Path, message: str) -> Problem:
    nearest = path
    while nearest and nearest not in lines:
        nearest = nearest[:-1]
    field = ".".join(str(part) for part in path) or "(document)"
    return Problem(file, lines.get(nearest, 1), field, message)


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, key.value)
            yield from _lines(value, inner)
            yield inner, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))
