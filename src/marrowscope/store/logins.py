"""Logins: which browser belongs to which user, until when."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from marrowscope.store.audit import Event, append
from marrowscope.store.moments import is_between, now
from marrowscope.store.secrets import new_secret, secret_hash
from marrowscope.store.tables import Login, User

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
    made = now()
    session.execute(delete(Login).where(Login.expires_at <= made))
    opened = OpenedLogin(new_secret("login"), secrets.token_urlsafe(32))
    session.add(
        Login(
            secret_hash=secret_hash(opened.secret),
            user_id=user.id,
            csrf=opened.csrf,
            created_at=made,
            expires_at=made + lasts,
        )
    )
    append(session, Event(user.name, "login"))
    return opened


def login_of(session: Session, secret: str) -> Login | None:
    """Give the login of a cookie, with its user; None if it is over, or the account is off."""
    login = session.scalar(select(Login).where(Login.secret_hash == secret_hash(secret)))
    if login is None or not login.user.active:
        return None
    return login if is_between(now(), login.created_at, login.expires_at) else None


def close_login(session: Session, secret: str) -> None:
    """Log a browser out; one that is not logged in stays so."""
    session.execute(delete(Login).where(Login.secret_hash == secret_hash(secret)))
