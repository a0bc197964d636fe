"""What was made of what: stream -> dataset -> recipe -> job -> model -> the recipes that start from it, and so on."""

from __future__ import annotations

import secrets
from typing import Literal, TypeAlias

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from headrace.assets import Dataset, Job, Lineage, LineageNode, Model
from headrace.services.sharing.fence import Asset, Fence
from headrace.services.sharing.tables import edges, grants, holds, nodes

MOST = 2000
"""Nodes of one answer."""
NodeKind: TypeAlias = Literal["stream", "dataset", "recipe", "job", "model"]
KINDS: dict[str, NodeKind] = {"st": "stream", "ds": "dataset", "rc": "recipe", "jb": "job", "md": "model"}
"""first letters of an id -> what it is"""


def from_stream(connection: Connection, company: str, topic: str, dataset: str) -> None:
    """A dataset was made of a company's stream. The stream gets an id that tells nothing of its topic."""
    query = select(nodes.c.id).where(nodes.c.company == company, nodes.c.kind == "stream", nodes.c.name == topic)
    stream = connection.execute(query).scalar()
    if stream is None:
        stream = f"st_{secrets.token_hex(10)}"
        connection.execute(insert(nodes).values(id=stream, kind="stream", company=company, name=topic))
    _edge(connection, stream, dataset)


def recipe(connection: Connection, model: Model) -> None:
    """A model is to be made of a recipe, and that of its inputs."""
    assert model.recipe is not None
    id, given = _recipe(model.id), model.recipe
    connection.execute(insert(nodes).values(id=id, kind="recipe", company=model.company, name=given.entry_point))
    for source in {*given.datasets, *given.evaluation, *filter(None, [given.parent])}:
        _edge(connection, source, id)
    _edge(connection, id, model.id)


def job(connection: Connection, model: Model, made: Job) -> None:
    """A job stands between the recipe and its model."""
    found = update(nodes).where(nodes.c.id == made.id).values(state=made.state)
    if not connection.execute(found).rowcount:
        values = {"id": made.id, "kind": "job", "company": made.company, "name": model.name, "state": made.state}
        connection.execute(insert(nodes).values(**values))
    connection.execute(delete(edges).where(edges.c.source == _recipe(model.id), edges.c.target == model.id))
    _edge(connection, _recipe(model.id), made.id)
    _edge(connection, made.id, model.id)


def depended_on(connection: Connection, asset: Asset) -> bool:
    """Whether something was made of it, somebody was granted it, or somebody's data went into it."""
    queries = [
        select(edges.c.source).where(edges.c.source == asset.id),
        select(grants.c.id).where(grants.c.asset == asset.id),
        select(holds.c.model).where(holds.c.model == asset.id),
    ]
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def cut(connection: Connection, asset: Asset) -> None:
    """Take out an asset nothing depends on, with its recipe, its job, or a stream nothing else was made of."""
    above = {asset.id}
    if isinstance(asset, Model):
        above |= {_recipe(asset.id), asset.job} - {""}
    before = set(connection.execute(select(edges.c.source).where(edges.c.target.in_(above))).scalars())
    connection.execute(delete(edges).where(edges.c.target.in_(above)))
    used = set(connection.execute(select(edges.c.source).where(edges.c.source.in_(before))).scalars())
    connection.execute(delete(nodes).where(nodes.c.id.in_((before | above) - used)))


def graph(fence: Fence, id: str) -> Lineage:
    """All that an asset was made of and all that was made of it. Raises UnknownAsset."""
    fence.find(id)
    found, drawn = {id}, set[tuple[str, str]]()
    for near, far in ((edges.c.target, edges.c.source), (edges.c.source, edges.c.target)):
        front = {id}
        while front and len(found) < MOST:
            rows = fence.connection.execute(select(edges).where(near.in_(sorted(front)[:MOST]))).all()
            drawn.update((row.source, row.target) for row in rows)
            front = {getattr(row, far.name) for row in rows} - found
            found |= front
    return Lineage(nodes=_nodes(fence, found), edges=sorted(drawn))


def _nodes(fence: Fence, ids: set[str]) -> list[LineageNode]:
    """What the caller may not see has an id and a kind only."""
    query = select(nodes).where(nodes.c.id.in_(ids), nodes.c.company == fence.who.company)
    known = {
        row.id: LineageNode(id=row.id, kind=row.kind, name=row.name, company=row.company, state=row.state)
        for row in fence.connection.execute(query)
    }
    seen = fence.seen("dataset", ids) | fence.seen("model", ids)
    known |= {one.id: _asset(one) for one in seen.values()}
    return [known.get(id) or LineageNode(id=id, kind=KINDS[id[:2]]) for id in sorted(ids)]


def _asset(found: Asset) -> LineageNode:
    state = found.statistics_state if isinstance(found, Dataset) else found.state
    return LineageNode(
        id=found.id,
        kind=KINDS[found.id[:2]],
        name=found.name,
        company=found.company,
        state=state,
        deleted=found.deleted_ms is not None,
    )


def _recipe(model: str) -> str:
    return f"rc_{model[3:]}"


def _edge(connection: Connection, source: str, target: str) -> None:
    connection.execute(upsert(edges).values(source=source, target=target).on_conflict_do_nothing())
