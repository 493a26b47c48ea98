"""Tokens: keys with which a user's programs come in; each can be revoked."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.errors import NotThereError
from marrowscope.store.audit import Event, append
from marrowscope.store.moments import now
from marrowscope.store.secrets import new_secret, secret_hash
from marrowscope.store.tables import Token, User
from marrowscope.store.texts import needed

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


def token_of(session: Session, secret: str) -> Token | None:
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
