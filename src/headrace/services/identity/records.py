"""What identity's HTTP takes and gives. There is no ``company`` in what it takes: that comes from the token alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace.access import Kind, Role
from headrace.trust import passwords
from headrace.trust.identities import people

Password = Annotated[str, Field(json_schema_extra={"minLength": passwords.SHORTEST, "maxLength": passwords.LONGEST})]
"""Bounds and patterns are in the schema only: the rows' own checks say in words what is wrong."""
_NAME: dict[str, Any] = {"pattern": f"^{people.NAME.pattern}$"}
_COMPANY: dict[str, Any] = {"pattern": f"^{people.COMPANY.pattern}$"}


class Plain(BaseModel):
    """Base of all: immutable, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(Plain):
    """Base of what is taken in."""

    @model_validator(mode="before")
    @classmethod
    def _company_from_the_token(cls, given: Any) -> Any:
        if isinstance(given, dict) and "company" in given:
            raise ValueError("the company is the one of your token; it cannot be given")
        return given


class Company(Plain):
    """A company of this platform."""

    name: str
    created_ms: int
    people: int = Field(description="users, devices and services")


class NewCompany(Plain):
    """A company and its first administrator."""

    name: str = Field(description="2 to 32 of a-z, 0-9 and -; a letter first", json_schema_extra=_COMPANY)
    admin: str = Field("admin", description="name of its first user, who adds the others", json_schema_extra=_NAME)
    password: Password | None = Field(None, description="his password; without one, one is made and told once")


class Person(Plain):
    """A user, device or service."""

    company: str
    name: str
    kind: Kind
    roles: list[str]
    topics: list[str] = Field(description="topic filters he may publish and subscribe to")
    created_ms: int
    created_by: str


class Added(Person):
    """Somebody who was added just now."""

    password: str | None = Field(None, description="password or secret that was made; it is told this once")


class AddedCompany(Plain):
    """A company that was added just now."""

    company: Company
    admin: Added


class NewPerson(Asked):
    """Somebody to add to one's own company."""

    name: str = Field(description="letters, digits and . _ @ -; unique in the company", json_schema_extra=_NAME)
    kind: Literal["user", "device", "service"] = "user"
    roles: list[Role] | None = Field(
        None, description="default: developer, device or service, as the kind is", min_length=1, max_length=10
    )
    topics: list[str] = Field(
        ["#"], description="topic filters inside the company's topics", min_length=1, max_length=people.TOPICS
    )
    password: Password | None = Field(None, description="chosen; without one, one is made and told once")


class NewPassword(Asked):
    """One's own new password."""

    old: str
    new: Password


class Who(Plain):
    """The caller."""

    company: str
    subject: str
    kind: Kind
    roles: list[str]
    topics: list[str]
    expires_ms: int | None = Field(description="null: his token does not expire")
    companies: int | None = Field(None, description="how many there are; told to operators")


class Url(Plain):
    """An address to open once, soon."""

    url: str


class Deleted(Plain):
    """What is gone."""

    deleted: str


class Rotated(Plain):
    """The key that signs now."""

    kid: str


class NoGrant(Plain):
    """Why no token was given (RFC 6749, section 5.2)."""

    error: str
    error_description: str


class Tokens(Plain):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: str
    expires_in: int = Field(description="seconds")
    refresh_token: str | None = None
