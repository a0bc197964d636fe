"""Turns: companies in turn, places bounded, and who goes away leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from headrace.errors import TooMany
from headrace.services.turns import Turns


async def test_companies_take_turns_and_a_line_is_served_in_order() -> None:
    turns, came = Turns(1, 8, "things"), list[str]()

    async def one(company: str, name: str) -> None:
        with turns.place(company):
            async with turns.turn(company):
                came.append(name)
                await asyncio.sleep(0)

    names = ["a1", "a2", "a3", "a4", "b1", "c1", "b2"]
    await asyncio.gather(*(one(name[0], name) for name in names))
    assert came == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert not turns.busy("acme") and not turns._waiting and not turns._places


async def test_a_company_has_so_many_places_and_others_have_theirs() -> None:
    turns = Turns(1, 2, "things")
    with contextlib.ExitStack() as held:
        held.enter_context(turns.place("a"))
        held.enter_context(turns.place("a"))
        with pytest.raises(TooMany, match="2 things are waiting already"), turns.place("a"):
            pass
        held.enter_context(turns.place("b"))
    with turns.place("a"):
        pass


async def test_who_goes_away_while_waiting_or_as_his_turn_comes_holds_nobody_up() -> None:
    turns = Turns(1, 8, "things")
    gate, came = asyncio.Event(), list[str]()

    async def one(name: str) -> None:
        async with turns.turn(name[0]):
            came.append(name)
            await gate.wait()

    tasks = [asyncio.create_task(one(name)) for name in ("a1", "a2", "b1", "a3")]
    await asyncio.sleep(0)
    assert turns.busy("acme")
    tasks[1].cancel()
    await asyncio.sleep(0)
    gate.set()
    while not tasks[0].done():
        await asyncio.sleep(0)
    tasks[2].cancel()  # maybe just as it came
    await asyncio.gather(*tasks, return_exceptions=True)
    assert came[0] == "a1" and came[-1] == "a3" and "a2" not in came
    assert not turns.busy("acme") and not turns._waiting


async def test_a_company_that_may_have_no_more_leaves_the_others_room() -> None:
    turns, came, end = Turns(3, 8, "things", each=2), list[str](), asyncio.Event()

    async def one(company: str, name: str) -> None:
        async with turns.turn(company):
            came.append(name)
            await end.wait()

    tasks = [asyncio.create_task(one("a", f"a{number}")) for number in range(4)]
    await asyncio.sleep(0)
    assert came == ["a0", "a1"] and turns.busy("a") and not turns.busy("b")
    tasks.append(asyncio.create_task(one("b", "b0")))
    await asyncio.sleep(0)
    assert came == ["a0", "a1", "b0"] and turns.busy("b")
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert came[3:] == ["a2"], "its own next one, once it has less"
    tasks[4].cancel()
    await asyncio.sleep(0.01)
    assert came[4:] == [] and not turns.busy("b") and turns.busy("a")
    end.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert came[4:] == ["a3"] and not turns.busy("a") and not turns._having and not turns._waiting


async def test_a_turn_that_came_to_somebody_who_goes_at_that_moment_is_passed_on() -> None:
    turns = Turns(1, 8, "things")

    async def one() -> None:
        async with turns.turn("a"):
            pass

    async with turns.turn("a"):
        gone, stays = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0)
    gone.cancel()  # its turn has come, and it has not run since
    await asyncio.gather(gone, return_exceptions=True)
    await asyncio.wait_for(stays, 1)
    assert gone.cancelled() and not turns.busy("acme")
