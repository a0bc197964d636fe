"""Strangers at a door: who has not said yet what he wants makes room for others, and no address has all the places."""

from __future__ import annotations

import contextlib
import resource
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Generic, TypeVar

Guest = TypeVar("Guest")
MOST = 2**17
"""Open files asked for at most: some machines would allow 10^9, and each costs a little."""
KEPT = 2048
"""Handles kept for the platform itself: a company has some dozens, of its state files, log and workers."""


class Crowd(Generic[Guest]):
    """Who is connected, from where, and who of them is silent. Of the silent the first that came is the first to go.

    Args:
        proxies: addresses or networks of reverse proxies, whose guests are many people. Loopback is one too.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self._proxies = [ip_network(one) for one in proxies]
        self._guests: dict[Guest, str] = {}
        self._counts: Counter[str] = Counter()
        self._silent: dict[str, dict[Guest, None]] = {}
        self.silent = 0
        """How many have not said what they want."""

    def __len__(self) -> int:
        return len(self._guests)

    def add(self, guest: Guest, host: str) -> None:
        """He came, and is silent. May be called twice."""
        if guest in self._guests:
            return
        address = self._guests[guest] = _address(host)
        self._counts[address] += 1
        self.hush(guest)

    def hush(self, guest: Guest) -> None:
        """He is silent from now on."""
        address = self._guests.get(guest)
        if address is not None and guest not in (silent := self._silent.setdefault(address, {})):
            silent[guest] = None
            self.silent += 1

    def heard(self, guest: Guest) -> None:
        """He said what he wants."""
        address = self._guests.get(guest, "")
        silent = self._silent.get(address, {})
        if guest in silent:
            del silent[guest]
            self.silent -= 1
            if not silent:
                del self._silent[address]

    def remove(self, guest: Guest) -> None:
        """He left. May be called twice."""
        self.heard(guest)
        if (address := self._guests.pop(guest, None)) is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def crowded(self, guest: Guest, most: int) -> bool:
        """Whether there are more than `most` from his address, and that is nobody's proxy."""
        address = self._guests[guest]
        return self._counts[address] > most and not self._shared(address)

    def crowded_silently(self, guest: Guest, most: int) -> bool:
        """The same of those who are silent."""
        address = self._guests[guest]
        return len(self._silent.get(address, ())) > most and not self._shared(address)

    def oldest(self, beside: Guest | None = None) -> Guest | None:
        """The silent one who came first, of the address that has most; or of the same address as somebody."""
        if beside is not None:
            return next(iter(self._silent.get(self._guests[beside], ())), None)
        if not self._silent:
            return None
        address = max(self._silent, key=lambda one: len(self._silent[one]))
        return next(iter(self._silent[address]))

    def _shared(self, address: str) -> bool:
        network = _network(address)
        if network is None or network.is_loopback:
            return True
        return any(network.version == one.version and network.subnet_of(one) for one in self._proxies)  # type: ignore[arg-type]


@lru_cache(4096)
def _address(host: str) -> str:
    """What counts as one address: of IPv6 the 64 bits that one customer has.

    >>> _address("192.0.2.7"), _address("2001:db8::7%eth0"), _address("::ffff:192.0.2.7")
    ('192.0.2.7/32', '2001:db8::/64', '192.0.2.7/32')
    """
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is None:
            return str(ip_network(f"{found}/{128 if found.is_loopback else 64}", strict=False))
        found = found.ipv4_mapped
    return f"{found}/32"


@lru_cache(4096)
def _network(address: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(address)
    except ValueError:
        return None


def raise_handles() -> None:
    """As many open files as this process may have: shells give 1,024 of what may be far more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def places() -> int:
    """How many connections each of two doors may have, so that handles are left for the platform itself."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = MOST if soft == resource.RLIM_INFINITY else soft
    return max(8, (soft - min(KEPT, soft // 2)) // 2)
