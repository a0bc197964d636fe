"""Every option of `headrace up` reaches the platform's settings: one that is lost on the way would be silently without effect."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from headrace.commands.platform import Up
from headrace.compose import Platform
from headrace.settings import PlatformSettings

OTHERS: dict[str, Any] = {
    "broker_topic": ["plant/#"],
    "mqtt_users": Path("users.yaml"),
    "tls_certificate": Path("cert.pem"),
    "tls_key": Path("key.pem"),
    "proxy": ["192.0.2.0/24"],
}
"""Options whose default says nothing of their type."""


def _another(name: str, value: Any) -> Any:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return type(value)("another")


@pytest.mark.parametrize("name", [one.name for one in fields(Up)])
def test_an_option_changes_the_settings(name: str) -> None:
    usual = Up()
    changed = replace(usual, **{name: _another(name, getattr(usual, name))})
    assert changed.settings() != usual.settings()


def test_a_relative_data_folder_is_made_whole() -> None:
    """Sandboxes work in folders of their own: a relative path would lead nowhere there."""
    assert Platform(PlatformSettings(data=Path("data"))).settings.data == Path.cwd() / "data"
