"""The audit log: who did what and when, each line sealed together with the line before it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from marrowscope.store.tables import AuditEntry, AuditHead
from marrowscope.store.timestamps import now

FIRST = "0" * 64
"""Stands before the first line."""
AT_ONCE = 500
"""Lines that are in memory while the log is checked or exported."""
FIELDS = ("seq", "at", "who", "action", "case", "cell", "before", "after", "model_sha256")
SYSTEM = "system"
"""Who does what nobody asked for, such as reading cells."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that was done; what does not apply is empty."""

    who: str
    """Name of the user, or `system`."""
    action: str
    """Such as `case sign`."""
    case: str = ""
    """Public id."""
    cell: str = ""
    """Number of the cell."""
    before: Values | None = None
    after: Values | None = None
    model_sha256: str = ""


@dataclass(frozen=True)
class Broken:
    """Where a log is not what was written."""

    seq: int
    """The first line that is wrong or missing."""
    reason: str


def append(session: Session, *events: Event) -> None:
    """Add lines to the log, in the transaction of what they tell of: both are kept, or neither.

    Writers take turns from here to the end of their transaction, so append last.
    """
    if not events:
        return
    session.flush()
    head = session.scalars(
        select(AuditHead).with_for_update().execution_options(populate_existing=True)
    ).one()
    for event in events:
        entry = _entry(event, head)
        session.add(entry)
        head.seq, head.hash = entry.seq, entry.hash
    session.flush()


def _entry(event: Event, head: AuditHead) -> AuditEntry:
    values = asdict(event) | {"before": _json(event.before), "after": _json(event.after)}
    entry = AuditEntry(
        seq=head.seq + 1, at=now().isoformat(timespec="microseconds"), previous=head.hash, **values
    )
    entry.hash = entry_hash(entry)
    return entry


def _json(values: Values | None) -> str:
    return "" if values is None else json.dumps(values, ensure_ascii=False, sort_keys=True)


def entry_hash(entry: AuditEntry) -> str:
    """Give the SHA-256 of the previous line's hash and this line's fields, a JSON list in UTF-8.

    For an empty first line it is that of `["000...", 1, "", "", "", "", "", "", "", ""]`.
    """
    fields = [entry.previous, *(getattr(entry, name) for name in FIELDS)]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


def verify(session: Session) -> Broken | None:
    """Check every line, and that the log ends where it should; None if all is well.

    A line that was changed, removed, put in or moved is found, and so is a log that was cut
    short. Who can write to the database and computes all later hashes anew, and the last one
    kept beside the log too, is found only by a hash that was exported before.
    """
    previous, seq = FIRST, 0
    for entry in entries(session):
        seq += 1
        if entry.seq != seq:
            return Broken(seq, f"line {seq} is missing: line {entry.seq} stands in its place")
        if entry.previous != previous:
            return Broken(seq, f"line {seq} does not follow from the line before it")
        if entry.hash != entry_hash(entry):
            return Broken(seq, f"line {seq} was changed after it was written")
        previous = entry.hash
    head = session.scalars(select(AuditHead)).one_or_none()
    if head is None or (head.seq, head.hash) != (seq, previous):
        expected = "unknown" if head is None else str(head.seq)
        return Broken(seq + 1, f"the log ends at line {seq}, and should end at line {expected}")
    return None


def last_hash(session: Session) -> str:
    """Give the hash of the last line: kept elsewhere, it proves the whole log up to there."""
    return session.scalars(select(AuditHead.hash)).one()


def entries(session: Session, case: str = "", after: int = 0) -> Iterator[AuditEntry]:
    """Give the lines after a number, in order; those of one case, if it is named."""
    query = select(AuditEntry).order_by(AuditEntry.seq).limit(AT_ONCE)
    if case:
        query = query.where(AuditEntry.case == case)
    while True:
        rows = session.scalars(query.where(AuditEntry.seq > after)).all()
        yield from rows
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].seq
        session.expunge_all()


def count(session: Session, case: str = "") -> int:
    """Count the lines; those of one case, if it is named."""
    query = select(func.count()).select_from(AuditEntry)
    return session.scalar(query.where(AuditEntry.case == case) if case else query) or 0


def as_dict(entry: AuditEntry) -> dict[str, Any]:
    """Give a line as it is exported."""
    values = {name: getattr(entry, name) for name in (*FIELDS, "previous", "hash")}
    for name in ("before", "after"):
        values[name] = json.loads(values[name]) if values[name] else None
    return values


def export(session: Session, case: str = "") -> Iterator[str]:
    """Give the log as lines of JSON."""
    for entry in entries(session, case):
        yield json.dumps(as_dict(entry), ensure_ascii=False)
