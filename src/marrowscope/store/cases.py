"""Cases: made, listed, searched, shared, archived and deleted; nobody sees another's."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, true
from sqlalchemy.orm import Session

from marrowscope.errors import ConflictError, FrozenError, NotThereError, StoreError
from marrowscope.store.audit import Event, append
from marrowscope.store.enums import CaseState, Role
from marrowscope.store.tables import BlindReading, Case, CaseCell, CellDecision, Job, Member, User
from marrowscope.store.tables import Field as FieldRow
from marrowscope.store.tables import Slide as SlideRow
from marrowscope.store.timestamps import now
from marrowscope.store.users import check_role
from marrowscope.store.validation import needed, one_line

PAGE = 50
Row = TypeVar("Row")


@dataclass(frozen=True)
class Facts:
    """What is known of a sample; what is not is empty."""

    title: str
    """What the laboratory calls it; no patient's name."""
    date: str = ""
    """Date of the sample, such as 2026-03-02."""
    material: str = ""
    stain: str = ""
    um_per_px: float | None = None
    """Side of a pixel on the slide, in micrometres, 0.001 to 10."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows of a list, and how many there are in all."""

    rows: Sequence[Row]
    total: int


def make_case(session: Session, actor: User, facts: Facts) -> Case:
    """Make a case that belongs to a user.

    Raises:
        DeniedError: the user is a reader.
        StoreError: the title is empty, a fact too long or not one line, the date no day, or the
            size of a pixel out of range.
    """
    check_role(actor, Role.REVIEWER, "making a case")
    moment = now()
    case = Case(
        public_id=secrets.token_hex(8),
        owner_id=actor.id,
        created_at=moment,
        changed_at=moment,
        version=1,
        state=CaseState.DRAFT,
        **asdict(checked(facts)),
    )
    session.add(case)
    append(session, Event(actor.name, "case add", case.public_id, after=asdict(case_facts(case))))
    return case


def checked(facts: Facts) -> Facts:
    """Give facts without blanks around them.

    Raises:
        StoreError: the title is empty, a fact too long or not one line, the date no day, or the
            size of a pixel out of range.
    """
    if facts.um_per_px is not None and not 0.001 <= facts.um_per_px <= 10:
        raise StoreError(f"the side of a pixel is 0.001 to 10 micrometres, got {facts.um_per_px:g}")
    return Facts(
        needed("title of the case", facts.title),
        _day(facts.date.strip()),
        one_line("material", facts.material),
        one_line("stain", facts.stain),
        facts.um_per_px,
    )


def _day(text: str) -> str:
    try:
        return text and date.fromisoformat(text).isoformat()
    except ValueError:
        raise StoreError(
            f"the date of the sample is a day such as 2026-03-02, got {text[:40]!r}"
        ) from None


def case_facts(case: Case) -> Facts:
    """Give what is known of a case's sample."""
    return Facts(case.title, case.date, case.material, case.stain, case.um_per_px)


def change_facts(session: Session, actor: User, case: Case, facts: Facts) -> None:
    """Change what is known of a case's sample.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        StoreError: the title is empty, a fact too long or not one line, the date no day, or the
            size of a pixel out of range.
    """
    check_role(actor, Role.REVIEWER, "changing a case")
    change(session, case)
    before, after = asdict(case_facts(case)), asdict(checked(facts))
    if before == after:
        return
    for name, value in after.items():
        setattr(case, name, value)
    append(session, Event(actor.name, "case change", case.public_id, before=before, after=after))


def lock(session: Session, case: Case) -> None:
    """Keep others from changing a case until the transaction ends, and see it as it is now."""
    session.flush()
    session.refresh(case, with_for_update=True)


def change(session: Session, case: Case) -> None:
    """Lock a case to change it, and count the change; a reviewed one is a draft again.

    Raises:
        FrozenError: the case is signed or archived.
    """
    lock(session, case)
    check_open(case)
    case.version += 1
    case.changed_at = now()
    if case.state is CaseState.REVIEWED:
        case.state, case.reviewed_by, case.reviewed_at = CaseState.DRAFT, None, None


def check_open(case: Case) -> None:
    """Check that a case can be changed.

    Raises:
        FrozenError: it is signed or archived.
    """
    if case.state is CaseState.SIGNED:
        raise FrozenError(f"the case {case.title} is signed; reopen it to change it")
    if case.archived_at is not None:
        raise FrozenError(f"the case {case.title} is archived; restore it to change it")


def find_case(session: Session, actor: User, public_id: str) -> Case:
    """Give a case that a user may see.

    Raises:
        NotThereError: there is none, or it is another's: both read the same.
    """
    case = session.scalar(visible_to(actor).where(Case.public_id == public_id))
    if case is None:
        raise NotThereError(f"there is no case {public_id[:32]!r} among yours")
    return case


def visible_to(actor: User) -> Select[Case]:
    """Select the cases that a user may see: all for administrators, own and shared ones else."""
    return select(Case).where(is_visible_to(actor))


def is_visible_to(actor: User) -> ColumnElement[bool]:
    """Say of a case in a query whether a user may see it."""
    if actor.role is Role.ADMIN:
        return true()
    shared = select(Member.case_id).where(Member.user_id == actor.id)
    return or_(Case.owner_id == actor.id, Case.id.in_(shared))


def list_cases(
    session: Session,
    actor: User,
    search: str = "",
    state: CaseState | None = None,
    *,
    archived: bool = False,
    offset: int = 0,
    limit: int = PAGE,
) -> Page[Case]:
    """List the cases that a user may see, the latest first; archived ones apart.

    `search` is looked for in title, material and stain, whatever the case of its letters.
    """
    query = _searched(visible_to(actor), search, archived)
    if state is not None:
        query = query.where(Case.state == state)
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = query.order_by(Case.created_at.desc(), Case.id.desc()).offset(offset).limit(limit)
    return Page(session.scalars(rows).all(), total)


def all_cases(session: Session, search: str = "", *, archived: bool = False) -> Sequence[Case]:
    """Give the cases of everybody, the latest first: for who administers the machine."""
    query = _searched(select(Case), search, archived)
    return session.scalars(query.order_by(Case.created_at.desc(), Case.id.desc())).all()


def _searched(query: Select[Case], search: str, archived: bool) -> Select[Case]:
    query = query.where(Case.archived_at.is_not(None) if archived else Case.archived_at.is_(None))
    if words := search.strip():
        texts = (Case.title, Case.material, Case.stain)
        query = query.where(or_(*(text.icontains(words, autoescape=True) for text in texts)))
    return query


def share(session: Session, actor: User, case: Case, with_user: User) -> None:
    """Let another user see a case.

    Raises:
        DeniedError: the user is a reader.
    """
    check_role(actor, Role.REVIEWER, "sharing a case")
    lock(session, case)
    if session.get(Member, (case.id, with_user.id)) is None:
        session.add(Member(case_id=case.id, user_id=with_user.id))
        after = {"user": with_user.name}
        append(session, Event(actor.name, "case share", case.public_id, after=after))


def unshare(session: Session, actor: User, case: Case, with_user: User) -> None:
    """Take a case from a user's sight again.

    Raises:
        DeniedError: the user is a reader.
    """
    check_role(actor, Role.REVIEWER, "sharing a case")
    lock(session, case)
    if member := session.get(Member, (case.id, with_user.id)):
        session.delete(member)
        before = {"user": with_user.name}
        append(session, Event(actor.name, "case unshare", case.public_id, before=before))


def list_members(session: Session, case: Case) -> Sequence[User]:
    """Give the users, besides the owner and administrators, who may see a case."""
    query = select(User).join(Member, Member.user_id == User.id).where(Member.case_id == case.id)
    return session.scalars(query.order_by(User.folded)).all()


def archive(session: Session, actor: User, case: Case) -> None:
    """Put a case away, signed or not; it can be looked at and restored.

    Raises:
        DeniedError: the user is a reader.
    """
    check_role(actor, Role.REVIEWER, "archiving a case")
    lock(session, case)
    if case.archived_at is None:
        case.archived_at = case.changed_at = now()
        append(session, Event(actor.name, "case archive", case.public_id))


def restore(session: Session, actor: User, case: Case) -> None:
    """Take a case out of the archive.

    Raises:
        DeniedError: the user is a reader.
    """
    check_role(actor, Role.REVIEWER, "restoring a case")
    lock(session, case)
    if case.archived_at is not None:
        case.archived_at, case.changed_at = None, now()
        append(session, Event(actor.name, "case restore", case.public_id))


def delete_case(session: Session, actor: User, case: Case, confirmed: str) -> None:
    """Delete a case with its fields, cells, decisions and jobs for good; its audit lines stay.

    `confirmed` is the title, typed by who deletes. Pictures that no case has any more are removed
    by `room.sweep`.

    Raises:
        DeniedError: the user neither owns the case nor is an administrator.
        ConflictError: the title is another.
        FrozenError: the case is signed.
    """
    check_role(
        actor, Role.REVIEWER if actor.id == case.owner_id else Role.ADMIN, "deleting this case"
    )
    lock(session, case)
    if confirmed.strip() != case.title:
        raise ConflictError(f"to delete the case, confirm it by its title, {case.title!r}")
    if case.state is CaseState.SIGNED:
        raise FrozenError(f"the case {case.title} is signed; reopen it before it is deleted")
    before = asdict(case_facts(case))
    event = Event(actor.name, "case delete", case.public_id, before=before)
    for table in (CellDecision, BlindReading, Job, CaseCell, FieldRow, SlideRow, Member):
        session.execute(delete(table).where(table.case_id == case.id))
    session.delete(case)
    append(session, event)
