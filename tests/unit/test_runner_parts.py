"""Parts of the runners by themselves: the log's size, what is collected, groups, the fingerprint, the unsafe runner."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.assets import Environment, Limits
from headrace.errors import WrongEnvironment
from headrace.runners import Task, cgroups
from headrace.runners.collect import collect, gather, said, take
from headrace.runners.environment import compare, fingerprint
from headrace.runners.logs import ROOM, CappedLog
from headrace.runners.python import closure
from headrace.runners.seccomp import refusing
from headrace.runners.unsafe import UnsafeRunner
from headrace.runners.watch import tree, usage


@given(st.lists(st.binary(max_size=60), max_size=40), st.integers(1, 600))
def test_a_log_never_outgrows_its_size_and_loses_the_middle_only(pieces: list[bytes], size: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with CappedLog(path, size) as log:
            for piece in pieces:
                log.add(piece)
        whole, kept = b"".join(pieces), path.read_bytes()
    assert len(kept) <= size
    if len(whole) <= size - ROOM:
        assert kept == whole
    elif size > ROOM + 2:
        head, _, rest = kept.partition(b"\n[... ")
        count, _, tail = rest.partition(b" bytes left out ...]\n")
        assert whole.startswith(head) and whole.endswith(tail) and len(head) + int(count) + len(tail) == len(whole)


@pytest.mark.parametrize("collect", [collect, take])
def test_collected_files_are_ours_and_plain(collect: Callable[[Path, Limits, Path], list[str]], tmp_path: Path) -> None:
    output, into = tmp_path / "output", tmp_path / "into"
    (output / "deep").mkdir(parents=True)
    into.mkdir()
    (output / "deep" / "weights.bin").write_bytes(b"w" * 5000)
    (output / "deep" / "weights.bin").chmod(0o4700)
    (tmp_path / "secret").write_text("secret")
    (output / "secret").symlink_to(tmp_path / "secret")
    (output / "up").symlink_to(tmp_path, target_is_directory=True)
    os.link(tmp_path / "secret", output / "hard")
    os.mkfifo(output / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(output / "socket"))
        left = collect(output, Limits.model_validate({}), into)
    assert [str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()] == ["deep/weights.bin"]
    assert not stat.S_IMODE((into / "deep" / "weights.bin").stat().st_mode) & stat.S_ISUID
    assert left == [
        "'hard': a hard link: the file has other names",
        "'pipe': a named pipe",
        "'secret': a symbolic link",
        "'socket': a socket",
        "'up': a symbolic link",
    ]


@pytest.mark.parametrize(
    ("limits", "word"), [({"output_files": 3}, "more than 3 files"), ({"output_bytes": 999}, "more than 999 bytes")]
)
@pytest.mark.parametrize("collect", [collect, take])
def test_too_much_to_collect(
    collect: Callable[[Path, Limits, Path], list[str]], limits: dict[str, int], word: str, tmp_path: Path
) -> None:
    output, into = tmp_path / "output", tmp_path / "into"
    output.mkdir()
    into.mkdir()
    for number in range(4):
        (output / str(number)).write_bytes(bytes(250))
    with pytest.raises(ValueError, match=word):
        collect(output, Limits.model_validate(limits), into)


def test_taking_makes_no_second_copy(tmp_path: Path) -> None:
    output, into = tmp_path / "output", tmp_path / "into"
    (output / "a").mkdir(parents=True)
    into.mkdir()
    (output / "a" / "w").write_bytes(b"weights")
    number = (output / "a" / "w").stat().st_ino
    assert take(output, Limits.model_validate({}), into) == []
    assert (into / "a" / "w").stat().st_ino == number and not (output / "a" / "w").exists()


def test_what_to_do_about_a_limit_names_field_and_option() -> None:
    limits = Limits.model_validate({"output_bytes": 3 * 2**30, "output_files": 12_000})
    assert said("output", limits) == "it wrote more than 3 GiB of output; raise limits.output_bytes (--output-mb)"
    assert "12,000 files in its output; raise limits.output_files (--output-files)" in said("files", limits)


def test_a_great_many_things_left_out_are_not_all_told(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / str(number)).symlink_to("/")
    handle = os.open(tmp_path, os.O_RDONLY)
    found = gather(handle, Limits.model_validate({}), tmp_path)
    os.close(handle)
    assert len(found.left_out) == 101 and found.left_out[-1] == "and more" and not found.files


def test_digests_while_copying(tmp_path: Path) -> None:
    output, into = tmp_path / "output", tmp_path / "into"
    output.mkdir()
    into.mkdir()
    (output / "a").write_bytes(b"abc")
    handle = os.open(output, os.O_RDONLY)
    found = gather(handle, Limits.model_validate({}), into)
    os.close(handle)
    # FIPS 180-2, appendix B.1
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert [(file.path, file.size, file.sha256) for file in found.files] == [("a", 3, expected)]


def test_every_link_on_the_way_is_known(tmp_path: Path) -> None:
    real = tmp_path / "real" / "bin"
    real.mkdir(parents=True)
    (real / "python").write_text("")
    (tmp_path / "current").symlink_to("real")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "python").symlink_to(tmp_path / "current" / "bin" / "python")
    seen = closure([str(tmp_path / "venv" / "python"), str(tmp_path / "current")])
    assert seen.places == [str(tmp_path / "real")]
    assert dict(seen.links)[str(tmp_path / "current")] == "real"
    assert dict(seen.links)[str(tmp_path / "venv" / "python")] == str(tmp_path / "current" / "bin" / "python")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="too many"):
        closure([str(tmp_path / "loop")])


def test_the_watchdog_adds_up_a_tree() -> None:
    assert os.getpid() in list(tree(os.getpid()))
    memory, count = usage(os.getpid(), 2**62)
    shared, _ = usage(os.getpid(), 0)
    assert memory > 10**7 and 0 < shared <= memory and count >= 1
    assert usage(2**22 + 1, 0) == (0, 0)


def test_groups_of_killed_platforms_are_swept(tmp_path: Path) -> None:
    dead, alive, other = (tmp_path / name for name in ("headrace-4194305-aa", f"headrace-{os.getpid()}-bb", "other"))
    for folder in (dead, dead / "headrace-4194305-cc", alive, other):
        folder.mkdir()
    cgroups._sweep(tmp_path)
    assert not dead.exists() and alive.exists() and other.exists()


def test_groups_of_version_two_are_looked_for_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd delegates: our own group may not have children with limits, the slice above may."""
    own = tmp_path / "app.slice" / "own.scope"
    own.mkdir(parents=True)
    (tmp_path / "app.slice" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (own / "cgroup.subtree_control").write_text("\n")
    monkeypatch.setattr(cgroups, "_usable", lambda folder: True)
    found = cgroups._second({"": tmp_path}, {"": "/app.slice/own.scope"})
    assert (
        found is not None
        and found.version == 2
        and found.parents == dict.fromkeys(("memory", "pids", "cpu"), tmp_path / "app.slice")
    )
    group = cgroups.Group(found, Limits.model_validate({"memory_bytes": 2**27, "processes": 7, "cpus": 0.5}))
    folder = Path(group.joining()[0]).parent
    assert len(group.joining()) == 1 and folder.parent == tmp_path / "app.slice"
    assert (folder / "memory.max").read_text() == str(2**27) and (folder / "pids.max").read_text() == "9"
    assert (folder / "cpu.max").read_text() == "50000 100000" and not group.over_memory() and group.peak() is None
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    (folder / "memory.peak").write_text("123\n")
    assert group.over_memory() and group.peak() == 123
    inner = cgroups.Group(group.within(), Limits.model_validate({"memory_bytes": 2**26}))
    assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert Path(inner.joining()[0]).parent.parent == folder
    assert cgroups._second({"": tmp_path}, {"": "/elsewhere"}) is None


def test_the_filter_knows_two_kinds_of_processor() -> None:
    for machine in ("x86_64", "aarch64"):
        assert len(refusing(machine)) > 8 * 80


ANSWER = {
    "python": "3.11.7", "implementation": "CPython", "system": "Linux", "machine": "x86_64", "libc": "glibc 2.36",
    "packages": {"numpy": "2.3.0", "scikit-learn": "1.7.0"}, "mkl_cbwr": "", "cpu_capability": "AVX2", "blas": "openblas",
}  # fmt: skip


def test_the_fingerprint_tells_environments_apart() -> None:
    def one(code: str) -> bytes:
        return b"a warning\n" + json.dumps(ANSWER).encode() + b"\n"

    def other(code: str) -> bytes:
        return json.dumps({**ANSWER, "cpu_capability": "AVX512"}).encode()

    digests = {fingerprint(threads, ask)["digest"] for threads in (1, 2) for ask in (one, other)}
    assert len(digests) == 4
    compare(Environment.model_validate({"requires": {"Scikit_Learn": "1.7.0", "python": "3.11.7"}}), one)
    compare(Environment.model_validate({"fingerprint": fingerprint(2, one)["digest"]}), one)
    wrong = {"requires": {"numpy": "1.26.4", "torch": "2.13.0"}, "fingerprint": fingerprint(1, other)["digest"]}
    with pytest.raises(WrongEnvironment) as caught:
        compare(Environment.model_validate(wrong), one)
    for word in (
        "numpy 1.26.4 is asked for, it has 2.3.0",
        "torch 2.13.0 is asked for, it is not installed",
        "fingerprint",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"packages": {"a": 1}}'])
def test_an_environment_that_answers_nonsense(answer: bytes) -> None:
    with pytest.raises(WrongEnvironment, match="does not say"):
        fingerprint(1, lambda code: answer)


async def test_the_unsafe_runner(tmp_path: Path) -> None:
    """It isolates nothing, but keeps time, the log's size and what is where."""
    output, data = tmp_path / "output", tmp_path / "data.csv"
    output.mkdir()
    data.write_text("a\n1\n")
    program = "import os; open(os.environ['OUT'] + '/copy', 'w').write(open(os.environ['DATA'].split(':')[1]).read()); print('x' * 10**5)"
    limits, environment = Limits.model_validate({"seconds": 1, "log_bytes": 1000}), Environment.model_validate({})
    variables = {"OUT": "/work/output", "DATA": "/work/none:/work/data/0/data.csv"}
    inputs = {"/work/data/0/data.csv": data}
    runner = UnsafeRunner()
    ended = await runner.run(
        Task(["python", "-c", program], inputs, output, tmp_path / "log", limits, environment, variables),
        asyncio.Event(),
    )
    assert (ended.how, ended.code) == ("exit", 0) and (output / "copy").read_text() == "a\n1\n"
    assert (tmp_path / "log").stat().st_size <= 1000
    endless = Task(["python", "-c", "while True: pass"], {}, output, tmp_path / "log", limits, environment)
    assert (await runner.run(endless, asyncio.Event())).how == "time"
    assert runner.describe(environment, limits)["isolation"] == "none"
