"""The prediction doors: Open Inference Protocol V1 and V2, and our own ``/learn`` and ``/feedback``.

A plain ASGI application: the hot path is one dictionary look-up, msgspec, and the model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec
import numpy as np
from prometheus_client import REGISTRY, Counter

from headrace import __version__
from headrace.errors import BadInput, BadTensor, HeadraceError, NotFound, TooLarge
from headrace.records import Array
from headrace.services.http import Receive, Scope, Send, answer, answer_json, header, read_body, refuse
from headrace.services.learning import oip
from headrace.services.learning.durations import Durations
from headrace.services.learning.service import LearningService
from headrace.services.learning.view import View

EXTENSIONS = ["binary_tensor_data", "model_repository", "headrace_learn", "headrace_feedback"]
PREDICTIONS = Counter("headrace_predictions_total", "Predictions answered over HTTP", ["model"])
SECONDS = Durations(
    "headrace_infer_seconds", "Time to answer /infer", (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1)
)
REGISTRY.register(SECONDS)


class InferenceDoor:
    """Serves ``/v1/...`` and ``/v2/...``.

    Args:
        limit: largest body in bytes.
        wait: seconds ``/learn`` and ``/feedback`` wait for their effect before they answer 202.
    """

    def __init__(self, service: LearningService, limit: int = 16 * 2**20, wait: float = 30.0) -> None:
        self._service, self._limit, self._wait = service, limit, wait
        self._counters: dict[str, Any] = {}
        self._actions: dict[str, Callable[[str, Scope, Receive, Send], Awaitable[None]]] = {
            "infer": self._infer,
            "learn": self._learn,
            "feedback": self._feedback,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._route(scope, receive, send)
        except HeadraceError as error:
            await refuse(send, error)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].strip("/").split("/")
        method = scope["method"]
        if len(parts) >= 4 and parts[1] == "models" and method == "POST" and parts[0] == "v2":
            name, action = parts[2], parts[-1]
            if len(parts) == 6 and parts[3] == "versions":
                self._known_version(name, parts[4])
            if action in self._actions and len(parts) in {4, 6}:
                await self._actions[action](name, scope, receive, send)
                return
        if parts[0] == "v1":
            await self._v1(method, [unquote(part) for part in parts[1:]], scope, receive, send)
        else:
            await self._v2(method, parts[1:], scope, receive, send)

    # -- V2

    async def _infer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.perf_counter()
        body = await read_body(scope, receive, self._limit, "http.body_limit")
        length = header(scope, oip.BINARY_HEADER)
        request = oip.read_infer(body, _length(length) if length else None)
        head, values = self._answer(name, request)
        if request.parameters.get("binary_data_output"):
            data, size = oip.binary_response(head, [("y", values)])
            headers = [(b"content-type", b"application/octet-stream"), (oip.BINARY_HEADER, str(size).encode())]
            await answer(send, 200, data, headers)
        else:
            head["outputs"] = [oip.output("y", values)]
            await answer_json(send, head)
        SECONDS.observe(time.perf_counter() - begin)

    def _answer(self, name: str, request: oip.InferRequest) -> tuple[dict[str, Any], Array]:
        inputs = {tensor.name: oip.array(tensor) for tensor in request.inputs}
        key = str(request.parameters.get("key", ""))
        head: dict[str, Any] = {"model_name": name, "id": request.id or os.urandom(16).hex()}
        if not inputs or all(array.size == 0 for array in inputs.values()):
            forecast = self._service.last(name, key)
            head["parameters"] = {item: forecast[item] for item in ("key", "origin_ms", "step_ms", "by")}
            head["id"] = forecast["id"]
            return head, np.asarray([forecast["values"]])
        values = self._service.infer(name, inputs, key)
        self._count(name)
        return head, values

    def _count(self, name: str) -> None:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = PREDICTIONS.labels(model=name)
        counter.inc()

    async def _learn(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, "http.body_limit")
        request = oip.read_infer(body)
        inputs = {tensor.name: oip.array(tensor) for tensor in request.inputs}
        entry = self._service.learn_entry(name, inputs, str(request.parameters.get("key", "")))
        await self._teach(name, "learn", entry, send)

    async def _feedback(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, "http.body_limit")
        try:
            request = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise BadInput(detail=f'expected {{"id": ..., "outcome": [...]}}: {error}') from error
        entry = self._service.feedback_entry(name, str(request.get("id", "")), request.get("outcome"))
        await self._teach(name, "feedback", entry, send)

    async def _teach(self, name: str, kind: str, entry: dict[str, Any], send: Send) -> None:
        result = await self._service.taught(name, kind, entry, self._wait)
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
                await answer_json(send, {"models": self._service.names()})
            case ("GET", "models", name, "ready") | ("GET", "models", name, "versions", _, "ready"):
                await self._ready(name, send)
            case ("GET", "models", name) | ("GET", "models", name, "versions", _):
                if len(parts) == 4:
                    self._known_version(name, parts[3])
                await answer_json(send, metadata(self._service.view(name)))
            case ("POST", "repository", "index"):
                await answer_json(send, [self._index(name) for name in self._service.names()])
            case ("POST", "repository", "models", name, "load" | "unload"):
                self._service.view(name)
                raise BadInput(
                    detail="models are taken into and out of service with `headrace apply` and `headrace delete`"
                )
            case _:
                raise NotFound(detail=f"there is nothing at {method} {scope['path']}")

    async def _ready(self, name: str, send: Send) -> None:
        ready = self._service.state_of(self._service.view(name))[0] == "live"
        await answer_json(send, {"name": name, "ready": ready}, 200 if ready else 503)

    def _index(self, name: str) -> dict[str, str]:
        view = self._service.view(name)
        state, reason = self._service.state_of(view)
        return {
            "name": name,
            "version": str(view.entered.generation),
            "state": "READY" if state == "live" else "UNAVAILABLE",
            "reason": reason,
        }

    def _known_version(self, name: str, version: str) -> None:
        known = str(self._service.view(name).entered.generation)
        if version != known:
            raise NotFound(detail=f"model {name!r} has no version {version!r}; it has {known!r}")

    # -- V1

    async def _v1(self, method: str, parts: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        match (method, *parts):
            case ("GET", "models"):
                await answer_json(send, {"models": self._service.names()})
            case ("GET", "models", name):
                ready = self._service.state_of(self._service.view(name))[0] == "live"
                await answer_json(send, {"name": name, "ready": ready})
            case ("POST", "models", action) if action.endswith(":predict"):
                await self._predict(action.removesuffix(":predict"), scope, receive, send)
            case ("POST", "models", action) if action.endswith(":explain"):
                self._service.view(action.removesuffix(":explain"))
                raise NotFound(detail="explanations are not offered yet")
            case _:
                raise NotFound(detail=f"there is nothing at {method} {scope['path']}")

    async def _predict(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limit, "http.body_limit")
        plain, event = _from_cloud_event(scope, body)
        answered = {"predictions": self.predict_v1(name, oip.read_instances(plain))}
        if not event:
            await answer_json(send, answered)
            return
        await _cloud_event(send, name, event, answered)

    def predict_v1(self, name: str, request: oip.InstancesRequest) -> list[Any]:
        """Predictions of V1 instances: histories, or objects ``{"history": [...], "origin_ms": ...}`` or ``{"x": [...]}``."""
        key = str(request.parameters.get("key", ""))
        if not request.instances:
            return [self._service.last(name, key)["values"]]
        self._count(name)
        if all(isinstance(one, dict) for one in request.instances):
            names = {item for one in request.instances for item in one}
            inputs = {item: _numbers([one.get(item) for one in request.instances]) for item in names}
        else:
            inputs = {"history": _numbers(request.instances)}
        values: list[Any] = self._service.infer(name, inputs, key).tolist()
        return values

    def over_mqtt(self, name: str, body: bytes) -> dict[str, Any]:
        """The answer to a request that came over MQTT: V1 or V2 by its shape; empty: the last forecast. Never raises."""
        try:
            if not body.strip():
                return self._service.last(name)
            if len(body) > self._limit:
                raise TooLarge(what="the request", size=len(body), limit=self._limit, setting="http.body_limit")
            if b'"instances"' in body:
                return {"predictions": self.predict_v1(name, oip.read_instances(body))}
            head, values = self._answer(name, oip.read_infer(body))
            return {**head, "outputs": [oip.output("y", values)]}
        except HeadraceError as error:
            return {"error": str(error)}


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


def _numbers(values: list[Any]) -> Array:
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise BadTensor(detail=f"instances are not numbers, or not all of one length: {error}") from error


def _length(text: bytes) -> int:
    if not text.isdigit():
        raise BadTensor(detail="the header Inference-Header-Content-Length is not a number")
    return int(text)


def _from_cloud_event(scope: Scope, body: bytes) -> tuple[bytes, str]:
    """(V1 body, id of the CloudEvent it came in or ""): binary mode by headers, structured mode by content type."""
    if identity := header(scope, b"ce-id"):
        return body, identity.decode("latin-1")
    if header(scope, b"content-type").startswith(b"application/cloudevents+json"):
        try:
            event = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise BadInput(detail=f"not a CloudEvent: {error}") from error
        return msgspec.json.encode(event.get("data", {})), str(event.get("id", ""))
    return body, ""


async def _cloud_event(send: Send, name: str, cause: str, data: dict[str, Any]) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"ce-specversion", b"1.0"),
        (b"ce-id", cause.encode("latin-1", "replace")),
        (b"ce-source", f"io.kserve.inference.{name}".encode()),
        (b"ce-type", b"io.kserve.inference.response"),
    ]
    await answer(send, 200, msgspec.json.encode(data), headers)
