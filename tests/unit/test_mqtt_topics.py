"""Topics and filters, against a slow definition of "matches"."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.services.gateway.mqtt.topics import FilterTree, TopicTree, covers, split_shared
from headrace.topics import LEVELS, valid_filter, valid_topic

LEVEL = st.sampled_from(["a", "b", "", "$x"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(valid_topic)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(st.sampled_from(["a", "b", "", "$x", "+"]), min_size=0, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(valid_filter)


def matches(text: str, topic: str) -> bool:
    """Section 4.7, word for word and recursively."""

    def rest(levels: list[str], names: list[str]) -> bool:
        if levels == ["#"]:
            return True
        if not levels or not names:
            return not levels and not names
        return levels[0] in ("+", names[0]) and rest(levels[1:], names[1:])

    if topic.startswith("$") and text[0] in "+#":
        return False
    return rest(text.split("/"), topic.split("/"))


@given(st.lists(FILTERS, unique=True, max_size=12), TOPICS)
def test_filter_tree_finds_what_matches(filters: list[str], topic: str) -> None:
    tree = FilterTree[str]()
    for text in filters:
        tree.add(text, "me", text)
    assert sorted(tree.match(topic)) == sorted(text for text in filters if matches(text, topic))
    for text in filters:
        assert tree.get(text, "me") == text
        tree.remove(text, "me")
    assert not tree, "branches nobody needs are cut"


@given(st.lists(TOPICS, unique=True, max_size=12), FILTERS)
def test_topic_tree_finds_what_matches(topics: list[str], text: str) -> None:
    tree = TopicTree[str]()
    for topic in topics:
        tree.put(topic, topic)
    assert sorted(tree.match(text)) == sorted(topic for topic in topics if matches(text, topic))
    for topic in topics:
        assert tree.pop(topic) == topic
    assert not len(tree)
    assert not tree._root.children


@given(FILTERS, FILTERS, TOPICS)
def test_covers_means_every_topic(allowed: str, asked: str, topic: str) -> None:
    if covers(allowed.split("/"), asked.split("/")) and matches(asked, topic):
        assert matches(allowed, topic)


@given(FILTERS, TOPICS)
def test_covers_a_topic_means_matches(allowed: str, topic: str) -> None:
    assert covers(allowed.split("/"), topic.split("/")) == matches(allowed, topic)


def test_removing_what_is_not_there() -> None:
    tree = FilterTree[int]()
    tree.add("a/b", "me", 1)
    for text in ("a", "a/b/c", "x", "a/+"):
        tree.remove(text, "me")
    tree.remove("a/b", "you")
    assert tree.match("a/b") == [1]
    assert TopicTree[int]().pop("a") is None


def test_depth_is_bounded() -> None:
    assert valid_topic("/" * (LEVELS - 1))
    assert not valid_topic("/" * LEVELS)
    assert not valid_filter("/" * LEVELS)


def test_the_oldest_update_comes_first() -> None:
    tree = TopicTree[int]()
    tree.put("a", 1)
    tree.put("b", 2)
    tree.put("a", 3)
    assert tree.oldest() == "b"


def test_shared_filters() -> None:
    assert split_shared("$share/g/a/+") == ("g", "a/+")
    for text in ("$share", "$share/", "$share/g", "$share/g/", "$share//a", "$share/#/a"):
        assert split_shared(text) is None
