"""Which addresses on the internet may be called for a user: the public ones, whatever form they are written in."""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

_REFUSED = [
    ipaddress.ip_network(network)
    for network in (
        "192.88.99.0/24",  # relays of 6to4, RFC 7526
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b:1::/48",  # NAT64 of a network of one's own, RFC 8215
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
        "fec0::/10",  # site-local, RFC 3879
    )
]
"""Not of the public internet, though Python 3.11 takes them for it."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = {0x00005EFE, 0x02005EFE}
"""The upper half of an interface identifier that holds an IPv4 address, RFC 5214."""


def public(address: str) -> bool:
    """Whether an address is one of the public internet, and so is each IPv4 address that an IPv6 one has inside.

    >>> public("93.184.216.34"), public("127.0.0.1"), public("::ffff:10.0.0.1"), public("169.254.169.254")
    (True, False, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return _global(ip)
    inside = list(_inside(ip))
    passes = ip.ipv4_mapped is not None or ip.sixtofour is not None or ip.teredo is not None or ip in _NAT64
    return all(map(_global, inside)) if inside and passes else _global(ip) and all(map(_global, inside))


def wrong(url: str) -> str:
    """Why an address can never be called, whatever its host is; "" if it may be. The spec has looked at its form.

    >>> wrong("https://example.org/alerts"), wrong("http://example.org/#alerts")
    ('', 'expected an address without a fragment (`#...`): it is never sent')
    """
    import httpx

    try:
        host, written = httpx.URL(url).raw_host.decode("ascii").removesuffix("."), urlsplit(url).hostname or ""
    except (ValueError, httpx.InvalidURL) as error:
        return f"expected an address such as https://example.org/alerts ({error})"
    plain, labels = unicodedata.normalize("NFKC", written), host.split(".")
    found = {
        "expected an address without a fragment (`#...`): it is never sent": "#" in url,
        "expected an address without backslashes and control characters": "\\" in url or not url.isprintable(),
        "expected a host whose digits and dots are plain ones": plain != written
        or any(c == "\u3002" or (c.isdigit() and not c.isascii()) for c in plain),
        "expected a host of at most 253 characters with 1 to 63 between its dots": ":" not in host
        and (len(host) > 253 or "%" in host or not all(0 < len(label) <= 63 for label in labels)),
    }
    return next((message for message, so in found.items() if so), "")


def _global(ip: IPv4Address | IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _REFUSED)


def _inside(ip: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a packet for an IPv6 one may be taken."""
    if ip.ipv4_mapped is not None:
        yield ip.ipv4_mapped
    if ip.sixtofour is not None:
        yield ip.sixtofour
    if ip.teredo is not None:
        yield from ip.teredo
    if ip in _NAT64 or int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(int(ip) & 0xFFFFFFFF)
