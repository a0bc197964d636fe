"""The companies that are open on this platform: each from its first use, or from the start if it has data, to its deletion."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headrace.access import LOCAL
from headrace.errors import HeadraceError, NotFound, TooMany
from headrace.services.learning.isolation import Isolation
from headrace.settings import PlatformSettings
from headrace.tenant import Tenant

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
"""What may be the name of a company's folder."""


class Tenants:
    """Opens and closes companies. Enter it in a running event loop; the first company is open from then on.

    Args:
        addresses: where the platform's doors are.
        isolation: how a company's own code is kept from others, by its folder.
    """

    def __init__(
        self, settings: PlatformSettings, addresses: dict[str, str], isolation: Callable[[Path], Isolation]
    ) -> None:
        self._settings, self._addresses, self._isolation = settings, addresses, isolation
        self._locks: dict[str, asyncio.Lock] = {}
        self.open: dict[str, Tenant] = {}
        self.opened: list[Callable[[Tenant], None]] = []
        """Called with each company that was opened."""
        self.closing = False

    async def __aenter__(self) -> Tenants:
        self.open[LOCAL] = await Tenant(self._settings, LOCAL, self._settings.data, self._addresses).__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing = True
        for company in [*self.open]:
            async with self._lock(company):
                await self._close(company)

    @property
    def local(self) -> Tenant:
        """The platform's first company."""
        return self.open[LOCAL]

    async def get(self, company: str) -> Tenant:
        """A company's part of the platform; it is opened if it is not yet.

        Raises:
            TooMany: as many are open as may be.
            HeadraceError: it cannot be opened.
        """
        return self.open.get(company) or await self._get(company)

    async def _get(self, company: str) -> Tenant:
        async with self._lock(company):
            if found := self.open.get(company):
                return found
            if len(self.open) >= self._settings.companies or self.closing:
                raise TooMany(count=len(self.open), what="companies")
            folder = self.folder(company)
            tenant = await Tenant(
                self._settings, company, folder, self._addresses, self._isolation(folder)
            ).__aenter__()
            self.open[company] = tenant
            tenant.learning.clean()
            for tell in self.opened:
                tell(tenant)
            return tenant

    async def forget(self, company: str) -> None:
        """A company was deleted: close it, and put its data where no later company of that name finds them."""
        if company == LOCAL:
            return
        async with self._lock(company):
            await self._close(company)
            folder = self.folder(company)
            if folder.exists():
                folder.rename(folder.with_name(f"{company}.deleted-{time.time_ns() // 1_000_000}"))

    def known(self) -> list[str]:
        """Companies, besides the first, that have data here."""
        folder = self._settings.data / "companies"
        return sorted(one.name for one in folder.iterdir() if NAME.fullmatch(one.name)) if folder.is_dir() else []

    async def resume(self, companies: list[str]) -> None:
        """Open companies that have data: their models go on without being asked."""
        for company in companies:
            try:
                await self.get(company)
            except (HeadraceError, OSError) as error:
                print(f"headrace: company {company!r} cannot be opened ({error})", file=sys.stderr)

    def folder(self, company: str) -> Path:
        """A company's data directory. Raises NotFound for what is no name."""
        if company == LOCAL:
            return self._settings.data
        if NAME.fullmatch(company) is None:
            raise NotFound(detail=f"there is no company {company[:80]!r}")
        return self._settings.data / "companies" / company

    async def _close(self, company: str) -> None:
        tenant = self.open.pop(company, None)
        if tenant is not None:
            with contextlib.suppress(HeadraceError):
                await tenant.__aexit__(None, None, None)

    def _lock(self, company: str) -> asyncio.Lock:
        return self._locks.setdefault(company, asyncio.Lock())
