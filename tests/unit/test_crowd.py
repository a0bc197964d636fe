"""Strangers make room for each other; addresses count, proxies do not."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.commands.platform import Up
from headrace.crowd import Crowd, places, raise_handles


def test_the_oldest_silent_one_of_the_fullest_address_goes_first() -> None:
    crowd: Crowd[str] = Crowd()
    for guest, host in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.2"), ("d", "192.0.2.2")):
        crowd.add(guest, host)
    assert crowd.oldest() == "b" and crowd.oldest("a") == "a"
    crowd.heard("b")
    assert crowd.oldest() == "c"
    crowd.hush("b")  # it is silent again, since now
    assert crowd.oldest("d") == "c" and crowd.silent == 4
    for guest in "bcd":
        crowd.remove(guest)
        crowd.remove(guest)
    assert crowd.oldest() == "a" and len(crowd) == crowd.silent == 1
    crowd.heard("a")
    assert crowd.oldest() is None


def test_a_customer_has_one_address_and_a_proxy_many_customers() -> None:
    crowd: Crowd[int] = Crowd(["10.0.0.0/8"])
    hosts = (
        "2001:db8::1",
        "2001:db8::2:3:4",
        "10.1.2.3",
        "10.1.2.3",
        "127.0.0.1",
        "127.0.0.1",
        "::1",
        "::1",
        "unix",
        "unix",
    )
    for guest, host in enumerate(hosts):
        crowd.add(guest, host)
    assert crowd.crowded(1, 1) and crowd.crowded_silently(1, 1)
    assert not any(crowd.crowded(guest, 1) for guest in range(2, 10))


@given(st.lists(st.tuples(st.sampled_from(["add", "hush", "heard", "remove"]), st.integers(0, 5)), max_size=60))
def test_counts_are_right_whatever_happens(steps: list[tuple[str, int]]) -> None:
    crowd: Crowd[int] = Crowd()
    there: dict[int, bool] = {}
    for what, guest in steps:
        if what == "add":
            if guest in there:
                continue
            crowd.add(guest, f"192.0.2.{guest % 2}")
            there[guest] = True
            continue
        getattr(crowd, what)(guest)
        if what == "remove":
            there.pop(guest, None)
        elif guest in there:
            there[guest] = what == "hush"
    assert len(crowd) == len(there) and crowd.silent == sum(there.values())
    assert (crowd.oldest() is None) == (not any(there.values()))
    for guest in list(there):
        crowd.remove(guest)
    assert not crowd._counts and not crowd._silent


def test_proxies_of_the_command_line_are_both_doors() -> None:
    made = Up(proxy=["10.0.0.0/8"]).settings()
    assert made.http.proxies == made.mqtt.proxies == ("10.0.0.0/8",)


def test_handles_are_left_for_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [1024, 4096]

    def set_them(_: int, new: tuple[int, int]) -> None:
        limits[:] = new

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", set_them)
    assert places() == 256
    raise_handles()
    assert limits == [4096, 4096] and places() == 1024
    limits[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    raise_handles()
    assert limits[0] == resource.RLIM_INFINITY and 10_000 < places() < 2**17
