from typing import Literal

LineageNodeKind = Literal[
    "dataset", "job", "model", "recipe", "snapshot", "stream", "translation"
]

LINEAGE_NODE_KIND_VALUES: set[LineageNodeKind] = {
    "dataset",
    "job",
    "model",
    "recipe",
    "snapshot",
    "stream",
    "translation",
}


def check_lineage_node_kind(value: str) -> LineageNodeKind:
    if value in LINEAGE_NODE_KIND_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {LINEAGE_NODE_KIND_VALUES!r}"
    )
