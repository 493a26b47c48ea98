"""Links that can be used once to choose a password; the first makes the first administrator."""

from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from marrowscope.errors import DeniedError
from marrowscope.store.audit import SYSTEM, Event, append
from marrowscope.store.credentials import new_secret, secret_hash
from marrowscope.store.enums import Role
from marrowscope.store.tables import Link, User
from marrowscope.store.timestamps import is_between, now
from marrowscope.store.users import make_user, set_password

LASTS = timedelta(hours=24)
DEAD = "this link was used, is too old or never was one; ask for a new one"


def make_link(session: Session, user: User, by: str = SYSTEM) -> str:
    """Make a link with which a user chooses a password; give its secret. Older ones end."""
    session.execute(delete(Link).where(Link.user_id == user.id))
    append(session, Event(by, "user link", after={"user": user.name}))
    return _add(session, user.id)


def first_link(session: Session) -> str | None:
    """Make the link with which the first administrator is made; None once there are users."""
    if _has_users(session):
        return None
    session.execute(delete(Link).where(Link.user_id.is_(None)))
    return _add(session, None)


def _add(session: Session, user_id: int | None) -> str:
    secret, moment = new_secret("link"), now()
    session.add(
        Link(
            secret_hash=secret_hash(secret),
            user_id=user_id,
            created_at=moment,
            expires_at=moment + LASTS,
        )
    )
    session.flush()
    return secret


def look_at_link(session: Session, secret: str) -> User | None:
    """Give the user that a link is for; None for the link of the first administrator.

    Raises:
        DeniedError: the link is used or too old, or there is no such link.
    """
    link = _link(session, secret)
    return None if link.user_id is None else session.get_one(User, link.user_id)


def use_link(session: Session, secret: str, password: str, name: str = "") -> User:
    """Use a link up: set its user's password, or make the first administrator of this name.

    Raises:
        DeniedError: the link is used or too old, or there is no such link.
        StoreError: the password is too short or too long, or the first administrator's name is
            empty, longer than 64 characters or not one line.
    """
    link = _link(session, secret)
    link.used_at = now()
    if link.user_id is None:
        return make_user(session, name, Role.ADMIN, password)
    user = session.get_one(User, link.user_id)
    set_password(session, user, password, user.name)
    return user


def _link(session: Session, secret: str) -> Link:
    """Find a link that can be used, and keep others from using it meanwhile."""
    query = select(Link).where(Link.secret_hash == secret_hash(secret)).with_for_update()
    link = session.scalar(query)
    if link is None or link.used_at is not None:
        raise DeniedError(DEAD)
    if not is_between(now(), link.created_at, link.expires_at):
        raise DeniedError(DEAD)
    if link.user_id is None and _has_users(session):
        raise DeniedError(DEAD)
    return link


def _has_users(session: Session) -> bool:
    return bool(session.scalar(select(func.count()).select_from(User)))
