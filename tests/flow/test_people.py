"""The command line against a real identity service over HTTP: signing in, companies, people, devices, and signing out."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import Result
from typer.testing import CliRunner

from headrace import credentials
from headrace.cli import app
from headrace.services.entrance import Entrance
from headrace.services.identity.http import create_app
from headrace.services.identity.service import IdentityService
from headrace.trust.identities.local import LocalIdentities
from tests.running import free_port, scrubbed

pytestmark = pytest.mark.xdist_group("people")


class Platform:
    """Identity alone, on a port of its own, in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    async def _serve(self) -> None:
        async with LocalIdentities(self._folder, base=self.url) as ids:
            self.token = ids.install_token
            doors = Entrance(create_app(IdentityService(ids)), ids, ids.sessions)
            options = {"log_level": "error", "lifespan": "off", "access_log": False}
            self._server = uvicorn.Server(uvicorn.Config(doors, host="127.0.0.1", port=self._port, **options))  # type: ignore[arg-type]
            task = asyncio.create_task(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
            self._ready.set()
            await task

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("identity"))
    yield platform
    platform.close()


class Desk:
    """Somebody's computer: a home of his own, where his credentials are. Commands run in this process, for speed."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url

    def env(self, **more: str) -> dict[str, str]:
        return {"HEADRACE_HOME": str(self.home), "HEADRACE_URL": self.url, **more}

    def run(self, *arguments: str, stdin: str = "", **env: str) -> Result:
        cleared = {"HEADRACE_TOKEN": None, **self.env(**env)}
        return CliRunner().invoke(app, arguments, input=stdin, env=cleared)

    def good(self, *arguments: str, stdin: str = "", **env: str) -> str:
        done = self.run(*arguments, stdin=stdin, **env)
        assert done.exit_code == 0, done.output
        return done.stdout

    def bad(self, *arguments: str, stdin: str = "", **env: str) -> str:
        done = self.run(*arguments, stdin=stdin, **env)
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done
        return done.stderr


@pytest.fixture
def owner(platform: Platform, tmp_path: Path) -> Desk:
    """Who started the platform: `headrace up` left its token in his file."""
    desk = Desk(tmp_path / "owner", platform.url)
    desk.home.mkdir()
    kept = {credentials.normal(platform.url): {"token": platform.token}}
    (desk.home / "credentials.json").write_text(json.dumps(kept))
    return desk


def last_word(text: str) -> str:
    return text.strip().rpartition(" ")[2]


def test_a_company_from_its_beginning_to_its_end(owner: Desk, tmp_path: Path) -> None:
    stranger = Desk(tmp_path / "stranger", owner.url)
    assert f"headrace login --url {owner.url}" in stranger.bad("whoami")

    assert "install of local: install" in owner.good("whoami")
    assert "while it is the only company" in owner.run("person", "add", "early").stderr
    first = owner.run("company", "add", "acme", "--admin", "boss", "--json")
    assert "MQTT asks every device for a login" in first.stderr and "--kind device" in first.stderr
    assert owner.run("person", "add", "late").stderr == "", "there is nothing they could apply"
    made = json.loads(first.stdout)
    password = made["admin"]["password"]
    boss = Desk(tmp_path / "boss", owner.url)
    assert "wrong" in boss.bad("login", "--user", "boss", "--company", "acme", stdin="wrong-wrong\n")
    said = boss.good("login", "--user", "boss", "--company", "acme", stdin=password + "\n")
    assert "as boss of acme" in said and password not in said
    assert password not in (boss.home / "credentials.json").read_text()

    boss.good("password", stdin=f"{password}\nmy own password\n")
    assert "headrace login" in boss.bad("whoami")
    boss.good("login", "--user", "acme/boss", stdin="my own password\n")

    secret = last_word(boss.good("person", "add", "pump-7", "--kind", "device", "--topic", "plant/#"))
    assert secret.startswith("hrs_")
    listed = boss.good("person", "list")
    assert "pump-7" in listed and "plant/#" in listed and secret not in listed
    assert "acme" not in owner.good("person", "list")
    assert "operator" in boss.bad("person", "add", "x", "--role", "operator")
    assert "already" in boss.bad("person", "add", "pump-7")
    assert "needs one of the roles operator" in boss.bad("company", "add", "evil")

    form = {"grant_type": "client_credentials", "client_id": "acme/pump-7", "client_secret": secret}
    token = httpx.post(owner.url + credentials.TOKEN_PATH, data=form, trust_env=False).json()["access_token"]
    assert '"kind": "device"' in stranger.good("whoami", "--json", HEADRACE_TOKEN=token)
    assert '"kind": "device"' in stranger.good("--token", token, "whoami", "--json")
    assert last_word(boss.good("person", "password", "pump-7")) != secret
    boss.good("person", "delete", "pump-7")
    assert "does not let you in" in stranger.bad("whoami", HEADRACE_TOKEN=token)

    assert "acme" in owner.good("company", "list")
    assert owner.good("company", "delete", "acme", "--yes") == "acme: deleted\n"
    assert "has ended" in boss.bad("whoami") or "gone" in boss.bad("whoami")


def test_the_page_is_opened_by_a_link_that_works_once(owner: Desk) -> None:
    url = owner.good("open").strip()
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(url).status_code == 303
        assert browser.get(f"{owner.url}/whoami").json()["kind"] == "install"
        assert browser.get(url).status_code == 401


def test_rotation_at_once_ends_logins_and_sessions(owner: Desk, tmp_path: Path) -> None:
    secret = last_word(owner.good("person", "add", "ada"))
    ada = Desk(tmp_path / "ada", owner.url)
    ada.good("login", "--user", "ada", stdin=secret + "\n")
    assert "signing with key" in owner.good("identity", "rotate")
    ada.good("whoami")
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(owner.good("open").strip()).status_code == 303
        link = owner.good("open").strip()
        assert "every login and session has ended" in owner.good("identity", "rotate", "--at-once")
        assert browser.get(f"{owner.url}/whoami").status_code == 401
        assert browser.get(link).status_code == 401
    assert "headrace login" in ada.bad("whoami")  # its refresh token has ended too
    ada.good("login", "--user", "ada", stdin=secret + "\n")
    assert "ada of local" in ada.good("whoami")


def test_many_commands_at_once_after_the_access_token_ended(owner: Desk, tmp_path: Path) -> None:
    secret = last_word(owner.good("person", "add", "crowd"))
    desk = Desk(tmp_path / "crowd", owner.url)
    desk.good("login", "--user", "crowd", stdin=secret + "\n")
    path = desk.home / "credentials.json"
    kept = json.loads(path.read_text())
    for entry in kept.values():
        entry["ends"] = 0
    path.write_text(json.dumps(kept))
    line, env = [sys.executable, "-m", "headrace.cli", "whoami"], scrubbed() | desk.env()
    processes = [subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    desk.good("whoami")


def test_signing_out(owner: Desk, tmp_path: Path) -> None:
    secret = last_word(owner.good("person", "add", "bob"))
    bob = Desk(tmp_path / "bob", owner.url)
    bob.good("login", "--user", "bob", stdin=secret + "\n")
    kept = json.loads((bob.home / "credentials.json").read_text())[bob.url]["access_token"]
    assert "signed out" in bob.good("logout")
    assert "does not let you in" in bob.bad("whoami", HEADRACE_TOKEN=kept)
    assert "nothing is kept" in bob.bad("logout")
    assert "forgot the token of the install" in owner.good("logout")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [(["login"], "", "--user"), (["login", "--user", "x"], "", "no password"), (["login", "--user", "x"], "\n", "no password"),
     (["company", "list", "--url", "http://127.0.0.1:9"], "", "is it up"), (["login", "--user", "x", "--url", "nonsense"], "pw\n", "no answer")],
)  # fmt: skip
def test_what_is_wrong_is_said(owner: Desk, arguments: list[str], stdin: str, said: str) -> None:
    assert said in owner.bad(*arguments, stdin=stdin)
