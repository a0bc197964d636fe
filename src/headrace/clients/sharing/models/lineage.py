from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.lineage_node import LineageNode


T = TypeVar("T", bound="Lineage")


@_attrs_define
class Lineage:
    """What an asset was made of, and what was made of it.

    Attributes:
        nodes (list[LineageNode]):
        edges (list[list[str]]): (from, to): the second was made of the first
    """

    nodes: list[LineageNode]
    edges: list[list[str]]

    def to_dict(self) -> dict[str, Any]:
        nodes = []
        for nodes_item_data in self.nodes:
            nodes_item = nodes_item_data.to_dict()
            nodes.append(nodes_item)

        edges = []
        for edges_item_data in self.edges:
            edges_item = []
            for edges_item_item_data in edges_item_data:
                edges_item_item: str
                edges_item_item = edges_item_item_data
                edges_item.append(edges_item_item)

            edges.append(edges_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "nodes": nodes,
                "edges": edges,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.lineage_node import LineageNode

        d = dict(src_dict)
        nodes = []
        _nodes = d.pop("nodes")
        for nodes_item_data in _nodes:
            nodes_item = LineageNode.from_dict(nodes_item_data)

            nodes.append(nodes_item)

        edges = []
        _edges = d.pop("edges")
        for edges_item_data in _edges:
            edges_item = []
            _edges_item = edges_item_data
            for edges_item_item_data in _edges_item:

                def _parse_edges_item_item(data: object) -> str:
                    return cast(str, data)

                edges_item_item = _parse_edges_item_item(edges_item_item_data)

                edges_item.append(edges_item_item)

            edges.append(edges_item)

        lineage = cls(
            nodes=nodes,
            edges=edges,
        )

        return lineage
