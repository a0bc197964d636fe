"""What the door asks of whoever knows companies and their devices."""

from __future__ import annotations

from typing import Protocol

from headrace.access import Principal
from headrace.services.gateway.mqtt.core import Core
from headrace.services.gateway.mqtt.requests import PREFIXES
from headrace.services.gateway.mqtt.users import Access


class Logins(Protocol):
    """Who may connect, and in which company."""

    def anonymous(self) -> bool:
        """Whether clients that do not log in are let in to the first company."""
        ...

    async def login(self, name: str, password: bytes, address: str) -> tuple[Core, Access] | None:
        """The company's core and what the client may do there; None: nobody we know.

        Args:
            name: ``company/device``, or a name in the first company; "" if only a token was sent.
            password: the device's password, or a token.
            address: of the client, "" if it is not known; who guesses from there has to wait.

        Raises HeadraceError: not now.
        """
        ...

    async def still(self, access: Access, now: float) -> bool:
        """Whether one who logged in may stay.

        Args:
            now: seconds since the epoch.
        """
        ...


def access_of(who: Principal) -> Access:
    """What a principal may do over MQTT: publish and subscribe inside his topics, ask for predictions, read his answers.

    >>> pump = access_of(Principal("acme", "pump-7", "device", frozenset({"device"}), topics=("plant/#",)))
    >>> pump.may_publish("plant/a", "c"), pump.may_publish("other", "c"), pump.may_publish("headrace/predict/m", "c")
    (True, False, True)
    >>> pump.may_subscribe("#", "c"), pump.may_subscribe("headrace/predict/+/response/c", "c")
    (False, True)
    """
    asks = [f"{prefix}+" for prefix in PREFIXES] if who.may("predict") else []
    answers = [f"{prefix}+/response/%c" for prefix in PREFIXES] if who.may("predict") else []
    publish = list(who.topics) if who.may("ingest") else []
    subscribe = list(who.topics) if who.may("ingest") or who.may("read") else []
    return Access(f"{who.company}/{who.subject}", publish + asks, subscribe + answers, who)
