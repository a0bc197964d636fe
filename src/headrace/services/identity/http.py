"""Identity's HTTP: the realm (as Keycloak lays it out), companies, people, and a browser's way in and out."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from headrace import errors
from headrace.access import Principal
from headrace.services.apidocs import add_docs
from headrace.services.bounded import Bounded
from headrace.services.documents import RESPONSES, describe
from headrace.services.entrance import caller
from headrace.services.http import code as status_of
from headrace.services.http import hints, read_body
from headrace.services.identity.login_page import LOGIN_HEADERS, login_page
from headrace.services.identity.records import (
    Added,
    AddedCompany,
    Company,
    Deleted,
    NewCompany,
    NewPassword,
    NewPerson,
    NoGrant,
    Person,
    Rotated,
    Tokens,
    Url,
    Who,
)
from headrace.services.identity.service import IdentityService
from headrace.trust.identities.local import REALM
from headrace.trust.identities.sessions import SESSION_SECONDS

FORM = 16 * 1024
"""Bytes of the largest form."""
BODY = 64 * 1024
"""Bytes of the largest body."""
_ROOT = f"/realms/{REALM}"
_SECRET = {"cache-control": "no-store", "pragma": "no-cache"}
Caller = Annotated[Principal, Depends(caller)]
_REFUSALS: list[tuple[type[errors.HeadraceError], str]] = [
    (errors.Unauthenticated, "invalid_grant"),
    (errors.Unsupported, "unsupported_grant_type"),
    (errors.BadInput, "invalid_request"),
    (errors.TooMany, "slow_down"),
]
"""RFC 6749, section 5.2."""


def _form_of(grant: str, needed: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, Any]:
    fields = {name: {"type": "string", "minLength": 1} for name in needed} | {name: {"type": "string"} for name in more}
    kind = {"type": "string", "const": grant}
    return {"type": "object", "required": ["grant_type", *needed], "properties": {"grant_type": kind, **fields}}


_FORMS = [
    _form_of("password", ("username", "password"), ("company", "client_id")),
    _form_of("client_credentials", ("client_id", "client_secret"), ("company",)),
    _form_of("refresh_token", ("refresh_token",)),
]
_GRANT: dict[str, Any] = {
    "required": True,
    "content": {"application/x-www-form-urlencoded": {"schema": {"oneOf": _FORMS}}},
}


def create_app(service: IdentityService) -> FastAPI:
    """The app. It has no life-cycle of its own, and expects `Entrance` before it."""
    app = FastAPI(
        title="Headrace identity",
        description="Companies, their people, devices and services; tokens in the form Keycloak gives them.",
        openapi_url="/openapi/identity.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        responses=RESPONSES,
    )
    _realm(app, service)
    _companies(app, service)
    _people(app, service)
    _browsers(app, service)
    describe(app)
    add_docs(app, "identity")
    app.add_middleware(Bounded, limit=BODY)
    return app


def _realm(app: FastAPI, service: IdentityService) -> None:
    identities = service.identities

    @app.get(f"{_ROOT}/.well-known/openid-configuration", tags=["realm"])
    async def discovery() -> dict[str, Any]:
        """Where the issuer's doors are (OpenID Connect Discovery 1.0)."""
        doors = f"{identities.issuer}/protocol/openid-connect"
        return {
            "issuer": identities.issuer,
            "token_endpoint": f"{doors}/token",
            "jwks_uri": f"{doors}/certs",
            "grant_types_supported": ["password", "client_credentials", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
        }

    @app.get(f"{_ROOT}/protocol/openid-connect/certs", tags=["realm"])
    async def certs() -> dict[str, Any]:
        """The public keys of tokens (RFC 7517)."""
        return await identities.run(identities.keys.jwks)

    @app.post(
        f"{_ROOT}/protocol/openid-connect/token",
        tags=["realm"],
        openapi_extra={"requestBody": _GRANT},
        responses={200: {"model": Tokens}, **{status: {"model": NoGrant} for status in (400, 413, 429)}},
    )
    async def token(request: Request) -> JSONResponse:
        """A form with a grant (password, client_credentials, refresh_token) to tokens (RFC 6749)."""
        try:
            form = await _form(request)
            basic = _basic(request)
            answer = await identities.token({**form, **basic}, _address(request))
        except errors.HeadraceError as error:
            return _grant_refused(error)
        return JSONResponse(answer, headers=_SECRET)

    @app.post("/keys/rotate", tags=["realm"])
    async def rotate(who: Caller, at_once: bool = False) -> Rotated:
        """Sign with a new key. `at_once`: every token, refresh token and session that was given out ends."""
        return Rotated(kid=await service.rotate(who, at_once))


def _companies(app: FastAPI, service: IdentityService) -> None:
    @app.get("/companies", tags=["companies"])
    async def list_companies(who: Caller) -> list[Company]:
        """All for an operator, one's own for others."""
        return await service.companies(who)

    @app.post("/companies", status_code=201, tags=["companies"])
    async def add_company(who: Caller, asked: NewCompany, response: Response) -> AddedCompany:
        """A company with its first admin (operator)."""
        response.headers.update(_SECRET)
        return await service.add_company(who, asked)

    @app.delete("/companies/{name}", tags=["companies"])
    async def delete_company(who: Caller, name: str) -> Deleted:
        """A company and its people; their tokens end at once (operator)."""
        await service.delete_company(who, name)
        return Deleted(deleted=name)


def _people(app: FastAPI, service: IdentityService) -> None:
    @app.get("/people", tags=["people"])
    async def list_people(who: Caller) -> list[Person]:
        """The users, devices and services of one's own company (admin)."""
        return await service.people(who)

    @app.post("/people", status_code=201, tags=["people"])
    async def add_person(who: Caller, asked: NewPerson, response: Response) -> Added:
        """Add one to one's own company (admin). A password that was made is told this once."""
        response.headers.update(_SECRET)
        return await service.add_person(who, asked)

    @app.delete("/people/{name}", tags=["people"])
    async def delete_person(who: Caller, name: str) -> Deleted:
        """His tokens end at once (admin)."""
        await service.delete_person(who, name)
        return Deleted(deleted=name)

    @app.post("/people/{name}/password", tags=["people"])
    async def new_password(who: Caller, name: str, response: Response) -> Added:
        """Another password or secret for somebody who lost his (admin)."""
        response.headers.update(_SECRET)
        return await service.new_password(who, name)

    @app.post("/password", tags=["people"], status_code=204)
    async def change_password(who: Caller, asked: NewPassword, request: Request) -> None:
        """Change one's own password; one's logins end."""
        await service.change_password(who, asked.old, asked.new, _address(request))

    @app.get("/whoami", tags=["people"])
    async def whoami(who: Caller) -> Who:
        """The caller."""
        return await service.whoami(who)


def _browsers(app: FastAPI, service: IdentityService) -> None:
    identities = service.identities

    @app.post("/session", status_code=201, tags=["browser"])
    async def session(who: Caller, request: Request, response: Response) -> Url:
        """An address that opens the page, signed in as the caller; it works once, for five minutes."""
        response.headers.update(_SECRET)
        code = await identities.one_time_code(who)
        return Url(url=f"{request.url.scheme}://{request.url.netloc}/login?code={code}")

    @app.get("/login", tags=["browser"], include_in_schema=False)
    async def login(request: Request, code: str = "") -> Response:
        if not code:
            return HTMLResponse(login_page(), headers=LOGIN_HEADERS)
        try:
            _own_site(request)
            value = await identities.sessions.enter(code)
        except errors.HeadraceError as error:
            return HTMLResponse(login_page(_why(error)), status_of(error), headers=LOGIN_HEADERS)
        return _entered(request, identities.sessions.cookie, value)

    @app.post("/login", tags=["browser"], include_in_schema=False)
    async def login_form(request: Request) -> Response:
        try:
            _own_site(request)
            form = await _form(request)
            name = form.get("name", "")
            company = form.get("company", "")
            name = f"{company}/{name}" if company and "/" not in name else name
            person = await identities.prove(name, form.get("password", "").encode(), _address(request))
            value = await identities.sessions.begin(person.id)
        except errors.HeadraceError as error:
            return HTMLResponse(login_page(_why(error)), status_of(error), headers=LOGIN_HEADERS)
        return _entered(request, identities.sessions.cookie, value)

    @app.post("/logout", status_code=204, tags=["browser"])
    async def logout(who: Caller, request: Request) -> Response:
        """End the login of the token, or the session of the cookie."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        cookie = identities.sessions.cookie
        answer = Response(status_code=204, headers=_SECRET)
        if scheme:
            await identities.end(token.strip())
        elif value := request.cookies.get(cookie):
            await identities.sessions.end(value)
            answer.delete_cookie(cookie, path="/", httponly=True, samesite="strict")
        return answer


def _entered(request: Request, cookie: str, value: str) -> Response:
    """Into the page, with a cookie only the browser itself can read, and sends from our own pages only."""
    answer = RedirectResponse("/", 303, headers={**_SECRET, "referrer-policy": "no-referrer"})
    secure = request.url.scheme == "https"
    answer.set_cookie(
        cookie, value, max_age=int(SESSION_SECONDS), path="/", httponly=True, samesite="strict", secure=secure
    )
    return answer


def _why(error: errors.HeadraceError) -> str:
    """For a person before a browser, who has no use for a command that gets tokens."""
    return str(error.fields["detail"]) if isinstance(error, errors.Unauthenticated) else str(error)


def _own_site(request: Request) -> None:
    """Nobody may be signed in as somebody else by a page he happens to visit."""
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise errors.Forbidden(detail="another site sent you here; paste the address into the browser yourself")


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise errors.BadInput(detail="send a form (application/x-www-form-urlencoded)")
    body = await read_body(request.scope, request.receive, FORM, "the largest form")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50)
    except ValueError as error:  # also UnicodeDecodeError
        raise errors.BadInput(detail="the form is damaged") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise errors.BadInput(detail="the form has a field twice")
    return form


def _basic(request: Request) -> dict[str, str]:
    """Client id and secret of an ``Authorization: Basic`` header (RFC 6749, section 2.3.1)."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise errors.BadInput(detail="the Authorization header is damaged") from error
    return {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _grant_refused(error: errors.HeadraceError) -> JSONResponse:
    name = next((name for kind, name in _REFUSALS if isinstance(error, kind)), "server_error")
    status = 400 if name in {"invalid_grant", "unsupported_grant_type"} else status_of(error)
    return JSONResponse({"error": name, "error_description": str(error)}, status, {**_SECRET, **hints(error)})
