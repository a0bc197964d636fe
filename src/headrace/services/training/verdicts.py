"""Recipes of which two runs differed: a mark for ever, also on what is trained by the same recipe later."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from headrace.assets import Recipe
from headrace.services.training.tables import VERDICTS
from headrace.states import digest


def digest_of(plain: Mapping[str, Any]) -> str:
    """Digest of some JSON, whatever the order of its names."""
    return digest(msgspec.json.encode(plain, order="sorted"))


def fingerprint(environment: Mapping[str, Any]) -> str:
    """The digest of what `Runner.describe` says: its own word for it, if it has one."""
    return str(environment.get("digest") or digest_of(environment))


def named(recipe: Recipe) -> str:
    """What a recipe is known by: equal for equal code, parameters, seeds, environment, inputs and limits."""
    return digest_of(recipe.model_dump(mode="json"))


class Verdicts:
    """The recipes of each company that are not deterministic. Call in a thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def never(self, company: str, recipe: Recipe) -> str:
        """Why a recipe will never be called reproducible; "": nothing is known against it."""
        if not recipe.deterministic:
            return "its recipe declares itself non-deterministic"
        this = (VERDICTS.c.company == company) & (VERDICTS.c.recipe == named(recipe))
        with self._engine.begin() as db:
            return cast(str | None, db.execute(select(VERDICTS.c.note).where(this)).scalar()) or ""

    def mark(self, company: str, recipe: Recipe, note: str) -> None:
        """Two runs of it differed; the first note stays."""
        row = {"company": company, "recipe": named(recipe), "note": note, "time_ms": int(time.time() * 1000)}
        try:
            with self._engine.begin() as db:
                db.execute(insert(VERDICTS).values(row))
        except IntegrityError:
            return
