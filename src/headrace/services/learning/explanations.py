"""Explanations as people ask for them: of which forecast, against which baseline, in the target's own unit.

The platform's process finds inputs, weights and baseline in what the workers stored; the explainer process computes.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import msgspec
import numpy as np

from headrace import states
from headrace.errors import BadInput, BadTensor, CorruptState, HeadraceError, NotFound, NotReady, Unsupported
from headrace.models.explainers import EXPLAINERS
from headrace.models.transformers import TRANSFORMERS
from headrace.records import Array
from headrace.services.learning import strict
from headrace.services.learning.explaining import IDLE, SECONDS, WAITING, ExplainerProcess
from headrace.services.learning.inputs import pipeline_of
from headrace.services.learning.isolation import TRUSTED, Isolation
from headrace.services.learning.lane import LIVE, LocalTime
from headrace.services.learning.learner import EVIDENCE
from headrace.services.learning.profile import Profile
from headrace.services.learning.service import LearningService
from headrace.services.learning.view import View
from headrace.spec import Plug

MS = 1_000_000
WINDOWS = 16
"""Most examples of one question."""
BACK = 20_000
"""Grid steps that features are looked for before an older forecast."""
SAME = 1e-4
"""An explained forecast is called the issued one if they differ by less than this fraction of the target's scale."""
LEARNT = "the model has learnt since: this is what it would forecast now from the same inputs, and why"
_encode = msgspec.json.Encoder().encode
BASELINES = ("profile", "zero")
WINDOW = "x.window"
"""The step whose columns are values of the past, the same for every target."""


class Ask(NamedTuple):
    """How something is to be explained; what is empty is chosen."""

    key: str = ""
    method: str = ""
    """Name of an explainer; default: the spec's."""
    baseline: str = ""
    """"profile" or "zero"; default: the mean profile if there is one."""
    targets: tuple[int, ...] = ()
    """Steps ahead, from 1; default: all."""


class Case(NamedTuple):
    """Examples of one key, with all that explains them."""

    view: View
    key: str
    x: Array
    """(n, *Shape.input)."""
    origins: list[int | None]
    """Start of the first forecast window, ns; None where nobody said."""
    evidence: dict[str, Any]
    issued: dict[str, Any] | None = None
    """The forecast that is explained, if it was issued."""


class Explanations:
    """Answers "why"; enter it in a running event loop."""

    def __init__(
        self,
        learning: LearningService,
        *,
        seconds: float = SECONDS,
        idle: float = IDLE,
        waiting: int = WAITING,
        isolation: Isolation = TRUSTED,
    ) -> None:
        self._learning = learning
        self.process = ExplainerProcess(seconds, idle, waiting, isolation)

    async def __aenter__(self) -> Explanations:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.close()

    async def issued(self, name: str, ask: Ask, origin_ms: int | None = None) -> dict[str, Any]:
        """Why an issued forecast is as it is: that of an origin, or the last.

        Raises:
            UnknownModel, UnknownKey, NotReady: as `LearningService.last`.
            NotFound: no forecast was made then.
            BadInput: a parameter is wrong.
            Unexplained, Unsupported, TooMany: there is no explanation.
        """
        view = self._learning.answering(name)
        key = ask.key or view.default_key()
        evidence = await evidence_of(view, key)
        if not evidence:
            view.last(key)
            raise NotReady(name=name, detail="has just begun to forecast and is being saved")
        origin, x = evidence["origin"], evidence["x"]
        if origin_ms is not None and origin_ms != origin // MS:
            origin, x = origin_ms * MS, await self._earlier(view, key, origin_ms)
        case = Case(view, key, x[None], [origin], evidence, forecast_at(view, key, origin))
        (found,) = await self._explained(case, ask)
        return found

    async def of(self, name: str, inputs: dict[str, Any], ask: Ask) -> list[dict[str, Any]]:
        """Why the model would predict what it predicts for these inputs (as of `LearningService.infer`)."""
        view = self._learning.answering(name)
        key = ask.key or view.default_key()
        view.runner(key)
        origins: list[int | None] = [None] * WINDOWS
        x = await self._learning.inputs(view, inputs, key)
        if "x" not in inputs:
            given = np.asarray(inputs.get("origin_ms", []), dtype=np.float64).ravel().tolist()
            origins = [int(one) * MS for one in given] or origins
        if not 0 < len(x) <= WINDOWS:
            raise BadTensor(detail=f"{len(x)} examples to explain, expected 1 to {WINDOWS}")
        return await self._explained(Case(view, key, x, origins[: len(x)], await evidence_of(view, key)), ask)

    async def _earlier(self, view: View, key: str, origin_ms: int) -> Array:
        """Inputs of a forecast before the last, from the recorded series of the target.

        Raises:
            NotFound: no forecast was made then.
            Unsupported: it looked at more than the target's series.
        """
        rows = recorded(view, key, origin_ms)
        try:
            if not rows:
                raise BadTensor(detail="there is no recorded series")
            found = await self._learning.inputs(view, {"history": [rows], "origin_ms": [origin_ms]}, key)
        except BadTensor as error:
            raise Unsupported(
                detail="the inputs of this forecast cannot be had from the recorded series of "
                f"{view.plan.context.target!r} alone; the last forecast can be explained"
            ) from error
        row: Array = found[0]
        return row

    async def _explained(self, case: Case, ask: Ask) -> list[dict[str, Any]]:
        view = case.view
        places = places_of(ask.targets, view.shape().horizon)
        plug = plug_of(view, ask.method)
        baselines, called = baselines_of(case, ask.baseline)
        model = await _model(view, case.key)
        entered = view.entered
        question = {
            "plain": entered.applied.plain,
            "folder": entered.folder,
            "weights": model["weights"],
            "format": model["format"],
            "data": model["data"],
            "kernel": model["kernel"],
            "explainer": plug.name,
            "params": plug.params,
            "x": case.x,
            "baseline": baselines,
        }
        made = await self.process.ask(question)
        return await asyncio.to_thread(self._told, case, made, places, called, model)  # up to a million numbers

    @staticmethod
    def _told(
        case: Case, made: list[dict[str, Any]], places: list[int], called: str, model: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """What is answered, of what the process made."""
        view, digest = case.view, states.digest(model["weights"])
        by = {"by": LIVE if view.serve == LIVE else digest, "weights": digest, "baseline": called}
        scale = model["offset"], model["factor"]
        return [
            {**_answer(case, index, one, places, scale), **by, **_issued(case, one, scale)}
            for index, one in enumerate(made)
        ]


# -- what is explained


async def evidence_of(view: View, key: str) -> dict[str, Any]:
    """What the worker stored for explanations of a key; empty while there is nothing."""
    data = view.store.get(EVIDENCE + key) if view.store is not None else None
    found: dict[str, Any] = await _unpacked(view, data) if data is not None else {}
    return found


async def _unpacked(view: View, data: bytes) -> dict[str, Any]:
    """A state from a model's file; a stranger's is counted first, elsewhere. Raises CorruptState."""
    if view.trusted:
        state: dict[str, Any] = states.unpack(data)
        return state
    try:
        return await asyncio.to_thread(strict.unpack, data)
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        view.distrust(error)
        raise CorruptState(detail=f"what was stored for explanations is damaged: {error}") from error


def forecast_at(view: View, key: str, origin: int) -> dict[str, Any] | None:
    """The forecast that was issued at an origin, if it is still kept."""
    for body in view.store.forecasts(key, origin) if view.store is not None else []:
        found: dict[str, Any] = msgspec.json.decode(body)
        if found["origin_ms"] == origin // MS:
            return found
    return None


def recorded(view: View, key: str, origin_ms: int) -> list[float | None]:
    """The recorded values of the target before a forecast that is not the last. Raises NotFound: no forecast was made then."""
    view.last(key)
    if not 0 <= origin_ms < 2**53 or forecast_at(view, key, origin_ms * MS) is None:
        raise NotFound(detail=f"model {view.name!r} keeps no forecast of {key!r} with origin_ms {origin_ms}")
    origin = origin_ms * MS
    assert view.store is not None
    return [value for time, value in view.store.actuals(key, origin - BACK * view.plan.context.every) if time < origin]


async def _model(view: View, key: str) -> dict[str, Any]:
    """The exported model that answers for a key, with its weights. Raises NotReady."""
    found = view.store.servable(key, view.serve) if view.store is not None else None
    if found is None:
        view.runner(key)  # says why
    state: dict[str, Any] = await _unpacked(view, found[1]) if found is not None else {}
    if "weights" not in state:
        raise NotReady(name=view.name, detail="is being saved with what explanations need")
    return state


# -- how


def places_of(targets: tuple[int, ...], horizon: int) -> list[int]:
    """Steps ahead as places, from 0. Raises BadInput."""
    if not all(1 <= step <= horizon for step in targets):
        raise BadInput(detail=f"targets are steps ahead, 1 to {horizon}, got {list(targets)[:20]}")
    if len(set(targets)) < len(targets):
        raise BadInput(detail=f"targets name a step twice; name each of 1 to {horizon} once, or none for all")
    return [step - 1 for step in targets] or list(range(horizon))


def plug_of(view: View, method: str) -> Plug:
    """The spec's explainer, or another by its name. Raises BadInput."""
    own = view.plan.spec.explain
    if not method or method == own.name:
        return own
    if method == "python":
        raise BadInput(
            detail=f"model {view.name!r} has no explainer of its own: name its file under `explain:` in the spec"
        )
    try:
        EXPLAINERS.params(method, {})
    except HeadraceError as error:
        raise BadInput(detail=str(error).rstrip(".")) from error
    return Plug(name=method)


def baselines_of(case: Case, wanted: str) -> tuple[Array, str]:
    """(baseline of each example, what it is called). Raises BadInput."""
    if wanted not in {"", *BASELINES}:
        raise BadInput(detail=f"there is no baseline {wanted[:40]!r}; known: {', '.join(BASELINES)}")
    means = [] if wanted == "zero" else [_mean(case, origin) for origin in case.origins]
    known = [mean for mean in means if mean is not None]
    if known and len(known) == len(means):
        return np.stack(known), "profile"
    if wanted == "profile":
        raise BadInput(detail=f"model {case.view.name!r} knows no mean profile for this time of day; use baseline zero")
    return np.zeros_like(case.x), "zero"


def _mean(case: Case, origin: int | None) -> Array | None:
    """The mean profile at an origin's local time of day; that of the last forecast where nobody said when."""
    state, time = case.evidence.get("profile"), origin if origin is not None else case.evidence.get("origin")
    if state is None or time is None:
        return None
    plan = case.view.plan
    profile = Profile(plan.spec.forecast.every, case.x.shape[1:])
    profile.load(state)
    return profile.mean(LocalTime(plan.spec.input.timezone).local(time))


# -- the answer


def _answer(
    case: Case, index: int, made: dict[str, Any], places: list[int], scale: tuple[float, float]
) -> dict[str, Any]:
    view, origin = case.view, case.origins[index]
    offset, factor = scale
    table, features = _table(case, made["contributions"], case.x[index], origin, scale)
    return {
        "name": view.name,
        "version": str(view.entered.generation),
        "key": case.key,
        "origin_ms": None if origin is None else origin // MS,
        "step_ms": view.plan.context.every // MS if view.plan.grid else 0,
        "method": made["method"],
        "completeness": made["completeness"],
        "tolerance": made["tolerance"],
        "note": made["note"],
        "unit": view.plan.spec.input.unit,
        "targets": [place + 1 for place in places],
        "features": features,
        "base": (made["base"] * factor + offset)[places].tolist(),
        "prediction": (made["prediction"] * factor + offset)[places].tolist(),
        # JSON target by target: a million numbers in one go would hold up every other thread
        "contributions": [msgspec.Raw(_encode(row.tolist())) for row in (table * factor)[places]],
    }


def _issued(case: Case, made: dict[str, Any], scale: tuple[float, float]) -> dict[str, Any]:
    """Whether what is explained is what was issued: the model may have learnt since."""
    if case.issued is None:
        return {}
    offset, factor = scale
    issued = np.asarray(case.issued["values"], dtype=np.float64)
    off = np.abs(made["prediction"] * factor + offset - issued).max()
    same = bool(off <= SAME * abs(factor))
    note = made["note"] if same else "; ".join([LEARNT, made["note"]]).removesuffix("; ")
    return {"id": case.issued["id"], "issued_by": case.issued["by"], "as_issued": same, "note": note}


def _table(
    case: Case, contributions: Array, x: Array, origin: int | None, scale: tuple[float, float]
) -> tuple[Array, list[dict[str, Any]]]:
    """(horizon, features) contributions, and what the features are."""
    view, horizon = case.view, len(contributions)
    words = pipeline_of(view.plan).labels()
    if not view.shape().per_target:
        labels = [label for names in words.values() for label in names]
        return contributions.reshape(horizon, -1), _window(view, labels, x, origin, scale)
    parts = _columns(view, words, x, origin, scale)
    if contributions.ndim == 3:
        own = np.arange(horizon)
        elsewhere = contributions.copy()
        elsewhere[own, own] = 0
        if elsewhere.any():  # a network that looks at the features of all targets
            return every_row(contributions, parts)
        contributions = contributions[own, own]
    return contributions, [feature for features in parts.values() for feature in features]


def _columns(
    view: View, words: dict[str, list[str]], x: Array, origin: int | None, scale: tuple[float, float]
) -> dict[str, list[dict[str, Any]]]:
    """What the columns of features of each target are, by the step they come from: a window's is in every row the same."""
    parts, start = {}, 0
    for name, labels in words.items():
        if name == WINDOW:
            fields = max(1, len(TRANSFORMERS.params("window", _window_plug(view).params).columns))
            window = x[0, start : start + len(labels)].reshape(-1, fields)
            parts[name] = _window(view, labels, window, origin, scale)
        else:
            parts[name] = [_feature(label) for label in labels]
        start += len(labels)
    return parts


def every_row(contributions: Array, parts: dict[str, list[dict[str, Any]]]) -> tuple[Array, list[dict[str, Any]]]:
    """(horizon, features) of contributions that lie in the rows of all targets, and what the features are.

    A window stands in every row: each of its places is one feature, summed over the rows. Others are told apart by row.

    Args:
        contributions: (horizon, rows, columns).
        parts: what the columns are, by the step they come from.
    """
    horizon, rows, _ = contributions.shape
    found, names, start = [], [], 0
    for part, features in parts.items():
        block = contributions[:, :, start : start + len(features)]
        start += len(features)
        if part == WINDOW:
            found.append(block.sum(axis=1))
            names += features
        else:
            found.append(block.reshape(horizon, -1))
            names += [_feature(f"{one['label']}, step {row + 1}") for row in range(rows) for one in features]
    return np.concatenate(found, axis=1), names


def _window_plug(view: View) -> Plug:
    (plug,) = [plug for plug in view.plan.features if plug.name == "window"]
    return plug


def _window(
    view: View, labels: list[str], x: Array, origin: int | None, scale: tuple[float, float]
) -> list[dict[str, Any]]:
    """The values of a window: when each was, and how much, if it is the target's."""
    context, (history, fields) = view.plan.context, x.shape
    names = TRANSFORMERS.params("window", _window_plug(view).params).columns or (context.target,)
    offset, factor = scale
    found = []
    for row in range(history):
        back = history - row
        for field in range(fields):
            label = labels[row * fields + field]
            if not view.plan.grid:
                label = f"{names[field]} of " + (
                    "the newest reading" if back == 1 else f"the reading {back - 1} before it"
                )
            time = None if origin is None or not view.plan.grid else (origin - back * context.every) // MS
            value = float(x[row, field] * factor + offset) if names[field] == context.target else None
            found.append(_feature(label, time, value))
    return found


def _feature(label: str, time: int | None = None, value: float | None = None) -> dict[str, Any]:
    return {"label": label, "time_ms": time, "value": value}
