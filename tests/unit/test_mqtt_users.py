"""Users: passwords, filters with names in them, and files with mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import BadInput
from headrace.services.gateway.mqtt.users import ANYTHING, Access, Users, hash_password, user_entry, verify_password


def test_passwords() -> None:
    hashed = hash_password("geheim")
    assert verify_password(hashed, b"geheim")
    assert not verify_password(hashed, b"Geheim")
    assert hashed != hash_password("geheim"), "salted"
    for broken in ("", "geheim", "scrypt$99$8$1$AA==$AA==", "scrypt$14$8$1$?$?", hashed.replace("scrypt", "plain")):
        assert not verify_password(broken, b"geheim")


def test_login_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(user_entry("pump", "geheim", ["acme/%u/#"], ["acme/#"]))
    users = Users.load(path)
    assert users.anonymous is None
    assert users.remembered("pump", b"geheim") is None
    assert users.login("pump", b"wrong") is None
    assert users.login("nobody", b"") is None
    access = users.login("pump", b"geheim")
    assert access is not None
    assert access.may_publish("acme/pump/power", "c")
    assert users.remembered("pump", b"geheim") is access
    assert users.remembered("pump", b"wrong") is None
    assert users.certified("pump") is access
    assert users.certified("nobody") is None


def test_a_user_without_password_cannot_log_in_with_one(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("users: {cert-only: {publish: ['a/#']}}\nanonymous: {subscribe: ['public/#']}\n")
    users = Users.load(path)
    assert users.login("cert-only", b"") is None
    assert users.anonymous is not None
    assert users.anonymous.may_subscribe("public/+", "c")
    assert not users.anonymous.may_publish("public/a", "c")


def test_names_cannot_widen_a_filter() -> None:
    access = Access("u", ["acme/%c/+", "%u/#"], ["acme/%c"])
    assert access.may_publish("acme/c1/x", "c1")
    assert not access.may_publish("acme/c2/x", "c1")
    for evil in ("#", "+", "a/b", ""):
        assert not access.may_subscribe("acme/#", evil)
        assert not access.may_publish("acme/other/x", evil)
    assert not Access(None, ["%u/#"]).may_publish("/x", "c")
    assert not Access("u", ["prefix%c/#"]).may_publish("prefixme/x", "me"), "only whole levels are filled in"


def test_nobody_reaches_internal_topics_by_wildcard() -> None:
    assert not ANYTHING.may_subscribe("$headrace/control", "c")
    assert not ANYTHING.may_publish("$headrace/control", "c")
    assert ANYTHING.may_subscribe("#", "c")


@pytest.mark.parametrize(
    "text",
    [
        "users: [",
        "users: {a: {publish: 'x'}}",
        "users: {a: {pubish: []}}",
        "users: {a: {password: geheim}}",
        "users: {a: {publish: ['a/#/b']}}",
        "anonymous: {subscribe: ['a+']}",
        "- a",
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"users\.yaml"):
        Users.load(path)
