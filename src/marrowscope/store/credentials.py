"""Logins: which browser belongs to which user, until when."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from marrowscope.errors import NotThereError
from marrowscope.store.audit import Event, append
from marrowscope.store.tables import Login, Token, User
from marrowscope.store.timestamps import is_between, now
from marrowscope.store.validation import needed

BYTES = 32


def new_secret(kind: str) -> str:
    """Make a secret that cannot be guessed; its beginning says what it is for."""
    return f"{kind}_{secrets.token_urlsafe(BYTES)}"


def secret_hash(secret: str) -> str:
    """Give the SHA-256 of a secret in hexadecimal; long and random, it needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


LASTS = timedelta(hours=12)


@dataclass(frozen=True)
class OpenedLogin:
    """What a browser is given at login."""

    secret: str
    """For the cookie; it is shown this once."""
    csrf: str
    """For the forms of this login."""


def open_login(session: Session, user: User, lasts: timedelta = LASTS) -> OpenedLogin:
    """Log a user in whose password was checked; logins that are over are removed."""
    moment = now()
    session.execute(delete(Login).where(Login.expires_at <= moment))
    opened = OpenedLogin(new_secret("login"), secrets.token_urlsafe(32))
    session.add(
        Login(
            secret_hash=secret_hash(opened.secret),
            user_id=user.id,
            csrf=opened.csrf,
            created_at=moment,
            expires_at=moment + lasts,
        )
    )
    append(session, Event(user.name, "login"))
    return opened


def find_login(session: Session, secret: str) -> Login | None:
    """Give the login of a cookie, with its user; None if it is over, or the account is off."""
    login = session.scalar(select(Login).where(Login.secret_hash == secret_hash(secret)))
    if login is None or not login.user.active:
        return None
    return login if is_between(now(), login.created_at, login.expires_at) else None


def close_login(session: Session, secret: str) -> None:
    """Log a browser out; one that is not logged in stays so."""
    session.execute(delete(Login).where(Login.secret_hash == secret_hash(secret)))


SELDOM = timedelta(minutes=1)
"""The time of the last use is written once in so long, so that reading need not write."""


def make_token(session: Session, user: User, name: str) -> tuple[Token, str]:
    """Make a token with a name; give it and its secret, which is shown this once.

    Raises:
        StoreError: the name is empty, longer than 64 characters or not one line.
    """
    secret = new_secret("marrow")
    token = Token(
        secret_hash=secret_hash(secret),
        user_id=user.id,
        name=needed("name of the token", name, 64),
        created_at=now(),
    )
    session.add(token)
    append(session, Event(user.name, "token add", after={"token": token.name}))
    return token, secret


def find_token(session: Session, secret: str) -> Token | None:
    """Give the token of a secret, with its user; None if revoked, or the account is off."""
    token = session.scalar(select(Token).where(Token.secret_hash == secret_hash(secret)))
    if token is None or token.revoked_at is not None or not token.user.active:
        return None
    return token


def is_due(token: Token) -> bool:
    """Tell whether `touch` has something to write."""
    return token.used_at is None or now() - token.used_at > SELDOM


def touch(session: Session, token_id: int) -> None:
    """Write down that a token was used just now."""
    session.get_one(Token, token_id).used_at = now()


def list_tokens(session: Session, user: User) -> Sequence[Token]:
    """Give a user's tokens, the newest first, those revoked too."""
    return session.scalars(
        select(Token).where(Token.user_id == user.id).order_by(Token.id.desc())
    ).all()


def revoke_token(session: Session, user: User, token_id: int) -> None:
    """End one of a user's tokens; one that has ended stays so.

    Raises:
        NotThereError: the user has no such token.
    """
    token = session.get(Token, token_id)
    if token is None or token.user_id != user.id:
        raise NotThereError(f"{user.name} has no token {token_id}")
    if token.revoked_at is None:
        token.revoked_at = now()
        append(session, Event(user.name, "token revoke", before={"token": token.name}))
