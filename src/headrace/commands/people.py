"""Signing in and out; companies, and the people, devices and services in one's own."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer

from headrace.access import LOCAL
from headrace.commands.calling import URL, Json, Url, ask, call, fail, guard, quoted, reason
from headrace.commands.printing import clock, say, table

company = typer.Typer(no_args_is_help=True, help="Companies on this platform (operators).")
BESIDE = (
    "Python files in specs of company 'local' run as the platform itself, unsandboxed: this login may apply them while it is "
    "the only company (later it takes the role operator). Whom you do not trust that far belongs into a company of his own."
)
"""Said when somebody gets a login that may apply specs to the platform's own company."""
CUT_OFF = (
    "headrace: this is the first company beside 'local': from now on MQTT asks every device for a login, and those without "
    "one are cut off. `headrace person add NAME --kind device` gives one: user local/NAME, and the secret it prints as password."
)
"""Said before another company is added to a platform that asked no device who it is."""
person = typer.Typer(no_args_is_help=True, help="The users, devices and services of your company (admins).")
identity = typer.Typer(no_args_is_help=True, help="The keys that sign tokens (operators).")


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (login, logout, open_, token, whoami, password):
        app.command(command.__name__.rstrip("_"))(command)
    app.add_typer(company, name="company")
    app.add_typer(person, name="person")
    app.add_typer(identity, name="identity")


def login(
    url: Url = URL,
    user: Annotated[str, typer.Option(help="Your name; it is asked for if not given.")] = "",
    company: Annotated[str, typer.Option(help="Your company.")] = "local",
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another address of the same platform that gets this login's tokens; may be repeated."),
    ] = None,
) -> None:
    """Sign in. The password is asked for, or read from standard input; it is never an option, because `ps` shows those."""
    from headrace import credentials

    _warn(url)
    name = user or _asked("Name", "--user")
    form = {"grant_type": "password", "username": name, "company": company, "password": _secret("Password")}
    found = _granted(url, form | {"client_id": "headrace-cli"})
    more = {"user": name, "company": company, "also": [credentials.normal(one) for one in also or []]}
    guard(lambda: credentials.remember(url, found | more))
    say(f"signed in at {url} as {name}" + ("" if "/" in name else f" of {company}"))
    if os.environ.get(credentials.VARIABLE):
        say(f"headrace: {credentials.VARIABLE} is set and comes before this login", err=True)


def logout(url: Url = URL) -> None:
    """End the login kept for an address, there and here."""
    from headrace import credentials

    kept = guard(lambda: credentials.entry(url))
    if not kept:
        fail(f"nothing is kept for {url}")
    if "refresh_token" in kept:
        answer = ask(url, "POST", "/logout")
        if answer.is_error:
            say(f"headrace: {url} says: {reason(answer)}", err=True)
    guard(lambda: credentials.forget(url))
    say(f"signed out at {url}" if "refresh_token" in kept else f"forgot the token of the install at {url}")


def open_(url: Url = URL) -> None:
    """Print an address that opens the page, signed in as you. It works once, for five minutes."""
    say(call(url, "POST", "/session")["url"])


def token(url: Url = URL) -> None:
    """Print your token, for scripts: curl -H "Authorization: Bearer $(headrace token)" ..."""
    from headrace import credentials

    found = guard(lambda: credentials.token(url))
    if not found:
        fail(f"you have no token for {url}: `headrace up` keeps its own, `headrace login --url {url}` gets one")
    say(found)


def whoami(url: Url = URL, as_json: Json = False) -> None:
    """Print who you are to the platform."""
    who = call(url, "GET", "/whoami")
    if as_json:
        say(json.dumps(who, indent=2))
        return
    until = f", until {clock(who['expires_ms'])} UTC" if who["expires_ms"] else ""
    say(f"{who['subject']} of {who['company']}: {who['kind']}, {', '.join(who['roles']) or 'no role'}{until}")


def password(url: Url = URL) -> None:
    """Change your own password. Your logins end."""
    old, new = _secret("Old password"), _secret("New password", again=True)
    call(url, "POST", "/password", {"old": old, "new": new})
    say(f"changed; `headrace login --url {url}` signs in with the new one")


@company.command("list")
def company_list(url: Url = URL, as_json: Json = False) -> None:
    """Those you may know of."""
    found = call(url, "GET", "/companies")
    if as_json:
        say(json.dumps(found, indent=2))
        return
    table(
        ["company", "people", "since (UTC)"], [[one["name"], one["people"], clock(one["created_ms"])] for one in found]
    )


@company.command("add")
def company_add(
    name: Annotated[str, typer.Argument(help="2 to 32 of a-z, 0-9 and -.")],
    admin: Annotated[str, typer.Option(help="Name of its first user, an admin.")] = "admin",
    url: Url = URL,
    as_json: Json = False,
) -> None:
    """Add a company, and print the password of its first admin; it is shown this once. With the first, MQTT begins to ask
    devices for a login."""
    if call(url, "GET", "/whoami")["companies"] == 1:
        say(CUT_OFF, err=True)
    made = call(url, "POST", "/companies", {"name": name, "admin": admin})
    if as_json:
        say(json.dumps(made, indent=2))
        return
    say(f"{name}: added. Its admin signs in with: headrace login --url {url} --company {name} --user {admin}")
    say(f"password (shown this once): {made['admin']['password']}")


@company.command("delete")
def company_delete(
    name: Annotated[str, typer.Argument(help="The company.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = URL,
) -> None:
    """Delete a company and its people. Their tokens end at once."""
    if not yes:
        typer.confirm(f"Delete {name} and everybody in it?", abort=True, err=True)
    call(url, "DELETE", f"/companies/{quoted(name)}")
    say(f"{name}: deleted")


@person.command("list")
def person_list(url: Url = URL, as_json: Json = False) -> None:
    """Who there is in your company."""
    found = call(url, "GET", "/people")
    if as_json:
        say(json.dumps(found, indent=2))
        return
    rows = [
        [one["name"], one["kind"], ", ".join(one["roles"]), ", ".join(one["topics"]), clock(one["created_ms"])]
        for one in found
    ]
    table(
        ["name", "kind", "roles", "topics", "since (UTC)"],
        rows,
        empty="nobody yet; `headrace person add NAME` adds one",
    )


@person.command("add")
def person_add(
    name: Annotated[str, typer.Argument(help="A name that is free in your company.")],
    kind: Annotated[str, typer.Option(help="user, device or service.")] = "user",
    role: Annotated[
        list[str] | None,
        typer.Option(help="admin, developer, viewer, operator (default: developer, or as the kind is)."),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic filters he may publish and subscribe to (default: #).")
    ] = None,
    choose: Annotated[bool, typer.Option("--choose", help="Ask for a password instead of making one.")] = False,
    url: Url = URL,
    as_json: Json = False,
) -> None:
    """Add a user, device or service to your company, and print the password or secret; it is shown this once."""
    asked: dict[str, Any] = {"name": name, "kind": kind, "topics": topic or ["#"]} | ({"roles": role} if role else {})
    if choose:
        asked["password"] = _secret("Password", again=True)
    made = call(url, "POST", "/people", asked)
    if as_json:
        say(json.dumps(made, indent=2))
        return
    say(f"{made['company']}/{name}: added as {kind} ({', '.join(made['roles'])})")
    if made["company"] == LOCAL and _may_apply_code(url, set(made["roles"])):
        say(BESIDE, err=True)
    _told(made)


@person.command("password")
def person_password(name: Annotated[str, typer.Argument(help="Who lost his.")], url: Url = URL) -> None:
    """Make another password or secret for somebody; the old one and all his logins end."""
    _told(call(url, "POST", f"/people/{quoted(name)}/password"))


@person.command("delete")
def person_delete(name: Annotated[str, typer.Argument(help="Who.")], url: Url = URL) -> None:
    """Delete somebody. His tokens end at once."""
    call(url, "DELETE", f"/people/{quoted(name)}")
    say(f"{name}: deleted")


@identity.command("rotate")
def rotate(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="End every token, login and session given out: somebody saw a key.")
    ] = False,
    url: Url = URL,
) -> None:
    """Sign tokens with a new key. Those given out stay good until they expire."""
    kid = call(url, "POST", "/keys/rotate" + ("?at_once=1" if at_once else ""))["kid"]
    ended = "; every login and session has ended: people sign in again, devices and services keep their secrets"
    say(f"signing with key {kid}" + (ended if at_once else "; what was signed before stays good until it expires"))


def _may_apply_code(url: str, roles: set[str]) -> bool:
    """Whether these roles may apply specs with Python files to the platform's own company, as far as the caller can know."""
    if not {"admin", "developer", "service"} & roles:
        return False
    alone = call(url, "GET", "/whoami")["companies"] in {None, 1}
    return alone or "operator" in roles


def _told(made: dict[str, Any]) -> None:
    if made["password"] is None:
        return
    what = "password" if made["kind"] == "user" else "secret"
    say(f"{what} (shown this once): {made['password']}")


def _granted(url: str, form: dict[str, str]) -> dict[str, Any]:
    """The token endpoint's answer. Ends the command when the platform does not believe us."""
    import httpx

    from headrace.credentials import TOKEN_PATH, normal

    try:
        answer = httpx.post(normal(url) + TOKEN_PATH, data=form, timeout=60, trust_env=False)
        found: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no answer from {url} ({str(error) or type(error).__name__}); is it up? --url says where it is")
    except ValueError:
        fail(f"{url} answered with something that is not Headrace's; does --url name the right port?")
    if answer.is_error or "access_token" not in found:
        fail(str(found.get("error_description") or found.get("error") or f"HTTP {answer.status_code}"))
    return found


def _secret(what: str, *, again: bool = False) -> str:
    """A password without echo, or the next line of standard input."""
    from getpass import getpass

    if not sys.stdin.isatty():
        found = sys.stdin.readline().rstrip("\r\n")
        return found or fail(f"no {what.lower()} on standard input")
    found = getpass(f"{what}: ")
    if again and getpass(f"{what} again: ") != found:
        fail("the two are not the same")
    return found or fail("nothing was typed")


def _asked(what: str, option: str) -> str:
    if not sys.stdin.isatty():
        fail(f"give {option}")
    return str(typer.prompt(what, err=True))


def _warn(url: str) -> None:
    """A password over plain HTTP to another machine can be read on the way."""
    from headrace.credentials import normal, on_loopback

    if normal(url).startswith("http://") and not on_loopback(url):
        say(f"headrace: {url} is not encrypted: whoever is on the way can read the password", err=True)
