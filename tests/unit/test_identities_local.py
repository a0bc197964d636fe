"""The embedded issuer: which tokens it believes, what ends them, and what wrong passwords cost."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from headrace.access import LOCAL
from headrace.errors import BadInput, Conflict, NotFound, TooMany, TooManyGuesses, Unauthenticated, Unsupported
from headrace.trust import passwords
from headrace.trust.identities import keys as keys_module
from headrace.trust.identities import local
from headrace.trust.identities.brake import Brake
from headrace.trust.identities.install import install_token
from headrace.trust.identities.local import LocalIdentities
from headrace.trust.identities.people import Person
from headrace.trust.identities.verifying import LEEWAY, Verifier, principal

SECRET = passwords.MADE + "0123456789abcdefghij"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ids(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalIdentities]:
    async with LocalIdentities(tmp_path / "identity", clock=clock) as opened:
        yield opened


def add(
    ids: LocalIdentities, name: str = "anna", company: str = LOCAL, kind: str = "user", role: str = "developer"
) -> Person:
    if company not in {name for name, _, _ in ids.people.companies()}:
        ids.people.add_company(company)
    person = ids.people.make(company, name, kind, [role], ["#"], passwords.hash_any(SECRET), "test")
    ids.people.add(person)
    return person


async def log_in(ids: LocalIdentities, name: str = "anna", company: str = LOCAL) -> dict[str, Any]:
    form = {"grant_type": "password", "username": name, "company": company, "password": SECRET}
    return await ids.token(form)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def signed(ids: LocalIdentities, change: Callable[[dict[str, Any]], Any], token: str) -> str:
    """A token like another, signed by the issuer's own key, with changed claims."""
    claims = claims_of(token)
    change(claims)
    return ids.keys.sign(claims)


async def test_a_token_names_company_person_and_roles(ids: LocalIdentities, clock: Clock) -> None:
    add(ids, "anna", "acme")
    answer = await log_in(ids, "anna", "acme")
    who = await ids.verify(answer["access_token"])
    assert (who.company, who.subject, who.kind, who.roles) == ("acme", "anna", "user", {"developer"})
    assert who.expires == clock.now + answer["expires_in"]


async def test_its_claims_are_shaped_as_keycloaks(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    claims, header = claims_of(token), jwt.get_unverified_header(token)
    assert claims["iss"] == "http://127.0.0.1:8080/realms/headrace"
    assert claims["realm_access"] == {"roles": ["developer"]}
    assert {"aud", "azp", "jti", "typ", "sub", "company", "preferred_username", "sid"} <= set(claims)
    assert header["typ"] == "at+jwt" and header["alg"] == "ES256" and header["kid"]


async def test_token_expired(ids: LocalIdentities, clock: Clock) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    clock.now += local.LIFE + LEEWAY - 1
    await ids.verify(token)
    clock.now += 2
    with pytest.raises(Unauthenticated, match="expired"):
        await ids.verify(token)


async def test_token_of_a_wrong_realm(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    for issuer in ("http://127.0.0.1:8080/realms/other", "http://evil.example/realms/headrace", ""):
        with pytest.raises(Unauthenticated, match="realm"):
            await ids.verify(signed(ids, lambda claims, issuer=issuer: claims.update(iss=issuer), token))


async def test_token_with_alg_none(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    claims, kid = claims_of(token), jwt.get_unverified_header(token)["kid"]
    for algorithm in ("none", "None", "NONE", ""):
        header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "typ": "at+jwt", "kid": kid}).encode()).rstrip(
            b"="
        )
        body = token.split(".")[1]
        for signature in ("", token.split(".")[2]):
            with pytest.raises(Unauthenticated, match=r"key of ours|damaged"):
                await ids.verify(f"{header.decode()}.{body}.{signature}")
    unsigned = jwt.encode(claims, None, "none", headers={"kid": kid, "typ": "at+jwt"})
    with pytest.raises(Unauthenticated, match="key of ours"):
        await ids.verify(unsigned)


async def test_token_for_a_wrong_audience(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    for audience in ("grafana", ["account", "grafana"], [], ""):
        with pytest.raises(Unauthenticated, match=r"audience|aud"):
            await ids.verify(signed(ids, lambda claims, audience=audience: claims.update(aud=audience), token))
    await ids.verify(signed(ids, lambda claims: claims.update(aud=["account", "headrace"]), token))


async def test_token_signed_with_the_public_key_as_a_shared_secret(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    head = base64.urlsafe_b64encode(
        json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": jwt.get_unverified_header(token)["kid"]}).encode()
    ).rstrip(b"=")
    import hashlib
    import hmac

    body = head.decode() + "." + token.split(".")[1]
    key = json.dumps(ids.keys.jwks()["keys"][0]).encode()
    mac = base64.urlsafe_b64encode(hmac.digest(key, body.encode(), hashlib.sha256)).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated, match="key of ours"):
        await ids.verify(f"{body}.{mac}")


async def test_token_signed_by_a_stranger(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    header = jwt.get_unverified_header(token)
    stranger = ec.generate_private_key(ec.SECP256R1())
    for kid in (header["kid"], "0" * 32, None, 7):
        headers = {"typ": "at+jwt"} | ({"kid": kid} if kid is not None else {})
        try:
            forged = jwt.encode(claims_of(token), stranger, "ES256", headers=headers)
        except jwt.PyJWTError:
            continue
        with pytest.raises(Unauthenticated, match=r"signature|key of ours|damaged"):
            await ids.verify(forged)


@pytest.mark.parametrize("header", ["jwk", "jku", "x5u"])
async def test_a_key_in_the_token_itself_is_not_looked_at(ids: LocalIdentities, header: str) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    stranger = ec.generate_private_key(ec.SECP256R1())
    own = jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    value = own if header == "jwk" else "http://127.0.0.1:1/keys"
    forged = jwt.encode(claims_of(token), stranger, "ES256", headers={"typ": "at+jwt", header: value})
    with pytest.raises(Unauthenticated, match="key of ours"):
        await ids.verify(forged)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp", "iat", "company", "preferred_username", "realm_access"])
async def test_a_token_without_a_claim(ids: LocalIdentities, claim: str) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    with pytest.raises(Unauthenticated):
        await ids.verify(signed(ids, lambda claims: claims.pop(claim), token))


@pytest.mark.parametrize(
    "changed",
    [{"exp": "9999999999"}, {"exp": True}, {"exp": float("inf")}, {"exp": None}, {"nbf": 1_800_000_100}, {"iat": 1_800_000_100},
     {"company": "other"}, {"company": 7}, {"company": ["local"]}, {"preferred_username": "somebody"}, {"sub": "pp_0"}, {"sub": 7},
     {"realm_access": []}, {"realm_access": {"roles": "admin"}}, {"typ": "Refresh"}, {"typ": "ID"}, {"sid": "lg_0"}],
    ids=str,
)  # fmt: skip
async def test_a_signed_token_with_a_wrong_claim(ids: LocalIdentities, changed: dict[str, Any]) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    with pytest.raises(Unauthenticated):
        await ids.verify(signed(ids, lambda claims: claims.update(changed), token))


async def test_roles_of_a_token_are_never_more_than_the_persons(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    more = signed(ids, lambda claims: claims.update(realm_access={"roles": ["developer", "operator", "root"]}), token)
    assert (await ids.verify(more)).roles == {"developer"}


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "..", "eyJ", "eyJhbGciOiJFUzI1NiJ9.e30.", "hri_" + "x" * 40, "hrs_x", "é.ü.ö", "x" * 10_000,
     "eyJ" + "A" * 100 + "." * 3, base64.urlsafe_b64encode(b'{"alg":' + b"[" * 3000 + b"}").decode() + ".e30.x"],
)  # fmt: skip
async def test_what_is_no_token(ids: LocalIdentities, token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await ids.verify(token)
    assert len(token) < 5 or token not in str(caught.value)


async def test_an_error_never_repeats_the_token(ids: LocalIdentities) -> None:
    add(ids)
    token = (await log_in(ids))["access_token"]
    for bad in (token[:-4] + "AAAA", token[:-40], "x" + token):
        with pytest.raises(Unauthenticated) as caught:
            await ids.verify(bad)
        shown = repr(caught.value) + str(caught.value.__cause__) + str(caught.value)
        assert token[30:60] not in shown


async def test_rotation_keeps_old_tokens_until_they_expire(ids: LocalIdentities, clock: Clock, tmp_path: Path) -> None:
    add(ids)
    old = (await log_in(ids))["access_token"]
    first = ids.keys.jwks()["keys"][0]["kid"]
    second = ids.keys.rotate()
    assert second != first and {key["kid"] for key in ids.keys.jwks()["keys"]} == {first, second}
    await ids.verify(old)
    new = (await log_in(ids))["access_token"]
    assert jwt.get_unverified_header(new)["kid"] == second
    assert [path.stem for path in (tmp_path / "identity" / "keys").iterdir()] == [second]  # the old one signs no more
    clock.now += local.LIFE + LEEWAY + 1
    assert [key["kid"] for key in ids.keys.jwks()["keys"]] == [second]
    with pytest.raises(Unauthenticated):
        await ids.verify(old)


async def test_rotation_at_once_ends_every_token(ids: LocalIdentities) -> None:
    add(ids)
    old = (await log_in(ids))["access_token"]
    ids.keys.rotate(at_once=True)
    with pytest.raises(Unauthenticated, match="key of ours"):
        await ids.verify(old)
    await ids.verify((await log_in(ids))["access_token"])


async def test_a_key_is_changed_when_it_is_old(ids: LocalIdentities, clock: Clock) -> None:
    add(ids)
    first = jwt.get_unverified_header((await log_in(ids))["access_token"])["kid"]
    clock.now += keys_module.AGE + 1
    assert jwt.get_unverified_header((await log_in(ids))["access_token"])["kid"] != first


async def test_tokens_outlive_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        add(ids)
        answer, install = await log_in(ids), ids.install_token
        cookie = await ids.sessions.begin(None)
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        assert (await ids.verify(answer["access_token"])).subject == "anna"
        assert ids.install_token == install
        assert (await ids.sessions.verify(cookie)).kind == "install"
        await ids.token({"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]})


async def test_a_lost_private_key_is_replaced(tmp_path: Path, clock: Clock) -> None:
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        add(ids)
        old = (await log_in(ids))["access_token"]
    for path in (tmp_path / "keys").iterdir():
        path.write_text("damaged")
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        await ids.verify(old)
        await ids.verify((await log_in(ids))["access_token"])


async def test_files_are_their_owners_only(ids: LocalIdentities, tmp_path: Path) -> None:
    add(ids)
    for path in (tmp_path / "identity").rglob("*"):
        if path.is_file() and path.suffix not in {".sqlite-wal", ".sqlite-shm"}:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700


async def test_no_secret_is_on_the_disk_in_clear(ids: LocalIdentities, tmp_path: Path) -> None:
    add(ids)
    answer = await log_in(ids)
    cookie = await ids.sessions.begin(None)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "identity").glob("identity.sqlite*"))
    for secret in (SECRET, answer["access_token"], *answer["refresh_token"].split(".")[1:], cookie, ids.install_token):
        assert secret.encode() not in stored


async def test_deleting_a_person_ends_his_tokens_at_once(ids: LocalIdentities) -> None:
    add(ids)
    answer = await log_in(ids)
    cookie = await ids.sessions.begin((await asyncio.to_thread(ids.people.find, LOCAL, "anna")).id)  # type: ignore[union-attr]
    ids.people.remove(LOCAL, "anna")
    add(ids)  # somebody else of the same name
    with pytest.raises(Unauthenticated, match="gone"):
        await ids.verify(answer["access_token"])
    with pytest.raises(Unauthenticated):
        await ids.sessions.verify(cookie)
    with pytest.raises(Unauthenticated):
        await ids.token({"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]})


async def test_deleting_a_company_ends_its_tokens_at_once(ids: LocalIdentities) -> None:
    add(ids, "anna", "acme")
    add(ids, "bob")
    anna, bob = await log_in(ids, "anna", "acme"), await log_in(ids, "bob")
    ids.people.delete_company("acme")
    with pytest.raises(Unauthenticated):
        await ids.verify(anna["access_token"])
    await ids.verify(bob["access_token"])
    with pytest.raises(Conflict):
        ids.people.delete_company(LOCAL)


async def test_a_refresh_token_works_once(ids: LocalIdentities) -> None:
    add(ids)
    first = await log_in(ids)
    second = await ids.token({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})
    await ids.verify(second["access_token"])
    generation = ids.generation
    with pytest.raises(Unauthenticated, match="used before"):
        await ids.token({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})
    assert ids.generation > generation
    for token in (first["access_token"], second["access_token"]):
        with pytest.raises(Unauthenticated, match="ended"):
            await ids.verify(token)
    with pytest.raises(Unauthenticated):
        await ids.token({"grant_type": "refresh_token", "refresh_token": second["refresh_token"]})


async def test_two_refreshes_at_once_end_the_login(ids: LocalIdentities) -> None:
    add(ids)
    first = await log_in(ids)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    answers = await asyncio.gather(*(ids.token(form) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in answers) == 1


async def test_a_made_up_refresh_token_ends_nothing(ids: LocalIdentities) -> None:
    add(ids)
    first = await log_in(ids)
    login = first["refresh_token"].split(".")[0]
    for forged in (f"{login}.x.y", f"{login}..", "hrr_", "x", login, "a" * 1000):
        with pytest.raises(Unauthenticated):
            await ids.token({"grant_type": "refresh_token", "refresh_token": forged})
    await ids.token({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]})


async def test_a_login_ends_unused_and_by_logout(ids: LocalIdentities, clock: Clock) -> None:
    add(ids)
    first, second = await log_in(ids), await log_in(ids)
    await ids.end(first["access_token"])
    with pytest.raises(Unauthenticated, match="ended"):
        await ids.verify(first["access_token"])
    await ids.verify(second["access_token"])
    clock.now += 31 * 86400
    with pytest.raises(Unauthenticated, match="ended"):
        await ids.token({"grant_type": "refresh_token", "refresh_token": second["refresh_token"]})


async def test_a_service_has_its_id_and_secret(ids: LocalIdentities) -> None:
    add(ids, "collector", "acme", "service", "service")
    form = {"grant_type": "client_credentials", "client_id": "acme/collector", "client_secret": SECRET}
    answer = await ids.token(form)
    assert "refresh_token" not in answer
    who = await ids.verify(answer["access_token"])
    assert (who.company, who.kind) == ("acme", "service")
    with pytest.raises(Unauthenticated):
        await ids.token({**form, "client_secret": SECRET + "x"})


@pytest.mark.parametrize(
    ("form", "error"),
    [({}, BadInput), ({"grant_type": "password"}, BadInput), ({"grant_type": "password", "username": "anna"}, BadInput),
     ({"grant_type": "authorization_code"}, Unsupported), ({"grant_type": "refresh_token"}, BadInput)],
)  # fmt: skip
async def test_forms_that_ask_for_nothing(ids: LocalIdentities, form: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        await ids.token(form)


async def test_guessing_is_braked(ids: LocalIdentities, clock: Clock) -> None:
    add(ids)

    async def guess(password: str, name: str = "anna", address: str = "10.0.0.1") -> None:
        await ids.prove(name, password.encode(), address)

    for n in range(5):
        with pytest.raises(Unauthenticated):
            await guess(passwords.MADE + str(n))
    with pytest.raises(TooManyGuesses, match="try again in"):
        await guess(SECRET)
    await guess(SECRET, address="10.0.0.2")  # the person himself, from elsewhere
    clock.now += 60
    await guess(SECRET)


async def test_a_remembered_password_is_not_braked_and_costs_no_scrypt(
    ids: LocalIdentities, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids.people.add(
        ids.people.make(LOCAL, "old-pump", "device", ["device"], ["#"], passwords.hash_any("a chosen one"), "t")
    )
    await ids.login("old-pump", b"a chosen one")
    monkeypatch.setattr(passwords, "_scrypt", None)
    for _ in range(100):
        await ids.login("local/old-pump", b"a chosen one")
    with pytest.raises(TypeError):
        await ids.login("old-pump", b"another one!")


async def test_a_changed_password_is_not_remembered(ids: LocalIdentities) -> None:
    person = add(ids)
    await ids.login("anna", SECRET.encode())
    ids.people.change_secret(person.id, passwords.hash_any(SECRET + "2"))
    with pytest.raises(Unauthenticated):
        await ids.login("anna", SECRET.encode())


async def test_parallel_guesses_are_not_free(ids: LocalIdentities) -> None:
    add(ids)
    tries = [ids.prove("anna", f"wrong-{n}-wrong".encode(), "10.0.0.1") for n in range(40)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(type(answer) is Unauthenticated for answer in answers) == 5


async def test_waiting_passwords_are_bounded(ids: LocalIdentities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WAITING", 2)
    tries = [ids.prove(f"n{n}", b"wrong-wrong", f"10.0.0.{n}") for n in range(6)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(type(answer) is TooMany for answer in answers) == 4


async def test_devices_log_in_with_a_secret_or_a_token(ids: LocalIdentities, clock: Clock) -> None:
    add(ids, "pump-7", "acme", "device", "device")
    who = await ids.login("acme/pump-7", SECRET.encode())
    assert (who.company, who.subject, who.kind) == ("acme", "pump-7", "device")
    form = {"grant_type": "client_credentials", "client_id": "acme/pump-7", "client_secret": SECRET}
    token = (await ids.token(form))["access_token"].encode()
    assert (await ids.login("acme/pump-7", token)).expires == clock.now + local.LIFE
    assert (await ids.login("", token)).subject == "pump-7"
    for name, password in [
        ("acme/pump-8", token),
        ("pump-7", SECRET.encode()),
        ("acme/pump-7", b""),
        ("", b""),
        ("/", b"x"),
    ]:
        with pytest.raises(Unauthenticated):
            await ids.login(name, password)


async def test_a_connection_that_stays_open_can_be_asked_about(ids: LocalIdentities, clock: Clock) -> None:
    add(ids, "pump-7", "acme", "device", "device")
    who = await ids.login("acme/pump-7", SECRET.encode())
    assert await ids.known(who)
    add(ids, "boss", "acme", "user", "admin")
    ids.people.remove("acme", "pump-7")
    assert not await ids.known(who)
    assert await ids.known(await ids.verify(ids.install_token))


async def test_the_last_admin_stays(ids: LocalIdentities) -> None:
    add(ids, "boss", "acme", "user", "admin")
    with pytest.raises(Conflict, match="last admin"):
        ids.people.remove("acme", "boss")
    add(ids, "other", "acme", "user", "admin")
    ids.people.remove("acme", "boss")
    with pytest.raises(NotFound):
        ids.people.remove("acme", "boss")


@pytest.mark.parametrize(
    "name", ["", "A", "acme/x", "../x", "x" * 40, "9lives", "a", "acme-", "ACME", "a.b", "a b", "a\n"]
)
async def test_names_no_company_may_have(ids: LocalIdentities, name: str) -> None:
    with pytest.raises(BadInput):
        ids.people.add_company(name)


@pytest.mark.parametrize(
    ("name", "kind", "roles", "topics"),
    [("", "user", ["viewer"], ["#"]), ("a/b", "user", ["viewer"], ["#"]), ("install", "user", ["viewer"], ["#"]),
     ("a", "robot", ["viewer"], ["#"]), ("a", "user", [], ["#"]), ("a", "user", ["root"], ["#"]),
     ("a", "device", ["admin"], ["#"]), ("a", "user", ["viewer"], []), ("a", "user", ["viewer"], ["a#"]), ("a\n", "user", ["viewer"], ["#"])],
)  # fmt: skip
async def test_people_that_cannot_be(
    ids: LocalIdentities, name: str, kind: str, roles: list[str], topics: list[str]
) -> None:
    with pytest.raises(BadInput):
        ids.people.make(LOCAL, name, kind, roles, topics, "sha256$", "test")


async def test_one_time_codes(ids: LocalIdentities, clock: Clock) -> None:
    code = ids.sessions.code(None)
    cookie = await ids.sessions.enter(code)
    assert (await ids.sessions.verify(cookie)).kind == "install"
    for used in (code, "", "x" * 500):
        with pytest.raises(Unauthenticated):
            await ids.sessions.enter(used)
    late = ids.sessions.code(None)
    clock.now += 301
    with pytest.raises(Unauthenticated):
        await ids.sessions.enter(late)
    clock.now += 8 * 86400
    with pytest.raises(Unauthenticated):
        await ids.sessions.verify(cookie)


async def test_a_cookies_value_is_no_token_and_a_token_no_cookie(ids: LocalIdentities) -> None:
    cookie = await ids.sessions.begin(None)
    with pytest.raises(Unauthenticated):
        await ids.verify(cookie)
    with pytest.raises(Unauthenticated):
        await ids.sessions.verify(ids.install_token)


async def test_a_new_install_token_ends_the_old_ones_sessions(tmp_path: Path, clock: Clock) -> None:
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        cookie, name = await ids.sessions.begin(None), ids.sessions.cookie
    (tmp_path / "token").unlink()
    async with LocalIdentities(tmp_path, clock=clock) as ids:
        assert ids.sessions.cookie != name
        with pytest.raises(Unauthenticated):
            await ids.sessions.verify(cookie)


def test_the_install_token_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "identity" / "token"
    first = install_token(path)
    path.chmod(0o644)
    assert install_token(path) == first and stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("hri_cut")
    assert install_token(path) != first
    assert [one.name for one in path.parent.iterdir()] == ["token"]


async def test_two_installs_have_different_cookies(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        names = {
            (await stack.enter_async_context(LocalIdentities(tmp_path / name))).sessions.cookie for name in ("a", "b")
        }
    assert len(names) == 2


def test_a_keycloak_token_is_understood_by_the_same_verifier() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.PyJWK({**RSAAlgorithm.to_jwk(private.public_key(), as_dict=True), "alg": "RS256", "kid": "k1"})
    verifier = Verifier("https://id.example/realms/plant", {"k1": public}.get, lambda: 1000.0)
    claims = {
        "iss": "https://id.example/realms/plant", "aud": ["headrace", "account"], "sub": "8f2b", "exp": 1300, "iat": 1000,
        "typ": "Bearer", "azp": "headrace", "company": "acme", "preferred_username": "service-account-collector",
        "realm_access": {"roles": ["offline_access", "service"]},
    }  # fmt: skip
    token = jwt.encode(claims, private, "RS256", headers={"kid": "k1"})
    who = principal(verifier.claims(token))
    assert (who.company, who.kind, who.roles, who.expires) == ("acme", "service", {"service"}, 1300.0)


def test_the_brakes_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.trust.identities.brake.REMEMBERED", 10)
    brake = Brake(lambda: 0.0)
    for n in range(100):
        brake.attempt(f"name-{n}", f"10.0.0.{n}")
    assert len(brake._attempts) == 10


def test_an_own_account_does_not_free_an_address() -> None:
    brake = Brake(lambda: 0.0)
    with pytest.raises(TooManyGuesses):
        for n in range(100):
            brake.attempt(f"victim-{n}", "10.0.0.1")
            brake.attempt("mine", "10.0.0.1")
            brake.passed("mine", "10.0.0.1")


def test_passwords() -> None:
    made = passwords.make_password()
    assert len(made) == 24 and passwords.verify_any(passwords.hash_any(made), made.encode())
    secret = passwords.make_secret()
    assert passwords.verify_any(passwords.hash_any(secret), secret.encode())
    assert not passwords.verify_any(passwords.hash_any(secret), made.encode())
    assert not passwords.verify_any(None, secret.encode()) and not passwords.verify_any(None, b"")
    for bad in ("short", "x" * 300):
        with pytest.raises(BadInput):
            passwords.hash_any(bad)


def test_the_migrations_make_the_tables(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from headrace.stores.database import open_database, sqlite_url
    from headrace.trust.identities.tables import metadata

    engine = open_database(sqlite_url(tmp_path / "x.sqlite"), "headrace.trust.identities")
    try:
        with engine.connect() as db:
            context = MigrationContext.configure(db, opts={"version_table": "identity_version"})
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()
