"""Users: local accounts with a role, and a password of which only a hash is kept."""

from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from marrowscope.errors import ConflictError, DeniedError, NotThereError, StoreError
from marrowscope.store.audit import SYSTEM, Event, append
from marrowscope.store.enums import Role, at_least
from marrowscope.store.tables import AuditHead, Login, Token, User
from marrowscope.store.timestamps import now
from marrowscope.store.validation import needed

SHORTEST, LONGEST = 12, 1024
"""Characters of a password."""
WRONG = "the name or the password is wrong"
HASHER = PasswordHasher()
"""argon2id with the library's present settings; hashes by older ones are renewed at login."""


def make_user(
    session: Session, name: str, role: Role, password: str = "", by: str = SYSTEM
) -> User:
    """Make an account; without a password, it is used by a link (`links.make_link`).

    Raises:
        ConflictError: there is one of this name, in whatever case of letters.
        StoreError: the name is empty, longer than 64 characters or not one line, or the password
            is too short or too long.
    """
    called = needed("name of the user", name, 64)
    _take_turns(session)
    if session.scalar(select(User).where(User.folded == called.casefold())):
        raise ConflictError(f"there is a user {called!r} already; choose another name")
    hashed = hash_password(password) if password else ""
    user = User(
        name=called,
        folded=called.casefold(),
        role=role,
        password_hash=hashed,
        active=True,
        created_at=now(),
    )
    session.add(user)
    append(session, Event(by, "user add", after={"user": called, "role": role.value}))
    return user


def hash_password(password: str) -> str:
    """Hash a password with argon2id.

    Raises:
        StoreError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise StoreError(f"a password has {SHORTEST} to {LONGEST} characters; got {len(password)}")
    return HASHER.hash(password.encode("utf-8", "replace"))


def check_password(session: Session, name: str, password: str) -> User:
    """Give the user whose name and password these are; an unknown name takes as long as a known.

    Raises:
        DeniedError: they are nobody's, or the account is switched off.
    """
    user = session.scalar(select(User).where(User.folded == name.strip().casefold()))
    hashed = user.password_hash if user and user.password_hash else _nobodys()
    fits = len(password) <= LONGEST and _fits(hashed, password)
    if user is None or not user.password_hash or not user.active or not fits:
        raise DeniedError(WRONG)
    if HASHER.check_needs_rehash(hashed):
        user.password_hash = hash_password(password)
    return user


@cache
def _nobodys() -> str:
    return HASHER.hash("of no account")


def _fits(hashed: str, password: str) -> bool:
    try:
        return HASHER.verify(hashed, password.encode("utf-8", "replace"))
    except (VerificationError, InvalidHashError):
        return False


def set_password(session: Session, user: User, password: str, by: str) -> None:
    """Give a user a new password, and log all their browsers out.

    Raises:
        StoreError: it is too short or too long.
    """
    hashed = hash_password(password)
    session.refresh(user, with_for_update=True)
    user.password_hash = hashed
    session.execute(delete(Login).where(Login.user_id == user.id))
    append(session, Event(by, "user password", after={"user": user.name}))


def change_role(session: Session, user: User, role: Role, by: str) -> None:
    """Give a user another role.

    Raises:
        ConflictError: it is the last administrator.
    """
    session.refresh(user, with_for_update=True)
    if role is user.role:
        return
    _check_not_last(session, user)
    before = {"user": user.name, "role": user.role.value}
    user.role = role
    append(session, Event(by, "user role", before=before, after={"role": role.value}))


def switch(session: Session, user: User, by: str, *, active: bool) -> None:
    """Switch an account off, with all its logins and tokens, or on again; none is ever deleted.

    Raises:
        ConflictError: it is the last administrator.
    """
    session.refresh(user, with_for_update=True)
    if user.active == active:
        return
    if not active:
        _check_not_last(session, user)
        session.execute(delete(Login).where(Login.user_id == user.id))
        for token in session.scalars(select(Token).where(Token.user_id == user.id)):
            token.revoked_at = token.revoked_at or now()
    user.active = active
    append(session, Event(by, f"user {'on' if active else 'off'}", after={"user": user.name}))


def _check_not_last(session: Session, user: User) -> None:
    _take_turns(session)
    if user.role is Role.ADMIN and user.active and admins(session) == 1:
        raise ConflictError(f"{user.name} is the last administrator; make another one first")


def _take_turns(session: Session) -> None:
    """Lock what all writers lock, so that what is checked holds until the transaction ends."""
    session.execute(select(AuditHead).with_for_update())


def admins(session: Session) -> int:
    """Count the administrators whose accounts are on."""
    query = select(func.count()).select_from(User).where(User.role == Role.ADMIN, User.active)
    return session.scalar(query) or 0


def list_users(session: Session) -> Sequence[User]:
    """Give all users by name, those switched off too."""
    return session.scalars(select(User).order_by(User.folded)).all()


def user_called(session: Session, name: str) -> User:
    """Give the user of a name.

    Raises:
        NotThereError: there is none.
    """
    user = session.scalar(select(User).where(User.folded == name.strip().casefold()))
    if user is None:
        raise NotThereError(f"there is no user {name!r}")
    return user


def check_role(user: User, needed_role: Role, task: str) -> None:
    """Check that a user may do something that needs a role.

    Raises:
        DeniedError: the role is too low, or the account is off.
    """
    if not user.active or not at_least(user.role, needed_role):
        raise DeniedError(f"{user.name} is {_a(user.role)}; {task} needs {_a(needed_role)}")


def _a(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"
