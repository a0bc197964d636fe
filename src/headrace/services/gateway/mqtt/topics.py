"""Filters of a server: shared ones, which covers which, and the two trees that find matches quickly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def split_shared(text: str) -> tuple[str, str] | None:
    """Group and filter of ``$share/group/filter``; group "" if it is no shared subscription; None if it is a wrong one.

    >>> split_shared("$share/ui/a/#"), split_shared("a/#"), split_shared("$share/a+/b")
    (('ui', 'a/#'), ('', 'a/#'), None)
    """
    if not text.startswith("$share/"):
        return None if text == "$share" else ("", text)
    group, _, rest = text[7:].partition("/")
    return (group, rest) if group and "+" not in group and "#" not in group and rest else None


def covers(allowed: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether every topic that `asked` matches is matched by `allowed`; both as levels.

    >>> covers(["acme", "#"], ["acme", "+", "power"]), covers(["acme", "+"], ["acme", "#"]), covers(["#"], ["$x"])
    (True, False, False)
    """
    if allowed[0] in ("+", "#") and asked[0].startswith("$"):
        return False
    for index, level in enumerate(allowed):
        if level == "#":
            return True
        if index == len(asked) or asked[index] == "#" or level not in ("+", asked[index]):
            return False
    return len(allowed) == len(asked)


class _Node(Generic[T]):
    __slots__ = ("children", "values")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] = {}
        self.values: dict[object, T] = {}


class FilterTree(Generic[T]):
    """Values under topic filters: which of them match a topic?

    >>> tree = FilterTree[int]()
    >>> tree.add("a/+", "me", 1); tree.add("a/#", "you", 2)
    >>> sorted(tree.match("a/b")), tree.match("a"), tree.match("b")
    ([1, 2], [2], [])
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def __bool__(self) -> bool:
        return bool(self._root.children)

    def add(self, text: str, key: object, value: T) -> None:
        """Put `value` under the filter, replacing what `key` had there."""
        node = self._root
        for level in text.split("/"):
            node = node.children.setdefault(level, _Node())
        node.values[key] = value

    def get(self, text: str, key: object) -> T | None:
        """What `key` has under exactly this filter."""
        node: _Node[T] | None = self._root
        for level in text.split("/"):
            node = node.children.get(level) if node else None
        return node.values.get(key) if node else None

    def remove(self, text: str, key: object) -> None:
        """Take away what `key` has under the filter, and branches nobody needs any more."""
        levels = text.split("/")
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        path[-1].values.pop(key, None)
        for level, parent, node in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if node.values or node.children:
                return
            del parent.children[level]

    def match(self, topic: str) -> list[T]:
        """All values whose filter matches; wildcards do not reach topics under ``$`` (section 4.7.2)."""
        found: list[T] = []
        nodes = [self._root]
        wild = not topic.startswith("$")
        for level in topic.split("/"):
            following = []
            for node in nodes:
                children = node.children
                if wild and "#" in children:
                    found += children["#"].values.values()
                if wild and "+" in children:
                    following.append(children["+"])
                if level in children:
                    following.append(children[level])
            nodes, wild = following, True
        for node in nodes:
            found += node.values.values()
            if "#" in node.children:  # "a/#" matches "a" too
                found += node.children["#"].values.values()
        return found


class TopicTree(Generic[T]):
    """Values under topics: which of them match a filter? The oldest update comes first."""

    def __init__(self) -> None:
        self._root: _Node[str] = _Node()
        self._values: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, topic: str) -> T | None:
        return self._values.get(topic)

    def oldest(self) -> str:
        """The topic that was set longest ago."""
        return next(iter(self._values))

    def put(self, topic: str, value: T) -> None:
        if self._values.pop(topic, None) is None:
            node = self._root
            for level in topic.split("/"):
                node = node.children.setdefault(level, _Node())
            node.values[topic] = topic
        self._values[topic] = value

    def pop(self, topic: str) -> T | None:
        """Take it out; None if it was not there."""
        value = self._values.pop(topic, None)
        if value is None:
            return None
        levels = topic.split("/")
        path = [self._root]
        for level in levels:
            path.append(path[-1].children[level])
        path[-1].values.clear()
        for level, parent, node in zip(reversed(levels), reversed(path[:-1]), reversed(path[1:]), strict=True):
            if node.values or node.children:
                break
            del parent.children[level]
        return value

    def match(self, text: str) -> Iterator[T]:
        """The values whose topic the filter matches."""
        nodes = [self._root]
        for depth, level in enumerate(text.split("/")):
            if level == "#":
                for topic in _below(nodes, depth):
                    yield self._values[topic]
                return
            if level == "+":
                nodes = [child for node in nodes for name, child in node.children.items() if depth or name[:1] != "$"]
            else:
                nodes = [node.children[level] for node in nodes if level in node.children]
        for node in nodes:
            for topic in node.values.values():
                yield self._values[topic]


def _below(nodes: list[_Node[str]], depth: int) -> Iterator[str]:
    """Topics at and under these nodes; at the root, not those under ``$``."""
    stack = list(nodes)
    if not depth:
        stack = [child for name, child in nodes[0].children.items() if name[:1] != "$"]
    while stack:
        node = stack.pop()
        yield from node.values.values()
        stack += node.children.values()
