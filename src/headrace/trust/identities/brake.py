"""A brake on guessing passwords: after some wrong ones, whoever comes from there or asks for that name has to wait.

An attempt counts as wrong from its beginning until it turns out to be right, so a thousand at the same moment are not
a thousand free guesses.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from headrace.errors import TooManyGuesses

REMEMBERED = 10_000
"""Names and addresses remembered; what was quiet for longest makes room."""
PAIR, ADDRESS, NAME = (5, 900.0), (30, 900.0), (30, 30.0)
"""Free attempts, and the longest wait in seconds: of a name from one address, of an address, of a name from anywhere. The
last is short, or anybody could keep a person out of his own account."""
FORGOTTEN = 3600.0
"""Seconds after which attempts are forgotten."""


@dataclass(slots=True)
class _Attempts:
    count: int
    last: float


class Brake:
    """Counts attempts.

    Args:
        clock: seconds, always rising.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._attempts: OrderedDict[str, _Attempts] = OrderedDict()

    def attempt(self, name: str, address: str = "") -> None:
        """Before a password is looked at. Raises TooManyGuesses; that attempt does not count.

        Args:
            address: of the client; "" if it is not known. Loopback is not: a proxy may stand there for everybody.
        """
        now, kinds = self._clock(), _kinds(name, address)
        waits = [self._wait(key, *limits, now) for key, limits in kinds]
        if max(waits) > 0:
            raise TooManyGuesses(seconds=max(waits))
        for key, _ in kinds:
            found = self._attempts.setdefault(key, _Attempts(0, now))
            found.count, found.last = found.count + 1, now
            self._attempts.move_to_end(key)
        while len(self._attempts) > REMEMBERED:
            self._attempts.popitem(last=False)

    def passed(self, name: str, address: str = "") -> None:
        """It was right: it takes back its own attempt, and those of this name from this address. Others' still count, or
        somebody with an account of his own could go on for ever."""
        for key, _ in _kinds(name, address):
            found = self._attempts.get(key)
            if found is None:
                continue
            found.count -= 1
            if key.startswith("p:") or found.count <= 0:
                del self._attempts[key]

    def _wait(self, key: str, free: int, longest: float, now: float) -> float:
        found = self._attempts.get(key)
        if found is None:
            return 0.0
        if now - found.last > FORGOTTEN:
            del self._attempts[key]
            return 0.0
        over = found.count - free
        wait: float = min(2.0 ** min(over, 20), longest) if over >= 0 else 0.0
        return max(0.0, found.last + wait - now)


def _place(address: str) -> str:
    """An address; of IPv6 the network, because whoever has one address there has 2^64.

    >>> _place("10.0.0.1"), _place("2001:db8::1:2"), _place("127.0.0.1"), _place("")
    ('10.0.0.1', '2001:db8::/64', '', '')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if found.is_loopback:
        return ""
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


def _kinds(name: str, address: str) -> list[tuple[str, tuple[int, float]]]:
    address = _place(address)
    known = [(f"n:{name[:200]}", NAME)]
    return [*known, (f"p:{name[:200]} {address}", PAIR), (f"a:{address}", ADDRESS)] if address else known
