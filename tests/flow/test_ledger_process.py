"""The embedded ledger's process: started when needed, killed at any moment, on a full disk, and gone when the platform is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headrace.errors import CorruptState, DirectoryInUse, MissingExtra, StorageUnavailable, Temporary
from headrace.trust import evidence
from headrace.trust.evm import __main__ as server
from headrace.trust.evm.book import rebuild
from headrace.trust.evm.lock import hold
from headrace.trust.evm.wire import Request
from headrace.trust.keyring import KEY, VARIABLE, Keyring
from headrace.trust.ledgers import Anchor, Deploy, Receipt
from headrace.trust.ledgers import embedded as module
from headrace.trust.ledgers.embedded import EmbeddedLedger


def made(path: Path, master: Path | None = None) -> EmbeddedLedger:
    return EmbeddedLedger(path / "ledger", path / "keys", master)


def killed(ledger: EmbeddedLedger) -> None:
    assert ledger.process is not None
    os.kill(ledger.process, signal.SIGKILL)


async def test_nothing_is_started_before_it_is_needed(tmp_path: Path) -> None:
    async with made(tmp_path) as ledger:
        assert ledger.process is None
        assert not (tmp_path / "ledger").exists()
        await ledger.account("acme")
        number = ledger.process
        assert number is not None and psutil.pid_exists(number)
    assert not psutil.pid_exists(number)
    with pytest.raises(Temporary, match="closed"):
        await ledger.status()


async def test_callers_at_once_start_one_process(tmp_path: Path) -> None:
    async with made(tmp_path) as ledger:
        accounts = await asyncio.gather(*(ledger.account("acme") for _ in range(10)))
        assert len(set(accounts)) == 1
        lines = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]  # of others beside it, too
        assert len([line for line in lines if "headrace.trust.evm" in line and str(tmp_path) in " ".join(line)]) == 1


def test_the_platform_imports_no_chain() -> None:
    code = "import sys, headrace.trust.ledgers.embedded\nprint([n for n in sys.modules if n.split('.')[0] in "
    code += "('eth', 'eth_account', 'rlp', 'coincurve', 'eth_hash')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_without_its_libraries_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEEDED", ("no_such_library",))
    with pytest.raises(MissingExtra, match=r"headrace\[chain\]"):
        async with made(tmp_path):
            pass


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.chaos)])
async def test_killed_again_and_again_nothing_is_lost_or_done_twice(kills: int, tmp_path: Path) -> None:
    """A company records; its ledger's process is killed at any moment; each receipt that was given out is true."""
    rounds = 4 * kills
    given: list[Receipt] = []
    stop = asyncio.Event()

    async def record(ledger: EmbeddedLedger) -> None:
        for index in range(rounds):
            acts = [Deploy("model", b"%d/%d" % (index, at)) for at in range(2)]
            while True:
                try:
                    given.extend(await ledger.submit("acme", acts))
                    break
                except Temporary:
                    continue
        stop.set()

    async def kill(ledger: EmbeddedLedger) -> int:
        count = 0
        while not stop.is_set() and count < kills:
            with contextlib.suppress(Temporary):
                await ledger.status()
            await asyncio.sleep(count * 0.017 % 0.06)  # somewhere in a block, or between two
            if ledger.process is not None:
                killed(ledger)
                count += 1
        return count

    async with made(tmp_path) as ledger:
        _, count = await asyncio.gather(record(ledger), kill(ledger))
        assert count >= 2
        assert len({receipt.contract for receipt in given}) == len(given) == 2 * rounds
        for index, receipt in enumerate(given):
            found = await ledger.read(receipt.contract)
            assert (found.claim, found.deployed) == (b"%d/%d" % divmod(index, 2), receipt)
        status = await ledger.status()
        assert status.height == 1 + rounds  # the contract of the anchors, and one block a call
        facts = evidence.check(await ledger.evidence(given[-1].transaction), [status.operator])
        assert facts.size == 1 + 2 * rounds
    async with made(tmp_path) as again:
        assert await again.status() == status


async def test_an_answer_that_was_on_its_way_comes_again(tmp_path: Path) -> None:
    async with made(tmp_path) as ledger:
        [first] = await ledger.submit("acme", [Deploy("model", b"x")])
        pid = ledger.process
        asking = asyncio.gather(*(ledger.submit("acme", [Deploy("model", b"x")]) for _ in range(3)))
        await asyncio.sleep(0)
        killed(ledger)
        assert await asking == [[first]] * 3
        assert ledger.process not in {None, pid}


async def test_a_process_that_dies_of_every_question_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys, "executable", "/bin/false")
    async with made(tmp_path) as ledger:
        with pytest.raises(Temporary, match="ended before it answered"):
            await ledger.status()
        monkeypatch.setattr(module.sys, "executable", str(tmp_path / "nothing"))
        with pytest.raises(Temporary, match="cannot be started"):
            await ledger.status()


async def test_a_ledger_that_does_not_answer_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with made(tmp_path) as ledger:
        await ledger.status()
        assert ledger.process is not None
        monkeypatch.setattr(module, "PATIENCE", 0.1)
        os.kill(ledger.process, signal.SIGSTOP)
        with pytest.raises(Temporary, match="has not answered"):
            await ledger.submit("acme", [Deploy("model", b"x")])
        os.kill(ledger.process, signal.SIGCONT)
        monkeypatch.undo()
        height = (await ledger.status()).height
        await ledger.submit("acme", [Deploy("model", b"x")])
        assert (await ledger.status()).height == height == 2


async def test_a_caller_who_goes_leaves_the_others_alone(tmp_path: Path) -> None:
    async with made(tmp_path) as ledger:
        await ledger.status()
        gone = asyncio.create_task(ledger.submit("acme", [Deploy("model", b"gone")]))
        await asyncio.sleep(0)
        gone.cancel()
        [other] = await ledger.submit("acme", [Deploy("model", b"other")])
        assert (await ledger.read(other.contract)).claim == b"other"
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_a_full_disk_is_said_and_nothing_is_recorded(tmp_path: Path) -> None:
    """The process may write no file longer than its log is now, as on a full disk; then there is room again."""
    async with made(tmp_path) as ledger:
        [first] = await ledger.submit("acme", [Deploy("model", b"first")])
        before = await ledger.status()
        assert ledger.process is not None
        resource.prlimit(ledger.process, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="Nothing was stored"):
                await ledger.submit("acme", [Deploy("model", b"x" * 100_000)])
        resource.prlimit(ledger.process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert await ledger.status() == before
        [made_] = await ledger.submit("acme", [Deploy("model", b"x" * 100_000)])
        assert await ledger.submit("acme", [Deploy("model", b"first")]) == [first]
        killed(ledger)
        assert (await ledger.read(made_.contract)).claim == b"x" * 100_000


async def test_one_process_at_a_time_has_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with made(tmp_path) as ledger:
        before = await ledger.status()
        with pytest.raises(DirectoryInUse, match=f"pid {ledger.process}"):
            hold(tmp_path / "ledger", 0.1)
        with pytest.raises(DirectoryInUse):
            rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys"))
        monkeypatch.setattr(server, "hold", lambda folder: hold(folder, 0.1))
        asked = server.Server(tmp_path / "ledger", tmp_path / "keys").answer(Request(1, "status"))
        assert asked.error == "Temporary" and "has the ledger" in str(asked.failure())
    assert rebuild(tmp_path / "ledger", Keyring(tmp_path / "keys")) == before


async def test_it_ends_when_its_platform_is_killed(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from headrace.trust.ledgers.embedded import EmbeddedLedger\n"
        "async def main():\n"
        "    async with EmbeddedLedger(Path(sys.argv[1]) / 'ledger', Path(sys.argv[1]) / 'keys') as ledger:\n"
        "        await ledger.status()\n"
        "        print(ledger.process, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    platform = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with platform:
        assert platform.stdout is not None
        child = psutil.Process(int(platform.stdout.readline()))
        platform.kill()
    assert await asyncio.to_thread(_ends, child)
    async with made(tmp_path) as ledger:
        assert (await ledger.status()).height == 1


def _ends(process: psutil.Process) -> bool:
    try:
        process.wait(10)
    except psutil.NoSuchProcess:
        return True
    return not process.is_running()


def _texts(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def test_keys_are_nowhere_to_be_seen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    master = tmp_path / "elsewhere"
    master.write_bytes(os.urandom(KEY))
    async with made(tmp_path, master) as ledger:
        await ledger.submit("acme", [Deploy("model", b"x"), Anchor(bytes(32), 1)])
        assert ledger.process is not None
        process = psutil.Process(ledger.process)
        shown = " ".join([*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())])
        assert process.environ()[VARIABLE] == str(master)
    ring = Keyring(tmp_path / "keys", master)
    keys = [ring.secret("acme", "account"), ring.secret("(operator)", "operator"), ring.secret("(operator)", "account")]
    out, err = capfd.readouterr()
    for key in [*keys, master.read_bytes()]:
        for text in _texts(tmp_path / "ledger"):
            assert key not in text and key.hex().encode() not in text.lower()
        assert key.hex() not in shown.lower() + out + err
    for text in _texts(tmp_path / "keys"):
        assert not any(key in text for key in keys)
    assert stat.S_IMODE((tmp_path / "ledger").stat().st_mode) == 0o700
    async with made(tmp_path) as ledger:
        with pytest.raises(CorruptState, match="master key"):
            await ledger.status()
    async with made(tmp_path, master) as ledger:
        assert (await ledger.status()).height == 2
