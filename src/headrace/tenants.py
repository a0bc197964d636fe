"""The companies that are open on this platform: each from its first use, or from the start if it has data, to its deletion."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from headrace.access import LOCAL
from headrace.errors import Conflict, HeadraceError, NotFound
from headrace.services.learning.deployed.service import Source
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.parents import Weights
from headrace.services.sharing import Sharing
from headrace.settings import PlatformSettings
from headrace.tenant import Tenant

logger = logging.getLogger("headrace")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""What may be the name of a company's folder."""


class Tenants:
    """Opens and closes companies. Enter it in a running event loop; the first company is open from then on.

    Args:
        addresses: where the platform's doors are.
        companies: name -> time of creation of every company there is now: what makes two of one name two.
        isolation: how a company's own code is kept from others, by its folder.
        weights: gives registered models to those that start from them.
        hub: where what models publish is registered.
        models: gives registered models that are to be deployed.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        addresses: dict[str, str],
        companies: Callable[[], Mapping[str, int]],
        isolation: Callable[[Path], Isolation],
        weights: Weights | None = None,
        hub: Callable[[], Sharing] | None = None,
        models: Source | None = None,
    ) -> None:
        self._models = models
        self._settings, self._addresses, self._isolation = settings, addresses, isolation
        self._companies, self._weights, self._hub = companies, weights, hub
        self._locks: dict[str, asyncio.Lock] = {}
        self._created: dict[str, int] = {}
        self.open: dict[str, Tenant] = {}
        self.opened: list[Callable[[Tenant], None]] = []
        """Called with each company that was opened."""
        self.closed: list[Callable[[Tenant], None]] = []
        """Called with each company that is about to be closed."""
        self.closing = False

    async def __aenter__(self) -> Tenants:
        settings = self._settings
        local = Tenant(
            settings, LOCAL, settings.data, self._addresses,
            weights=self._weights, several=self._several, hub=self._hub, models=self._models,
        )  # fmt: skip
        self.open[LOCAL] = await local.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing = True
        for company in self._others():
            try:
                async with self._lock(company):
                    await self._close(company)
            except Exception:  # one company's trouble keeps nobody else from saving
                logger.exception("company %r was not closed cleanly", company)
        await self._close(LOCAL)

    def _several(self) -> bool:
        """Whether there is a company besides the first, open or not."""
        return bool(self._companies().keys() - {LOCAL})

    @property
    def local(self) -> Tenant:
        """The platform's first company."""
        return self.open[LOCAL]

    async def get(self, company: str) -> Tenant:
        """A company's part of the platform; it is opened if it is not yet.

        Raises:
            NotFound: there is no such company any more.
            Conflict: as many are open as may be.
        """
        return self.open.get(company) or await self._get(company)

    async def _get(self, company: str) -> Tenant:
        async with self._lock(company):
            if found := self.open.get(company):
                return found
            if len(self.open) >= self._settings.companies or self.closing:
                allowed = self._settings.companies
                raise Conflict(
                    detail=f"{len(self.open)} companies are open and {allowed} may be (`PlatformSettings.companies`)"
                )
            created = (await asyncio.to_thread(self._companies)).get(company)
            if created is None:
                raise NotFound(detail=f"there is no company {company[:80]!r}")
            folder = self._folder(company, created)
            isolation = await asyncio.to_thread(self._isolation, folder)
            tenant = Tenant(
                self._settings, company, folder, self._addresses, isolation,
                weights=self._weights, hub=self._hub, models=self._models,
            )  # fmt: skip
            await tenant.__aenter__()
            self.open[company], self._created[company] = tenant, created
            tenant.learning.clean()
            for tell in self.opened:
                tell(tenant)
            return tenant

    async def follow(self) -> None:
        """Close the companies that were deleted. Whoever lets callers in awaits this after somebody was deleted, so that a new
        company of an old name does not meet what the old one left open."""
        companies = await asyncio.to_thread(self._companies)
        for company in self._others():
            async with self._lock(company):
                if company in self.open and self._created[company] != companies.get(company):
                    await self._close(company)

    async def resume(self) -> None:
        """Open the companies that have data, one after the other: their models go on without being asked."""
        place = self._settings.data / "companies"
        known = await asyncio.to_thread(self._companies)
        for company in sorted(known) if place.is_dir() else ():
            try:
                if company != LOCAL and (place / company).is_dir():
                    await self.get(company)
            except (HeadraceError, OSError) as error:
                print(f"headrace: company {company!r} cannot be opened ({error})", file=sys.stderr)

    def folder(self, company: str) -> Path:
        """Where a company's log is; it need not be open."""
        return self._settings.data if company == LOCAL else self._settings.data / "companies" / company

    def _folder(self, company: str, created: int) -> Path:
        """A company's data directory; one that another company of this name left behind is moved out of the way."""
        if NAME.fullmatch(company) is None:
            raise NotFound(detail=f"there is no company {company[:80]!r}")
        folder = self._settings.data / "companies" / company
        mark = folder / "created"
        if folder.exists() and (not mark.is_file() or mark.read_text() != str(created)):
            folder.rename(folder.with_name(f"{company}.deleted-{time.time_ns() // 1_000_000}"))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark.write_text(str(created))
        return folder

    def _others(self) -> list[str]:
        """Companies besides the first that are open or being opened."""
        opening = {company for company, lock in self._locks.items() if lock.locked()}
        return sorted((opening | self.open.keys()) - {LOCAL})

    async def _close(self, company: str) -> None:
        tenant = self.open.pop(company, None)
        if tenant is None:
            return
        for tell in self.closed:
            tell(tenant)
        await tenant.__aexit__(None, None, None)

    def _lock(self, company: str) -> asyncio.Lock:
        return self._locks.setdefault(company, asyncio.Lock())
