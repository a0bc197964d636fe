"""The prediction doors: Open Inference Protocol V1 and V2, and our own ``/learn`` and ``/feedback``.

A plain ASGI application: the hot path is one dictionary look-up, msgspec, and the model.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np
from prometheus_client import REGISTRY, Counter

from headrace import __version__
from headrace.access import LOCAL
from headrace.distrust import Later
from headrace.errors import BadInput, BadTensor, HeadraceError, NotFound, NotReady, TooLarge, Unsupported
from headrace.records import Array
from headrace.services.http import DAMAGED, Receive, Scope, Send, answer, answer_json, encode, header, read_body, refuse
from headrace.services.learning import explain_doors, oip
from headrace.services.learning.deployed import doors
from headrace.services.learning.deployed.service import Deployed, Deployments
from headrace.services.learning.durations import Durations
from headrace.services.learning.explanations import Explanations
from headrace.services.learning.patiently import again
from headrace.services.learning.service import LearningService
from headrace.services.learning.view import View

SETTING = "--body-limit-mb"
"""What raises the limit of a body."""
EXTENSIONS = ["binary_tensor_data", "model_repository", "headrace_learn", "headrace_feedback", "headrace_explain"]
PREDICTIONS = Counter("headrace_predictions_total", "Predictions answered over HTTP", ["company", "model"])
SECONDS = Durations(
    "headrace_infer_seconds", "Time to answer /infer", (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1)
)
REGISTRY.register(SECONDS)


class InferenceDoor:
    """Serves ``/v1/...`` and ``/v2/...``.

    Args:
        explanations: answers ``/explain``.
        limit: largest body in bytes.
        wait: seconds ``/learn`` and ``/feedback`` wait for their effect before they answer 202; a client may want fewer.
        company: whose models these are.
        deployments: registered models that answer here, too.
    """

    def __init__(
        self,
        service: LearningService,
        explanations: Explanations,
        limit: int = 16 * 2**20,
        wait: float = 30.0,
        company: str = LOCAL,
        deployments: Deployments | None = None,
    ) -> None:
        self._company, self._deployments = company, deployments
        self._deployed: Mapping[str, Deployed] = {} if deployments is None else deployments.known
        self._service, self._explanations, self._limit, self._wait = service, explanations, limit, wait
        self._counters: dict[str, Any] = {}
        self._actions: dict[str, Callable[[str, Scope, Receive, Send], Awaitable[None]]] = {
            "infer": self._infer,
            "learn": self._learn,
            "feedback": self._feedback,
            "explain": self._explain,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._company == LOCAL:
                await self._route(scope, receive, send)
            else:
                await again(self._route, scope, receive, send)
        except HeadraceError as error:
            await refuse(send, error)
        except Later as error:
            name = _named(scope["path"].strip("/").split("/"))
            await refuse(send, NotReady(name=name, detail=f"cannot be read now: {error}"))

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].strip("/").split("/")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        self._service.refuse_shadow(_named(parts))
        if len(parts) >= 4 and parts[1] == "models" and method == "POST" and parts[0] == "v2":
            name, action = parts[2], parts[-1]
            versioned = len(parts) == 6 and parts[3] == "versions"
            if action in self._actions and (versioned or len(parts) == 4):
                if versioned:
                    self._known_version(name, parts[4])
                if action != "infer":
                    self._may(name, action)
                await self._actions[action](name, scope, receive, send)
                return
        if parts[0] == "v1":
            await self._v1(method, parts[1:], scope, receive, send)
        else:
            await self._v2(method, parts[1:], scope, receive, send)

    # -- V2

    async def _infer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        length = header(scope, oip.BINARY_HEADER)
        read = read_body(scope, receive, self._limit, SETTING)  # it is not kept while others are being answered
        request = self._read(name, await read, _length(length) if length else None)
        wanted, head, made = await self._answer(name, request)
        outputs = {asked: made[asked] for asked in wanted if asked in made}
        if True in wanted.values():
            data, size = oip.binary_response(head, outputs, wanted)
            headers = [(b"content-type", b"application/octet-stream"), (oip.BINARY_HEADER, str(size).encode())]
            await answer(send, 200, data, headers)
        else:
            head["outputs"] = [oip.output(asked, values) for asked, values in outputs.items()]
            await answer_json(send, head)
        SECONDS.observe(time.perf_counter() - begin)

    def _read(self, name: str, body: bytes, length: int | None) -> oip.InferRequest:
        if name in self._deployed:
            doors.bounded(name, len(body) if length is None else length)
        return oip.read_infer(body, length)

    async def _explain(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, SETTING)
        length = header(scope, oip.BINARY_HEADER)
        request = oip.read_infer(body, _length(length) if length else None)
        made = await explain_doors.v2(self._explanations, name, request, self._head(name, request))
        await answer(send, 200, await asyncio.to_thread(encode, made))

    def _head(self, name: str, request: oip.InferRequest) -> dict[str, Any]:
        version = str(self._service.answering(name).entered.generation)
        return {"model_name": name, "model_version": version, "id": request.id or os.urandom(16).hex()}

    async def _answer(
        self, name: str, request: oip.InferRequest
    ) -> tuple[dict[str, bool], dict[str, Any], dict[str, Any]]:
        """(outputs that are wanted -> whether as raw bytes, head, outputs)."""
        if self._deployments is not None and name in self._deployed:
            found = await doors.infer(self._deployments, name, request)
            self._count(name)
            return found
        wanted = request.wanted()
        return wanted, *await self._forecast(name, request)

    async def _forecast(self, name: str, request: oip.InferRequest) -> tuple[dict[str, Any], dict[str, Array]]:
        inputs, key = oip.arrays(request), request.key
        head = self._head(name, request)
        if not inputs or all(array.size == 0 for array in inputs.values()):
            forecast = self._service.last(name, key)
            head["parameters"] = {item: forecast[item] for item in ("key", "origin_ms", "step_ms", "by")}
            head["parameters"] |= _flat("interval", forecast.get("interval"))
            head["id"] = forecast["id"]
            made = {"y": forecast["values"], "low": forecast.get("low"), "high": forecast.get("high")}
            return head, {output: np.asarray([values]) for output, values in made.items() if values is not None}
        values = await self._service.ask(name, inputs, key)
        self._count(name)
        return head, {"y": values}

    def _count(self, name: str) -> None:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = PREDICTIONS.labels(company=self._company, model=shown(self._company, name))
        counter.inc()

    async def _learn(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, SETTING)
        length = header(scope, oip.BINARY_HEADER)
        request = oip.read_infer(body, _length(length) if length else None)
        entry = await self._service.learn_entry(name, oip.arrays(request), request.key)
        await self._teach(name, "learn", entry, scope, send)

    async def _feedback(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, SETTING)
        try:
            request = msgspec.json.decode(body, type=dict[str, Any])
        except DAMAGED as error:
            raise BadInput(detail=f'expected {{"id": ..., "outcome": [...]}}: {error}') from error
        entry = self._service.feedback_entry(name, str(request.get("id", "")), request.get("outcome"))
        await self._teach(name, "feedback", entry, scope, send)

    async def _teach(self, name: str, kind: str, entry: dict[str, Any], scope: Scope, send: Send) -> None:
        result = await self._service.taught(name, kind, entry, min(self._wait, _patience(scope)))
        await answer_json(send, result, 200 if result["applied"] else 202)

    async def _v2(self, method: str, parts: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        match (method, *parts):
            case ("GET",):
                about = {"name": "headrace", "version": __version__, "extensions": EXTENSIONS}
                await answer_json(send, about)
            case ("GET", "health", ("live" | "ready") as which):
                ready = which == "live" or self._service.ready.is_set()
                await answer_json(send, {which: ready}, 200 if ready else 503)
            case ("GET", "models"):
                await answer_json(send, {"models": self._served()})
            case ("GET", "models", name, "ready") | ("GET", "models", name, "versions", _, "ready"):
                if len(parts) == 5:
                    self._known_version(name, parts[3])
                await self._ready(name, send)
            case ("POST", "models", name, ("decide" | "reward") as action):
                self._known(name)
                raise Unsupported(detail=f"/{action} is not offered yet")
            case ("GET", "models", name) | ("GET", "models", name, "versions", _):
                if len(parts) == 4:
                    self._known_version(name, parts[3])
                one = self._deployed.get(name)
                await answer_json(send, metadata(self._service.answering(name)) if one is None else doors.metadata(one))
            case ("POST", "repository", "index"):
                await answer_json(send, [self._index(name) for name in self._served()])
            case ("POST", "repository", "models", name, "load" | "unload"):
                self._known(name)
                raise Unsupported(
                    detail="models are taken into and out of service with `headrace apply` and `headrace delete`"
                )
            case _:
                raise NotFound(detail=f"there is nothing at {method} {scope['path']}")

    def _served(self) -> list[str]:
        return sorted([*self._service.served(), *self._deployed])

    def _known(self, name: str) -> None:
        """Raises UnknownModel."""
        if name not in self._deployed:
            self._service.view(name)

    def _may(self, name: str, action: str) -> None:
        """Raises Unsupported: a deployment does nothing but answer."""
        if name in self._deployed:
            doors.refuse(name, action)

    async def _ready(self, name: str, send: Send) -> None:
        if (one := self._deployed.get(name)) is not None:
            await answer_json(send, *doors.ready(one))
            return
        ready = self._service.state_of(self._service.answering(name))[0] == "live"
        await answer_json(send, {"name": name, "ready": ready}, 200 if ready else 503)

    def _index(self, name: str) -> dict[str, str]:
        if (one := self._deployed.get(name)) is not None:
            return doors.index(one)
        view, newest = self._service.answering(name), self._service.view(name)
        state, reason = self._service.state_of(view)
        if newest is not view:
            reason = reason or self._service.state_of(newest)[1]
        return {
            "name": name,
            "version": str(view.entered.generation),
            "state": "READY" if state == "live" else "UNAVAILABLE",
            "reason": reason,
        }

    def _known_version(self, name: str, version: str) -> None:
        if (one := self._deployed.get(name)) is not None:
            doors.known_version(one, version)
            return
        known = str(self._service.answering(name).entered.generation)
        if version != known:
            raise NotFound(detail=f"model {name!r} has no version {version!r}; it has {known!r}")

    # -- V1

    async def _v1(self, method: str, parts: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        match (method, *parts):
            case ("GET", "models"):
                await answer_json(send, {"models": self._served()})
            case ("GET", "models", name) if ":" not in name:
                await self._ready(name, send)
            case ("POST", "models", action) if action.endswith(":predict"):
                await self._predict(action.removesuffix(":predict"), scope, receive, send)
            case ("POST", "models", action) if action.endswith(":explain"):
                self._may(action.removesuffix(":explain"), "explain")
                request = oip.read_instances(await read_body(scope, receive, self._limit, SETTING))
                made = await self._explain_v1(action.removesuffix(":explain"), request)
                await answer(send, 200, await asyncio.to_thread(encode, made))
            case _:
                raise NotFound(detail=f"there is nothing at {method} {scope['path']}")

    async def _predict(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, SETTING)
        plain, event = _from_cloud_event(scope, body)
        if name in self._deployed:
            doors.bounded(name, len(plain))
        answered = {"predictions": await self.predict_v1(name, oip.read_instances(plain))}
        if event is None:
            await answer_json(send, answered)
        else:
            await _cloud_event(send, name, event, answered)

    async def predict_v1(self, name: str, request: oip.InstancesRequest) -> list[Any]:
        """Predictions of V1 instances: histories, or objects ``{"history": [...], "origin_ms": ...}`` or ``{"x": [...]}``."""
        if self._deployments is not None and name in self._deployed:
            found = await doors.predict(self._deployments, name, request.instances)
            self._count(name)
            return found
        key = oip.key_of(request.parameters)
        if not request.instances or request.instances == [[]]:
            return [self._service.last(name, key)["values"]]
        self._count(name)
        values: list[Any] = (await self._service.ask(name, _inputs(request.instances), key)).tolist()
        return values

    async def _explain_v1(self, name: str, request: oip.InstancesRequest) -> dict[str, Any]:
        empty = not request.instances or request.instances == [[]]
        self._service.view(name)
        inputs = {} if empty else _inputs(request.instances)
        return await explain_doors.v1(self._explanations, name, inputs, request.parameters)

    async def explain_over_mqtt(self, name: str, body: bytes) -> dict[str, Any]:
        """The answer to a request for an explanation that came over MQTT, as `over_mqtt`. Never raises a HeadraceError."""
        try:
            self._service.refuse_shadow(name)
            self._may(name, "explain")
            if len(body) > self._limit:
                raise TooLarge(what="the request", size=len(body), limit=self._limit, setting=SETTING)
            if not body.strip() or b'"instances"' in body:
                return await self._explain_v1(name, oip.read_instances(body))
            request = oip.read_infer(body)
            return await explain_doors.v2(self._explanations, name, request, self._head(name, request))
        except HeadraceError as error:
            return {"error": str(error)}

    async def over_mqtt(self, name: str, body: bytes) -> dict[str, Any]:
        """The answer to a request that came over MQTT: V1 or V2 by its shape; empty: the last forecast. Never raises."""
        try:
            self._service.refuse_shadow(name)
            if not body.strip() and name not in self._deployed:
                return self._service.last(name)
            if len(body) > self._limit:
                raise TooLarge(what="the request", size=len(body), limit=self._limit, setting=SETTING)
            if name in self._deployed:
                doors.bounded(name, len(body))
            if b'"instances"' in body:
                return {"predictions": await self.predict_v1(name, oip.read_instances(body))}
            wanted, head, made = await self._answer(name, oip.read_infer(body))
            return {**head, "outputs": [oip.output(asked, made[asked]) for asked in wanted if asked in made]}
        except HeadraceError as error:
            return {"error": str(error)}


def shown(company: str, model: str) -> str:
    """A model's name in the platform's metrics: who operates the platform is not told what other companies' are called."""
    return model if company == LOCAL else ""


def _named(parts: list[str]) -> str:
    """The model a path names: ``v2/models/NAME/...``, ``v1/models/NAME:predict``, ``v2/repository/models/NAME/load``."""
    rest = parts[2:] if parts[1:2] == ["repository"] else parts[1:]
    return rest[1].partition(":")[0] if len(rest) > 1 and rest[0] == "models" else ""


def metadata(view: View) -> dict[str, Any]:
    """V2 metadata of a model."""
    shape = view.shape()
    return {
        "name": view.name,
        "versions": [str(view.entered.generation)],
        "platform": f"headrace_{view.plan.spec.backend.name}",
        "inputs": [
            {"name": "x", "datatype": "FP64", "shape": [-1, *shape.input]},
            {"name": "history", "datatype": "FP64", "shape": [-1, -1]},
            {"name": "origin_ms", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1, shape.horizon]}],
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested words under one name each, as the protocol's parameters are; what is null is left out."""
    if isinstance(value, dict):
        return {key: one for inner, item in value.items() for key, one in _flat(f"{name}_{inner}", item).items()}
    return {} if value is None else {name: value}


def _inputs(instances: list[Any]) -> dict[str, Array]:
    """V1 instances as inputs by name: arrays alone are histories."""
    if not any(isinstance(one, dict) for one in instances):
        return {"history": _numbers(instances)}
    names = set(instances[0]) if isinstance(instances[0], dict) else set()
    if not all(isinstance(one, dict) and set(one) == names for one in instances):
        raise BadTensor(detail="instances are all arrays, or all objects with the same names")
    return {name: _numbers([one[name] for one in instances]) for name in names}


def _numbers(values: list[Any]) -> Array:
    try:
        return oip.from_json(values, np.dtype(np.float64))
    except (ValueError, TypeError, OverflowError) as error:
        raise BadTensor(detail=f"instances are not numbers, or not all of one length: {error}") from error


def _patience(scope: Scope) -> float:
    """Seconds the client wants to wait at most: ``Prefer: wait=5`` (RFC 7240, section 4.3)."""
    found = re.search(rb"(?:^|[,;\s])wait=(\d{1,6})", header(scope, b"prefer"))
    return float(found[1]) if found else math.inf


def _length(text: bytes) -> int:
    if not text.isdigit() or len(text) > 12:
        raise BadTensor(detail="the header Inference-Header-Content-Length is not a number")
    return int(text)


class CloudEvent(msgspec.Struct):
    """A structured CloudEvent: what of it is used."""

    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str = ""


class Cause(NamedTuple):
    """The event that is answered."""

    id: str
    structured: bool


_event = msgspec.json.Decoder(CloudEvent)


def _from_cloud_event(scope: Scope, body: bytes) -> tuple[bytes, Cause | None]:
    """(V1 body, the CloudEvent it came in): binary mode by its headers, structured mode by its content type."""
    if header(scope, b"content-type").lower().startswith(b"application/cloudevents+json"):
        try:
            event = _event.decode(body)
            data = bytes(event.data) or base64.b64decode(event.data_base64, validate=True)
        except (*DAMAGED, binascii.Error) as error:
            raise BadInput(detail=f"not a CloudEvent: {error}") from error
        return data, Cause(event.id, structured=True)
    if identity := header(scope, b"ce-id"):
        return body, Cause(identity.decode("latin-1"), structured=False)
    return body, None


async def _cloud_event(send: Send, name: str, cause: Cause, data: dict[str, Any]) -> None:
    """The answer in the mode of the question; its id is the question's, so that a repeated one is recognised."""
    about = {
        "specversion": "1.0",
        "id": cause.id,
        "source": f"io.kserve.inference.{name}",
        "type": "io.kserve.inference.response",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    if cause.structured:
        whole = encode({**about, "datacontenttype": "application/json", "data": data})
        await answer(send, 200, whole, [(b"content-type", b"application/cloudevents+json")])
        return
    headers = [(f"ce-{key}".encode(), value.encode("latin-1")) for key, value in about.items()]
    await answer(send, 200, encode(data), [(b"content-type", b"application/json"), *headers])
