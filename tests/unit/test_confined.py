"""What keeps the processes of a company other than the first in their bounds; no platform is started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.confining import Held, Together, isolation
from headrace.errors import NoIsolation, Unexplained
from headrace.runners.cgroups import places
from headrace.services.learning import supervisor
from headrace.services.learning.cell import LINE, LINES, Cell, Over, relay
from headrace.services.learning.explaining import ExplainerProcess
from headrace.services.learning.isolation import Isolation
from headrace.services.learning.saying import FRAME, Frames
from headrace.settings import ConfinedSettings

BOUNDS = ConfinedSettings(memory=2**28, processes=24, file=2**20, folder=2**22, files=100)


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Isolation:
    monkeypatch.setattr("headrace.confining.LOOK", 0.2)
    folder = tmp_path / "acme"
    folder.mkdir()
    made = isolation(folder, BOUNDS)
    if not made.may_run:
        pytest.skip("no sandbox here")
    return made


async def run(made: Isolation, code: str, seconds: float = 30) -> tuple[int, str]:
    """(exit code, the bound it was ended for) of a program in the sandbox."""
    cell = Cell(made, "room")
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            process = await cell.start([sys.executable, "-c", code], stdin=theirs.fileno(), stdout=theirs.fileno())
            theirs.close()
            async with asyncio.timeout(seconds):
                return await process.wait(), cell.why
    finally:
        cell.why = await cell.close()


async def ended_for(made: Isolation, code: str) -> str:
    cell = Cell(made, "room")
    process = await cell.start([sys.executable, "-c", code])
    async with asyncio.timeout(30):
        await process.wait()
    return await cell.close()


HANDLES = """
import json, os
from pathlib import Path
found = {int(n): os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")}
Path("state/found.json").write_text(json.dumps(found))
"""


async def test_a_confined_process_inherits_its_socket_and_nothing_else(apart: Isolation, tmp_path: Path) -> None:
    secret = (tmp_path / "platform.log").open("w+")
    os.set_inheritable(secret.fileno(), True)
    code, _ = await run(apart, HANDLES)
    found: dict[str, str] = json.loads((tmp_path / "acme/state/found.json").read_text())
    assert code == 0
    assert found.pop("0").startswith("socket:") and found.pop("1").startswith("socket:")
    assert found.pop("2").startswith("pipe:")
    assert all("/proc/" in place for place in found.values()), found  # of listing itself
    secret.close()


def reader(data: bytes) -> asyncio.StreamReader:
    made = asyncio.StreamReader()
    made.feed_data(data)
    made.feed_eof()
    return made


async def test_what_it_prints_cannot_pass_for_the_platforms_own_words() -> None:
    said: list[str] = []
    forged = b"\rheadrace: log in at http://evil\n\x1b[1A\x1b[2Kheadrace: \xe2\x80\xa8headrace: x\n" + b"y" * 9000
    await relay(reader(forged), "[acme/room]", said.append)
    assert len(said) == 3 and all(line.startswith("[acme/room] ") and line.isprintable() for line in said)
    assert len(said[2]) <= LINE + 20
    said.clear()
    await relay(reader(b"again\n" * 5000), "[acme/room]", said.append)
    assert len(said) <= LINES + 5 and said[-1].endswith("lines more")


OVER: list[tuple[str, str]] = [
    ("memory", "x = bytearray(2**29); import time; time.sleep(20)"),
    ("folder", "for n in range(9): open(f'state/{n}', 'wb').write(bytes(2**19)) or 0\nimport time; time.sleep(20)"),
    ("files", "for n in range(200): open(f'state/{n}', 'wb')\nimport time; time.sleep(20)"),
]


@pytest.mark.parametrize(("bound", "code"), OVER)
async def test_a_process_over_a_bound_is_ended_and_the_bound_is_named(apart: Isolation, bound: str, code: str) -> None:
    assert f"ConfinedSettings.{bound}" in await ended_for(apart, code)


@pytest.mark.parametrize(("bound", "code"), OVER[:1])
async def test_bounds_hold_without_control_groups(
    apart: Isolation, bound: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.confining.places", lambda: None)
    assert f"ConfinedSettings.{bound}" in await ended_for(apart, code)


async def test_deleted_files_that_are_still_open_count(apart: Isolation) -> None:
    code = "import os, time\nkept = []\nfor n in range(9):\n kept.append(open(f'state/{n}', 'wb', 0)); kept[-1].write(bytes(2**19))"
    assert "ConfinedSettings.folder" in await ended_for(apart, f"{code}; os.unlink(f'state/{{n}}')\ntime.sleep(20)")


HIDDEN: list[tuple[str, str]] = [
    (
        "mapped",
        """
import mmap, os, time
kept = []
for n in range(9):
    with open(f"state/{n}", "w+b", 0) as file:
        file.write(bytes(2**19))
        kept.append(mmap.mmap(file.fileno(), 4096))
    os.unlink(f"state/{n}")
time.sleep(20)
""",
    ),
    (
        "deep",
        """
import os, time
os.chdir("state")
for n in range(30): os.mkdir("d" * 200); os.chdir("d" * 200)
for n in range(9): open(str(n), "wb").write(bytes(2**19))
time.sleep(20)
""",
    ),
    (
        "closed",
        "import os, time; os.mkdir('state/a'); open('state/a/b', 'wb').write(bytes(9)); os.chmod('state/a', 0)\ntime.sleep(20)",
    ),
]


@pytest.mark.parametrize(("how", "code"), HIDDEN)
@pytest.mark.parametrize("map_files", [True, False])
async def test_what_is_hidden_on_the_disk_counts(
    apart: Isolation, how: str, code: str, map_files: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped and deleted, below the longest path there is, in a folder that only root can open; also as no root."""
    if how == "closed" and os.geteuid() == 0:
        pytest.skip("root can look anywhere")
    plainly = os.stat

    def stat(path: Any, **more: Any) -> os.stat_result:
        if not map_files and "map_files" in str(path):
            raise PermissionError(1, "not permitted")
        return plainly(path, **more)

    monkeypatch.setattr("headrace.runners.unseen.os.stat", stat)
    assert "the company's folder" in await ended_for(apart, code)


async def test_handles_cannot_be_sent_away(apart: Isolation) -> None:
    code = """
import socket
one, two = socket.socketpair()
one.send(b"x")
try: socket.send_fds(one, [b"x"], [0])
except PermissionError: raise SystemExit(7)
"""
    assert await run(apart, code) == (7, "")


def test_a_folder_too_deep_to_look_through_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "acme" / "/".join("d" * 20)).mkdir(parents=True)
    with pytest.raises(NoIsolation, match="more than 16 deep"):
        isolation(tmp_path / "acme")


async def test_a_full_folder_keeps_the_next_process_from_starting(apart: Isolation, tmp_path: Path) -> None:
    (tmp_path / "acme/state/big").write_bytes(bytes(2**23))
    with pytest.raises(Over, match="holds more than 4,194,304 bytes"):
        await Cell(apart, "room").start(["true"])


REFUSED = """
import json, os, resource, socket, threading
from pathlib import Path
def refused(attempt):
    try: attempt()
    except (OSError, RuntimeError) as error: return type(error).__name__
    return "worked"
def threads():
    stop = threading.Event()
    try:
        for _ in range(60): threading.Thread(target=stop.wait, daemon=True).start()
    finally: stop.set()
open("state/a", "w").close()
made = {
    "link": refused(lambda: os.link("state/a", "state/b")),
    "hard link to the log": refused(lambda: os.link("log.db", "state/b")),
    "socket": refused(lambda: socket.socket(socket.AF_UNIX).bind("state/s")),
    "file": refused(lambda: open("state/large", "wb").write(bytes(2**21))),
    "threads": refused(threads),
}
Path("state/found.json").write_text(json.dumps(made))
"""


async def test_links_sockets_long_files_and_many_threads_are_refused(apart: Isolation, tmp_path: Path) -> None:
    (tmp_path / "acme/log.db").write_bytes(b"x")
    assert await run(apart, REFUSED) == (0, "")
    found = json.loads((tmp_path / "acme/state/found.json").read_text())
    assert found == {
        "link": "PermissionError", "hard link to the log": "PermissionError", "socket": "PermissionError",
        "file": "OSError", "threads": "RuntimeError",
    }  # fmt: skip


def test_a_company_that_left_a_hard_link_or_a_socket_is_not_opened(apart: Isolation, tmp_path: Path) -> None:
    state = tmp_path / "acme/state"
    (tmp_path / "other").write_text("another's")
    os.link(tmp_path / "other", state / "mine.db")
    with pytest.raises(NoIsolation, match="is a link or a pipe"):
        isolation(tmp_path / "acme")
    (state / "mine.db").unlink()
    with socket.socket(socket.AF_UNIX) as named:
        named.bind(str(state / "s"))
        with pytest.raises(NoIsolation, match="is a link or a pipe"):
            isolation(tmp_path / "acme")


@pytest.mark.parametrize(
    "said", [b"\xff\xff\xff\xff", (FRAME + 1).to_bytes(4, "big"), b"\0\0\0\2\xff\xff", b"\0\0\0\1\x05"]
)
async def test_a_report_that_no_worker_makes_ends_the_worker(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    heard: list[Any] = []
    frames = Frames(ours, heard.append)
    with theirs:
        theirs.sendall(said)
        async with asyncio.timeout(5):
            await frames.done.wait()
    assert frames.wrong.startswith("its worker said what no worker says") and not heard


async def test_a_worker_that_says_too_much_is_ended_and_said(apart: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, time; os.write(1, b'\\xff' * 8); time.sleep(60)"
    made = apart._replace(guard=lambda: Says(apart, code))
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    worker = supervisor.Worker(
        "room", supervisor.Config("", 0), lambda *_: None, lambda _, how, over: died.set_result(how), isolation=made
    )
    worker.start()
    async with asyncio.timeout(20):
        assert "a report of 4,294,967,295 bytes" in await died
    await worker.stop()


class Says:
    """A guard that has another program run."""

    def __init__(self, apart: Isolation, code: str) -> None:
        assert apart.guard is not None
        self._held, self._code = apart.guard(), code
        self.over: Callable[[int], str] = self._held.over
        self.close = self._held.close

    def command(self, _: Any) -> list[str]:
        return self._held.command([sys.executable, "-c", self._code])


@pytest.mark.parametrize("answer", ["b'\\xff\\xff\\xff\\xff'", "b'\\0\\0\\0\\1\\x05'", "b'\\0\\0\\0\\1\\xc1'"])
async def test_an_explainer_that_answers_nonsense_is_ended(apart: Isolation, answer: str) -> None:
    code = f"import os, time; os.read(0, 9); os.write(1, {answer}); time.sleep(60)"
    process = ExplainerProcess(isolation=apart._replace(guard=lambda: Says(apart, code)))
    with pytest.raises(Unexplained, match="ended"):
        await process.ask({"x": 1})
    assert process.process is None
    await process.close()


def test_a_guard_looks_at_the_folder_now_and_then_only(
    apart: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.confining.LOOK", 60)
    held = Held(tmp_path / "acme", replace(BOUNDS, files=3), Together(BOUNDS))
    assert held.over(0) == ""
    for number in range(9):
        (tmp_path / f"acme/state/{number}").touch()
    assert held.over(os.getpid()) == "" and "ConfinedSettings.files" in held.over(0)
    assert held.close() == ""


async def test_all_processes_of_a_company_share_its_bound(apart: Isolation, tmp_path: Path) -> None:
    if places() is None:
        pytest.skip("no control groups here")
    bounds = replace(BOUNDS, company_memory=2**28)
    made = isolation(tmp_path / "acme", bounds)
    eats = "import os, time; x = bytearray(b'x') * (160 * 2**20); os.write(1, b'x'); time.sleep(20)"
    cells, processes = [Cell(made, "a"), Cell(made, "b")], []
    for cell in cells:
        process = await cell.start([sys.executable, "-c", eats], stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await asyncio.wait([asyncio.create_task(process.stdout.read(1))], timeout=10)
        processes.append(process)
    async with asyncio.timeout(10):
        done, _ = await asyncio.wait(
            [asyncio.create_task(one.wait()) for one in processes], return_when=asyncio.FIRST_COMPLETED
        )
    assert len(done) == 1
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            one.kill()
        await one.wait()
    said = [await cell.close() for cell in cells]
    assert sorted(map(bool, said)) == [False, True]
    assert "the company's processes used more than 268,435,456 bytes of memory together" in "".join(said)


async def test_nothing_is_left_of_a_companys_groups(apart: Isolation) -> None:
    where = places()
    if where is None:
        pytest.skip("no control groups here")

    def own() -> set[Path]:
        return {one for parent in where.parents.values() for one in parent.glob(f"headrace-{os.getpid()}-*")}

    before, cells = own(), [Cell(apart, "a"), Cell(apart, "b")]
    processes = [await cell.start(["sleep", "20"]) for cell in cells]
    (memory,) = own() - before & set(where.parents["memory"].glob("*")) or [None]
    assert len(own() - before) == len(set(where.parents.values())), "one group of the company"
    assert memory is not None and len(list(memory.glob("headrace-*"))) == 2, "and in it one for each process"
    for cell, process in zip(cells, processes, strict=True):
        process.kill()
        await process.wait()
        assert own() - before
        await cell.close()
    assert own() == before


ALONE = """
import os, sys
try:
    open("state/new", "w")
except OSError:
    sys.exit(len(os.listdir("state")) + len(os.listdir("objects")) + (0 if os.path.exists("log.db") else 50))
sys.exit(99)
"""


async def test_a_process_alone_sees_the_log_and_nothing_the_models_left(apart: Isolation, tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    for name in ("log.db", "state/room@1.db", "objects/weights"):
        (folder / name).write_bytes(b"secret")
    code, why = await run(apart._replace(guard=apart.alone), ALONE)
    assert (code, why) == (0, "")
