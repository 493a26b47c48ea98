"""Users, for administrators; and everybody's own tokens."""

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from marrowscope.store.credentials import list_tokens, make_token, revoke_token
from marrowscope.store.enums import Role
from marrowscope.store.invitations import make_link
from marrowscope.store.tables import Token, User
from marrowscope.store.users import change_role, list_users, make_user, switch, user_called
from marrowscope.web.auth import Admin, InRoom, Me
from marrowscope.web.params import Number, Words

router = APIRouter(tags=["users"])


class UserOut(BaseModel):
    """An account."""

    name: str
    role: Role
    active: bool
    created_at: datetime
    has_password: bool
    """Whether a password was chosen; else the account waits for its link to be used."""


class UserIn(BaseModel):
    """A new account."""

    name: Words
    role: Role


class UserChange(BaseModel):
    """What is to be changed of an account; what is left away stays."""

    role: Role | None = None
    active: bool | None = None


class LinkOut(BaseModel):
    """A link that can be used once within a day to choose a password."""

    user: str
    secret: str
    path: str
    """To be put behind the address of the server."""


class TokenIn(BaseModel):
    """A new token."""

    name: Words


class TokenOut(BaseModel):
    """A key for programs, without its secret."""

    id: int
    name: str
    created_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class NewToken(TokenOut):
    """A token with its secret."""

    secret: str
    """Shown this once."""


def _user(user: User) -> UserOut:
    return UserOut(
        name=user.name,
        role=user.role,
        active=user.active,
        created_at=user.created_at,
        has_password=bool(user.password_hash),
    )


def link_path(secret: str) -> str:
    """Give the address of a link; what follows the # is never sent, so no log has it."""
    return f"/welcome#{secret}"


@router.get("/users")
def users(caller: Admin, room: InRoom) -> list[UserOut]:  # noqa: ARG001 - it needs one
    """List all accounts; for administrators."""
    with room.store.read() as session:
        return [_user(user) for user in list_users(session)]


@router.get("/users/names")
def names(caller: Me, room: InRoom) -> list[str]:  # noqa: ARG001 - it needs a login
    """Name the users whose accounts are on, to share a case with."""
    with room.store.read() as session:
        return [user.name for user in list_users(session) if user.active]


@router.post("/users", status_code=201)
def add_user(caller: Admin, room: InRoom, user: UserIn) -> LinkOut:
    """Make an account, whose user chooses a password by the link; for administrators."""
    with room.store.write() as session:
        made = make_user(session, user.name, user.role, by=caller.user.name)
        session.flush()
        secret = make_link(session, made, caller.user.name)
        return LinkOut(user=made.name, secret=secret, path=link_path(secret))


@router.post("/users/{name}/link")
def new_link(caller: Admin, room: InRoom, name: Words) -> LinkOut:
    """Make a link with which a user chooses a new password; for administrators.

    The old password works until then; earlier links of the user end.
    """
    with room.store.write() as session:
        user = user_called(session, name)
        secret = make_link(session, user, caller.user.name)
        return LinkOut(user=user.name, secret=secret, path=link_path(secret))


@router.patch("/users/{name}")
def change_user(caller: Admin, room: InRoom, name: Words, change: UserChange) -> UserOut:
    """Give an account another role, or switch it off or on; for administrators."""
    with room.store.write() as session:
        user = user_called(session, name)
        if change.role is not None:
            change_role(session, user, change.role, caller.user.name)
        if change.active is not None:
            switch(session, user, caller.user.name, active=change.active)
        return _user(user)


def _token(token: Token) -> TokenOut:
    return TokenOut.model_validate(token, from_attributes=True)


@router.get("/tokens")
def tokens(caller: Me, room: InRoom) -> list[TokenOut]:
    """List your tokens, those revoked too."""
    with room.store.read() as session:
        return [_token(token) for token in list_tokens(session, caller.user)]


@router.post("/tokens", status_code=201)
def add_token(caller: Me, room: InRoom, token: TokenIn) -> NewToken:
    """Make a token; its secret is shown this once."""
    with room.store.write() as session:
        made, secret = make_token(session, caller.user, token.name)
        return NewToken(**_token(made).model_dump(), secret=secret)


@router.delete("/tokens/{number}", status_code=204)
def end_token(caller: Me, room: InRoom, number: Number) -> Response:
    """Revoke one of your tokens."""
    with room.store.write() as session:
        revoke_token(session, caller.user, number)
    return Response(status_code=204)
