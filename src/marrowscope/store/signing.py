"""Sign-off: a draft is reviewed, then signed and frozen; reopening is recorded with its reason."""

import hashlib
import json
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.errors import ConflictError
from marrowscope.store.audit import Event, append
from marrowscope.store.blind_reading import list_readings
from marrowscope.store.cases import check_open, lock
from marrowscope.store.cells import case_progress
from marrowscope.store.enums import CaseState, FieldState, Role
from marrowscope.store.fields import fields_by_state
from marrowscope.store.tables import Case, CaseCell, User
from marrowscope.store.timestamps import now
from marrowscope.store.users import check_role
from marrowscope.store.validation import needed


def mark_reviewed(session: Session, actor: User, case: Case, version: int) -> None:
    """Say that the review of a draft is done; any later change makes it a draft again.

    `version` is that of the case as the user saw it.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        ConflictError: the case has changed since, no cell of it was read, or cells, fields or
            blind readings of it are not done.
    """
    check_role(actor, Role.REVIEWER, "reviewing a case")
    _check_seen(session, case, version)
    _check_done(session, case)
    if case.state is CaseState.REVIEWED:
        return
    case.state, case.reviewed_by, case.reviewed_at = CaseState.REVIEWED, actor.id, now()
    _record(session, actor, case, "case review", CaseState.DRAFT)


def sign(session: Session, actor: User, case: Case, version: int) -> None:
    """Sign a reviewed case: from now on nothing of it changes; a seal of all of it is kept.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        ConflictError: the case is a draft, or has changed since the user saw it.
    """
    check_role(actor, Role.REVIEWER, "signing a case")
    _check_seen(session, case, version)
    if case.state is not CaseState.REVIEWED:
        raise ConflictError(f"the case {case.title} is a draft; finish its review before signing")
    _check_done(session, case)
    case.state, case.signed_by, case.signed_at = CaseState.SIGNED, actor.id, now()
    case.seal = compute_seal(session, case)
    _record(session, actor, case, "case sign", CaseState.REVIEWED)


def reopen(session: Session, actor: User, case: Case, reason: str) -> None:
    """Make a signed case a draft again, for a reason that is recorded.

    Raises:
        DeniedError: the user is a reader.
        ConflictError: the case is not signed, or archived.
        StoreError: the reason is empty, longer than 500 characters or not one line.
    """
    check_role(actor, Role.REVIEWER, "reopening a case")
    why = needed("reason for reopening", reason, 500)
    lock(session, case)
    if case.state is not CaseState.SIGNED or case.archived_at is not None:
        raise ConflictError(f"the case {case.title} is not signed, or archived")
    before = _standing(case)
    case.state, case.changed_at = CaseState.DRAFT, now()
    case.version += 1
    case.reviewed_by = case.reviewed_at = case.signed_by = case.signed_at = None
    case.seal = ""
    after = {"state": case.state.value, "reason": why}
    append(session, _event(actor, case, "case reopen", before, after))


def compute_seal(session: Session, case: Case) -> str:
    """Give the SHA-256 of what is signed, in hexadecimal.

    That is the case's facts and model, and every cell with its classes and who decided on it.
    """
    digest = hashlib.sha256()
    for line in _lines(session, case):
        digest.update(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def seal_holds(session: Session, case: Case) -> bool:
    """Tell whether a signed case is still what was signed."""
    return bool(case.seal) and case.seal == compute_seal(session, case)


def _lines(session: Session, case: Case) -> Iterator[list[object]]:
    facts = (case.title, case.date, case.material, case.stain, case.um_per_px)
    bundle = [case.bundle_sha256] if case.bundle_sha256 else []  # older seals go without it
    yield [case.public_id, *facts, case.bundle, case.model_sha256, list(case.classes), *bundle]
    columns = (
        CaseCell.sha256,
        CaseCell.file,
        CaseCell.state,
        CaseCell.machine,
        CaseCell.label,
        CaseCell.decided_by,
    )
    query = select(*columns).where(CaseCell.case_id == case.id).order_by(CaseCell.id)
    for row in session.execute(query):
        yield list(row)


def _check_seen(session: Session, case: Case, version: int) -> None:
    lock(session, case)
    check_open(case)
    if case.version != version:
        raise ConflictError(
            f"the case {case.title} has changed since you saw it (version {version}, now "
            f"{case.version}); look at it again"
        )


def _check_done(session: Session, case: Case) -> None:
    progress = case_progress(session, case)
    if not progress.read:
        raise ConflictError(f"the case {case.title} has no cells that were read")
    if progress.waiting:
        raise ConflictError(f"{progress.waiting:,} cells of the case {case.title} wait to be read")
    if looking := fields_by_state(session, case)[FieldState.WAITING]:
        raise ConflictError(f"{looking:,} fields of the case {case.title} wait to be looked at")
    still = [
        reading.user.name for reading in list_readings(session, case) if reading.closed_at is None
    ]
    if still:
        raise ConflictError(f"{', '.join(still)} still reads the case {case.title} blind")


def _record(session: Session, actor: User, case: Case, action: str, before: CaseState) -> None:
    case.changed_at = now()
    append(session, _event(actor, case, action, {"state": before.value}, _standing(case)))


def _standing(case: Case) -> dict[str, str | int]:
    return {"state": case.state.value, "version": case.version, "seal": case.seal}


def _event(
    actor: User,
    case: Case,
    action: str,
    before: dict[str, str | int],
    after: dict[str, str | int] | dict[str, str],
) -> Event:
    return Event(actor.name, action, case.public_id, "", before, after, case.model_sha256)
