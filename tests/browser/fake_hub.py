"""The fake platform's companies, datasets, models, jobs and uploads: every answer is a record of `headrace.assets`.

``GET /fake/reset`` puts everything back as it was; ``GET /login`` opens a session; a file called ``cut…`` loses the
connection once, in the middle of a piece.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.access import ROLES
from headrace.assets import Dataset, Grant, Job, Lineage, LineageNode, Model, Stored, new_id, revoked
from tests.browser import fake_assets, fake_proof
from tests.browser.fake_assets import DAY, OURS, Shelf, digest

WRITER = {"company": OURS, "subject": "ada", "kind": "user", "roles": ["developer", "admin"], "expires_ms": None}
TUS = {"tus-resumable": "1.0.0"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Refused(Exception):
    """An answer that is an error: (status, words)."""


def plain(record: BaseModel) -> dict[str, Any]:
    return record.model_dump(mode="json")


class Hub:
    """What one company sees."""

    def __init__(self, scenario: str, hostile: str) -> None:
        self.scenario, self._hostile = scenario, hostile
        self.reset()

    def reset(self) -> None:
        self.open = self.scenario != "locked"
        self.began = time.monotonic()
        self.who = {**WRITER, "roles": ["viewer"]} if self.scenario == "viewer" else WRITER
        self.shelf = Shelf() if self.scenario == "empty" else fake_assets.full(now_ms())
        if self.scenario == "published":
            published = [one for one in self.shelf.models.values() if one.snapshot]
            self.shelf = Shelf()
            self.shelf.add(*published)
        self.uploads: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        if self.scenario == "hostile":
            self._spoil()
        if self.scenario == "many":
            self.shelf.add(
                *(
                    fake_assets.dataset(100 + index, f"day {index}", now_ms(), statistics_state="none")
                    for index in range(260)
                )
            )

    def _spoil(self) -> None:
        bad, shelf = self._hostile, self.shelf
        for dataset in list(shelf.datasets.values()):
            statistics = dataset.statistics and {**dataset.statistics, bad: bad}
            if statistics and "columns" in statistics:
                statistics["columns"][0]["name"] = statistics["matrix"]["columns"][0] = bad
            shelf.add(
                dataset.model_copy(update={"name": bad, "description": bad, "filename": bad, "statistics": statistics})
            )
        for model in list(shelf.models.values()):
            shelf.add(model.model_copy(update={"name": bad, "metrics": {bad: bad}, "reproducible_note": bad}))
        for job in list(shelf.jobs.values()):
            shelf.add(job.model_copy(update={"message": bad, "reason": bad}))
            shelf.logs[job.id] = f"{bad}\n\x1b]0;{bad}\x07\n".encode()

    # -- time passes

    def advance(self) -> None:
        """The running job gets on; what was being measured is measured after two seconds."""
        passed = time.monotonic() - self.began
        running = self.shelf.jobs.get(fake_assets.name_of("jb", 4))
        if running and running.state == "running" and self.scenario != "hostile":
            epoch = min(20, 2 + int(passed))
            self.shelf.add(
                running.model_copy(
                    update={
                        "progress": epoch / 20,
                        "message": f"epoch {epoch} of 20, loss {0.06 / epoch:.4f}",
                        "log_bytes": 40 * epoch,
                    }
                )
            )
        for dataset in list(self.shelf.datasets.values()):
            if (
                dataset.statistics_state == "pending"
                and now_ms() - dataset.created_ms < DAY
                and dataset.created_by == "page"
                and now_ms() - dataset.created_ms > 2_000
            ):
                self.shelf.add(
                    dataset.model_copy(
                        update={
                            "statistics_state": "done",
                            "statistics": fake_assets.statistics(100),
                            "samples": 100,
                            "sample_shape": [7],
                        }
                    )
                )

    # -- asking

    def require(self, action: str) -> None:
        if not any(action in ROLES[role] for role in self.who["roles"]):
            raise Refused(403, f"'ada' may not {action} here: that needs one of the roles admin")

    def one(self, kind: str, id: str) -> Any:
        found = getattr(self.shelf, kind).get(id)
        if found is None:
            raise Refused(404, f"there is no {kind[:-1]} {id!r}")
        return found

    def list(self, kind: str, query: Any) -> dict[str, Any]:
        told = bool(query.get("deleted"))
        kept = [one for one in getattr(self.shelf, kind).values() if told or not getattr(one, "deleted_ms", None)]
        if "snapshots" not in query:
            kept = [one for one in kept if not getattr(one, "snapshot", None)]
        every = sorted(kept, key=lambda one: (-one.created_ms, one.id))
        ids = [one.id for one in every]
        start = ids.index(query["after"]) + 1 if query.get("after") else 0
        some = every[start : start + int(query.get("limit", 100))]
        return {"items": [plain(one) for one in some], "next": some[-1].id if start + len(some) < len(every) else None}

    def lineage(self, id: str) -> Lineage:
        """Everything there is, with a stream, jobs and a dataset of somebody else that nobody here may see."""
        shelf = self.shelf
        stream = fake_assets.name_of("st", 1)
        nodes = [LineageNode(id=stream, kind="stream", name="plant/trio/reading", company=OURS)]
        edges = [(stream, one.id) for one in shelf.datasets.values() if one.stream]
        for one in shelf.datasets.values():
            gone, state = one.deleted_ms is not None, one.statistics_state
            node = LineageNode(id=one.id, kind="dataset", name=one.name, company=one.company, state=state, deleted=gone)
            nodes.append(node.model_copy(update={"revoked": revoked(one) or ""}))
        for model in shelf.models.values():
            kind = "translation" if model.translation else "snapshot" if model.snapshot else "model"
            taken = revoked(model) or ""
            nodes.append(
                LineageNode(
                    id=model.id, kind=kind, name=model.name, company=model.company, state=model.state, revoked=taken
                )
            )
            if model.translation:
                edges.append((model.translation.of, model.id))
            if model.snapshot:
                edges.append((stream, model.id))
            if model.recipe and model.job:
                recipe = f"rc_{model.id[3:]}"
                seen = {"company": model.company} if model.company == OURS else {}
                nodes.append(
                    LineageNode(id=recipe, kind="recipe", name=model.recipe.entry_point if seen else "", **seen)
                )
                state = "done" if seen else ""
                nodes.append(
                    LineageNode(id=model.job, kind="job", name=model.name if seen else "", state=state, **seen)
                )
                edges += [(source, recipe) for source in [*model.datasets, *([model.parent] if model.parent else [])]]
                edges += [(recipe, model.job), (model.job, model.id)]
        nodes.append(LineageNode(id=fake_assets.name_of("ds", 77), kind="dataset"))
        edges.append((fake_assets.name_of("ds", 77), f"rc_{fake_assets.name_of('md', 3)[3:]}"))
        alias = {one.id: f"hidden_{number}" for number, one in enumerate(nodes, 1) if not one.name and not one.company}
        nodes = [one.model_copy(update={"id": alias.get(one.id, one.id)}) for one in nodes]
        edges = [(alias.get(source, source), alias.get(target, target)) for source, target in edges]
        near = _family(id, edges)
        return Lineage(
            nodes=[one for one in nodes if one.id in near], edges=[edge for edge in edges if set(edge) <= near]
        )

    def asset(self, id: str) -> Any:
        """A dataset or model."""
        return self.one("models" if id.startswith("md_") else "datasets", id)

    # -- doing

    def disown(self, id: str, reason: str) -> Any:
        """Revoke it."""
        self.require("write")
        if not reason or len(reason) > 500:
            raise Refused(400, "a reason has 1 to 500 letters")
        changed = self.asset(id).model_copy(update={"anchoring_note": f"revoked: {reason}"})
        self.shelf.add(changed)
        return changed

    def translate(self, id: str) -> Model:
        """A translation that is there already, or a refusal."""
        self.require("write")
        model: Model = self.one("models", id)
        if model.state in {"registered", "training"}:
            raise Refused(409, f"the training of {id} has not completed: it is {model.state}")
        for one in self.shelf.models.values():
            if one.translation and one.translation.of == id:
                return one
        raise Refused(400, "its answers differ by 0.3 from the original's, and 0.001 is allowed")

    def register(self, asked: dict[str, Any]) -> Dataset:
        self.require("write")
        if set(asked) - {"name", "description", "media", "confidential", "upload"}:
            raise Refused(400, f"unknown fields in {sorted(asked)}")
        upload = self.uploads.get(asked["upload"])
        if upload is None or len(upload["body"]) < upload["length"]:
            raise Refused(409, "this upload is not whole yet")
        if "/" in asked["name"]:
            raise Refused(400, "a name has no slash")
        body = bytes(self.uploads.pop(asked["upload"])["body"])
        known = Stored(size=len(body), sha256=digest(body.decode("latin-1")), root=digest("root"))
        made = Dataset(
            id=new_id("ds"),
            company=OURS,
            name=asked["name"],
            description=asked["description"],
            created_ms=now_ms(),
            created_by="page",
            media="csv",
            filename=upload["name"],
            stored=known,
            confidential=asked["confidential"],
        )
        self.shelf.add(made)
        return made

    def delete(self, kind: str, id: str) -> dict[str, Any]:
        self.require("write")
        thing = self.one(kind, id)
        tombstone = any(id in (*model.datasets, model.parent) for model in self.shelf.models.values())
        if tombstone:
            self.shelf.add(thing.model_copy(update={"deleted_ms": now_ms()}))
        else:
            del getattr(self.shelf, kind)[id]
        return {"deleted": id, "tombstone": tombstone}

    def release(self, id: str) -> Model:
        self.require("share")
        model: Model = self.one("models", id)
        released = model.model_copy(update={"held_for": [one for one in model.held_for if one != OURS]})
        self.shelf.add(released)
        return released

    def grant(self, asked: dict[str, Any]) -> Grant:
        self.require("share")
        if asked["grantee"] == "nobody":
            raise Refused(400, "there is no company 'nobody' here")
        made = Grant(id=new_id("gr"), company=OURS, created_ms=now_ms(), created_by="ada", **asked)
        self.shelf.add(made)
        return made

    def revoke(self, id: str) -> Grant:
        self.require("share")
        grant: Grant = self.one("grants", id)
        gone = grant.model_copy(update={"revoked_ms": now_ms()})
        self.shelf.add(gone)
        return gone

    def cancel(self, id: str) -> Job:
        job: Job = self.one("jobs", id)
        if job.state not in {"queued", "running"}:
            raise Refused(409, "this job has ended")
        ended = job.model_copy(update={"state": "cancelled", "ended_ms": now_ms(), "reason": "cancelled by ada"})
        self.shelf.add(ended)
        return ended

    def reproduce(self, id: str) -> Job:
        """A second training of a model."""
        model: Model = self.one("models", id)
        made = Job(id=new_id("jb"), company=OURS, model=model.id, created_ms=now_ms(), created_by="ada")
        self.shelf.add(made)
        return made

    def retry(self, id: str) -> Job:
        job: Job = self.one("jobs", id)
        again = job.model_copy(
            update={
                "state": "queued",
                "started_ms": None,
                "ended_ms": None,
                "reason": "",
                "exit_code": None,
                "progress": None,
                "created_ms": now_ms(),
            }
        )
        self.shelf.add(again)
        return again

    async def log(self, id: str, offset: int, follow: bool) -> AsyncIterator[bytes]:
        """What was printed; the running job prints on, in pieces that end anywhere."""
        job = self.one("jobs", id)
        yield self.shelf.logs.get(id, b"")[offset:]
        if job.state != "running" or not follow:
            return
        sent = 0
        for line in range(400):
            text = f"\x1b[36mepoch {line:3}\x1b[0m loss {1 / (line + 2):.4f} ± 0.01\n".encode()
            half = len(text) - 9
            if sent + len(text) > offset:
                yield text[:half] if sent >= offset else text[offset - sent : half] if offset - sent < half else b""
                await asyncio.sleep(0.02 if line < 60 else 0.3)
                yield text[max(half, offset - sent) :]
            sent += len(text)
            if self.shelf.jobs[id].state != "running":
                return


def _family(id: str, edges: list[tuple[str, str]]) -> set[str]:
    """What it was made of, and what was made of it, all the way."""
    found = {id}
    for ahead in (True, False):
        todo = [id]
        while todo:
            here = todo.pop()
            more = {(to if ahead else from_) for from_, to in edges if (from_ if ahead else to) == here} - found
            found |= more
            todo += more
    # what else a found thing was made of
    return found | {from_ for from_, to in edges if to in found}


# ---- doors ---------------------------------------------------------------------------------------------------------------


class Door:
    """401 for everything but the page itself, for whoever has no session."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        self._app, self._hub = app, hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        public = path in {"/", "/login"} or path.startswith(("/console/", "/fake/"))
        if scope["type"] != "http" or self._hub.open or public:
            await self._app(scope, receive, send)
            return
        await JSONResponse({"error": "who are you? open the link that `headrace open` prints"}, 401)(
            scope, receive, send
        )


def routes(hub: Hub) -> list[Route]:
    """Sharing, training and identity, as the page needs them."""

    def route(path: str, work: Any, method: str = "GET", status: int = 200) -> Route:
        async def endpoint(request: Request) -> Response:
            hub.advance()
            hub.calls.append(f"{method} {request.url.path}")
            body = await request.body()
            try:
                asked = await request.json() if body else {}
                found = work(request, asked)
            except Refused as error:
                return JSONResponse({"error": error.args[1]}, error.args[0])
            return (
                found
                if isinstance(found, Response)
                else JSONResponse(plain(found) if isinstance(found, BaseModel) else found, status)
            )

        return Route(path, endpoint, methods=[method])

    def id_(request: Request) -> str:
        return str(request.path_params["id"])

    def login(request: Request, _: Any) -> Response:
        hub.open = True
        return RedirectResponse("/")

    def logout(request: Request, _: Any) -> Any:
        hub.open = False
        return {}

    def reset(request: Request, _: Any) -> Any:
        hub.reset()
        return {}

    def log(request: Request, _: Any) -> Response:
        job = hub.one("jobs", id_(request))
        model = hub.shelf.models.get(job.model)
        if model and model.held_for and OURS not in model.held_for:
            raise Refused(
                403, "this log is held: the model was trained on data of 'borealis', which has not released it"
            )
        query = request.query_params
        return StreamingResponse(
            hub.log(job.id, int(query.get("offset", 0)), "follow" in query), media_type="text/plain; charset=utf-8"
        )

    found = [
        route("/login", login), route("/logout", logout, "POST"), route("/fake/reset", reset), route("/fake/calls", lambda request, _: hub.calls), route("/whoami", lambda request, _: hub.who),
        route("/lineage/{id}", lambda request, _: hub.lineage(id_(request))),
        route("/grants", lambda request, _: {"items": [plain(one) for one in hub.shelf.grants.values()], "next": None}), route("/grants", lambda request, asked: hub.grant(asked), "POST", 201), route("/grants/{id}", lambda request, _: hub.revoke(id_(request)), "DELETE"),
        route("/jobs", lambda request, _: hub.list("jobs", request.query_params)), route("/jobs/{id}", lambda request, _: hub.one("jobs", id_(request))), route("/jobs/{id}/log", log),
        route("/jobs/{id}/cancel", lambda request, _: hub.cancel(id_(request)), "POST"), route("/jobs/{id}/retry", lambda request, _: hub.retry(id_(request)), "POST"),
        route("/datasets", lambda request, asked: hub.register(asked), "POST", 201), route("/models/{id}/release", lambda request, _: hub.release(id_(request)), "POST"),
        route("/api/deployments", lambda request, _: []),
        route("/translate/{id}", lambda request, _: hub.translate(id_(request)), "POST", 201),
        route("/contracts", lambda request, _: {"items": fake_proof.contracts(hub.asset(request.query_params["asset"]))}), route("/ledger", lambda request, _: fake_proof.LEDGER), route("/keys/{id}", lambda request, _: fake_proof.keys(id_(request))),
        route("/verify/{id}", lambda request, _: fake_proof.verify(hub.asset(id_(request)), request.query_params["level"]), "POST"),
        *(route(f"/{what}/{{id}}", lambda request, _, what=what: fake_proof.taken(what, hub.asset(id_(request)))) for what in ("bundles", "cards", "boms")),
        route("/models/{id}/reproduce", lambda request, _: hub.reproduce(id_(request)), "POST", 201),
        route("/models/{id}/files/{path:path}", lambda request, _: content(hub.one("models", id_(request)))),
    ]  # fmt: skip
    for kind in ("datasets", "models"):
        found += [
            route(f"/{kind}", lambda request, _, kind=kind: hub.list(kind, request.query_params)),
            route(f"/{kind}/{{id}}", lambda request, _, kind=kind: hub.one(kind, id_(request))),
            route(f"/{kind}/{{id}}/content", lambda request, _, kind=kind: content(hub.one(kind, id_(request)))),
            route(f"/{kind}/{{id}}/revoke", lambda request, asked: hub.disown(id_(request), asked["reason"]), "POST"),
            route(f"/{kind}/{{id}}/raw", lambda request, _, kind=kind: content(hub.one(kind, id_(request)))),
            route(f"/{kind}/{{id}}", lambda request, _, kind=kind: hub.delete(kind, id_(request)), "DELETE"),
        ]
    return [*found, *_uploads(hub)]


def content(thing: Any) -> Response:
    if thing.name == "wind-park":
        raise Refused(403, "your grant is for training: it does not let you download")
    return Response(
        b"time;power\n1;2\n",
        media_type="text/csv",
        headers={"content-disposition": 'attachment; filename="content.csv"'},
    )


def _uploads(hub: Hub) -> list[Route]:
    """tus 1.0 core, creation and termination."""

    async def create(request: Request) -> Response:
        named = dict(part.split(" ") for part in request.headers.get("upload-metadata", "").split(","))
        name = base64.b64decode(named["filename"]).decode()
        if name.startswith("refused"):
            return JSONResponse({"error": "the largest upload is 10 GB (HEADRACE_SHARING_MAX_BYTES)"}, 413)
        id = new_id("up")
        hub.uploads[id] = {
            "name": name,
            "length": int(request.headers["upload-length"]),
            "body": bytearray(),
            "cut": name.startswith("cut"),
            "pieces": 0,
        }
        return Response(status_code=201, headers={**TUS, "location": f"/uploads/{id}"})

    async def ask(request: Request) -> Response:
        upload = hub.uploads.get(request.path_params["id"])
        if upload is None:
            return Response(status_code=404, headers=TUS)
        return Response(
            headers={
                **TUS,
                "upload-offset": str(len(upload["body"])),
                "upload-length": str(upload["length"]),
                "cache-control": "no-store",
            }
        )

    async def append(request: Request) -> Response:
        upload = hub.uploads.get(request.path_params["id"])
        if upload is None:
            return JSONResponse({"error": "there is no such upload"}, 404, TUS)
        if int(request.headers["upload-offset"]) != len(upload["body"]):
            return JSONResponse({"error": "the offset is another"}, 409, TUS)
        piece = await request.body()
        upload["pieces"] += 1
        if upload["name"].startswith("slow"):
            await asyncio.sleep(0.4)
        if upload["cut"] and upload["pieces"] == 2:
            upload["body"] += piece[: len(piece) // 3]
            return JSONResponse({"error": "the disk was busy"}, 503, TUS)
        upload["body"] += piece
        return Response(status_code=204, headers={**TUS, "upload-offset": str(len(upload["body"]))})

    async def end(request: Request) -> Response:
        hub.calls.append(f"DELETE {request.url.path}")
        return Response(status_code=204 if hub.uploads.pop(request.path_params["id"], None) else 404, headers=TUS)

    path = "/uploads/{id}"
    return [
        Route("/uploads", create, methods=["POST"]),
        Route(path, ask, methods=["HEAD"]),
        Route(path, append, methods=["PATCH"]),
        Route(path, end, methods=["DELETE"]),
    ]
