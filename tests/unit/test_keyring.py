"""Companies' secrets at rest: the same for ever, of one company and purpose each, and nobody's without the master key."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.errors import CorruptState
from headrace.trust.keyring import KEY, VARIABLE, Keyring


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.key"))


def test_a_secret_is_the_same_for_ever(tmp_path: Path) -> None:
    first = Keyring(tmp_path).secret("acme", "account")
    assert len(first) == KEY
    assert Keyring(tmp_path).secret("acme", "account") == first
    assert (
        len({Keyring(tmp_path).secret(*each) for each in (("acme", "account"), ("acme", "seal"), ("b", "account"))})
        == 3
    )


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    made = iter([b"first", b"second"])
    ring = Keyring(tmp_path)
    assert ring.secret("acme", "operator", lambda: next(made)) == b"first"
    assert ring.secret("acme", "operator", lambda: next(made)) == b"first"
    assert next(made) == b"second"


def test_nothing_of_a_secret_or_its_company_is_on_the_disk(tmp_path: Path) -> None:
    secret = Keyring(tmp_path).secret("acme", "account")
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert secret not in path.read_bytes() and b"acme" not in path.read_bytes() and "acme" not in path.name
    folder = tmp_path / "new"
    Keyring(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_master_key_opens_nothing(tmp_path: Path) -> None:
    Keyring(tmp_path / "a").secret("acme", "account")
    other = tmp_path / "other"
    other.write_bytes(bytes(KEY))
    with pytest.raises(CorruptState, match="master key is another one"):
        Keyring(tmp_path / "a", other).secret("acme", "account")


def test_a_lost_master_key_is_not_made_again(tmp_path: Path) -> None:
    """A new one would look like a start without keys, and every company would get another account."""
    Keyring(tmp_path).secret("acme", "account")
    (tmp_path / "master").unlink()
    with pytest.raises(CorruptState, match="is gone"):
        Keyring(tmp_path)
    assert not (tmp_path / "master").exists()


@pytest.mark.parametrize("size", [0, KEY - 1, KEY + 1])
def test_a_file_that_is_no_master_key_is_refused(size: int, tmp_path: Path) -> None:
    (tmp_path / "master").write_bytes(bytes(size))
    with pytest.raises(CorruptState, match="no master key"):
        Keyring(tmp_path)


def test_every_byte_of_a_secrets_file_counts(tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    secret = ring.secret("acme", "account")
    [path] = files(tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CorruptState, match="account key of 'acme'"):
            ring.secret("acme", "account")
    for cut in (b"", data[:5], data[:-1]):
        path.write_bytes(cut)
        with pytest.raises(CorruptState):
            ring.secret("acme", "account")
    path.write_bytes(data)
    assert ring.secret("acme", "account") == secret


@pytest.mark.parametrize("other", [("other", "account"), ("acme", "signing")])
def test_no_file_can_stand_in_for_another(other: tuple[str, str], tmp_path: Path) -> None:
    ring = Keyring(tmp_path)
    ring.secret("acme", "account")
    [mine] = files(tmp_path)
    ring.secret(*other)  # type: ignore[arg-type]
    [theirs] = set(files(tmp_path)) - {mine}
    theirs.write_bytes(mine.read_bytes())
    with pytest.raises(CorruptState):
        ring.secret(*other)  # type: ignore[arg-type]


def test_the_master_key_can_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "safe").write_bytes(os.urandom(KEY))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "safe"))
    secret = Keyring(tmp_path / "keys").secret("acme", "account")
    assert [path.suffix for path in (tmp_path / "keys").iterdir()] == [".key"]
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(CorruptState, match="is gone"):
        Keyring(tmp_path / "keys")
    assert Keyring(tmp_path / "keys", tmp_path / "safe").secret("acme", "account") == secret


def test_threads_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    rings = [Keyring(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda at: rings[at % 4].secret("acme", "account"), range(32)))
    assert len(found) == 1


ASK = """
import sys
from pathlib import Path
from headrace.trust.keyring import Keyring
print("ready", flush=True)
sys.stdin.read(1)
ring = Keyring(Path(sys.argv[1]))
print(*(ring.secret(company, "account").hex() for company in ("a", "b", "c")))
"""


def test_processes_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    """Also for the master key, which the first of them makes."""
    command = [sys.executable, "-c", ASK, str(tmp_path / "keys")]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for each in running:
        assert each.stdout and each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin
        each.stdin.write("x")
        each.stdin.flush()
    answers = {each.communicate()[0] for each in running}
    assert [each.returncode for each in running] == [0, 0, 0]
    assert len(answers) == 1
