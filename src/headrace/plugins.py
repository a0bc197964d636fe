"""The only plug-in registry: a family's names -> classes, imported on first use.

A plug-in is a class with

- ``Params``: a `Params` subclass, the settings a user may give it in a spec. It must be importable without the heavy
  library the plug-in needs (import that inside ``__init__``), so that specs are checked in a process that will never
  load torch;
- an ``__init__`` whose first argument is an instance of ``Params``;
- the verbs of its family's Protocol.

Third parties add theirs with an entry point in the group ``headrace.<family>``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ConfigDict

from headrace.errors import MissingExtra, UnknownPlugin


class Params(BaseModel):
    """Base of every plug-in's settings: immutable, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Family:
    """A family of plug-ins: what it is called, and where each known member lives."""

    name: str
    known: Mapping[str, str]
    """name -> "module:Class"."""
    extras: Mapping[str, str] = field(default_factory=dict)
    """name -> the extra that installs what it imports."""

    def names(self) -> list[str]:
        """Every member's name, third parties' included."""
        return sorted({*self.known, *_foreign(self.name)})

    def find(self, name: str) -> type[Any]:
        """The class of that name.

        Raises:
            UnknownPlugin: no such member; the message lists those that exist and the nearest.
            MissingExtra: its library is not installed; the message has the pip line.
        """
        target = self.known.get(name) or _foreign(self.name).get(name)
        if target is None:
            near = difflib.get_close_matches(name, self.names(), n=1)
            known = ", ".join(self.names()) + (f" (did you mean {near[0]!r}?)" if near else "")
            raise UnknownPlugin(family=self.name.removesuffix("s"), name=name, known=known)
        module, _, attribute = target.partition(":")
        try:
            found: type[Any] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            extra = self.extras.get(name, name)
            raise MissingExtra(family=self.name, name=name, module=error.name, extra=extra) from error
        return found

    def params(self, name: str, given: Mapping[str, Any]) -> Any:
        """The validated ``Params`` of member `name`; raises pydantic's ValidationError."""
        return self.find(name).Params.model_validate(dict(given))


@cache
def _foreign(family: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"headrace.{family}")}
