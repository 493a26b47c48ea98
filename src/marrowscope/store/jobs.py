"""Jobs: work behind the pages that a worker takes, renews and ends; a dead worker's is taken up."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from marrowscope.errors import LostJobError
from marrowscope.store.enums import JobState
from marrowscope.store.tables import Case, Job
from marrowscope.store.timestamps import now

LEASE = timedelta(seconds=60)
"""So long a job belongs to a worker that is not heard of."""
NEVER_GIVEN = timedelta(hours=1)
"""A lease with more time left than this was given before the clock was set back, and is over."""
ATTEMPTS = 5
"""A job whose worker has died or failed so often has failed itself."""
TURN = 5_201_314_072
"""Key of the lock that who looks for a job on PostgreSQL holds."""
DIED = "its worker was not heard of any more, {} times"


def add_job(
    session: Session,
    kind: str,
    case: Case | None = None,
    total: int = 0,
    settings: dict[str, Any] | None = None,
) -> Job:
    """Queue a job; `total` is what its progress ends at."""
    moment = now()
    job = Job(
        kind=kind,
        case_id=case and case.id,
        total=total,
        settings=settings or {},
        state=JobState.QUEUED,
        done=0,
        attempts=0,
        created_at=moment,
        changed_at=moment,
    )
    session.add(job)
    session.flush()
    return job


def add_job_once(session: Session, kind: str, case: Case, total: int = 0) -> Job:
    """Queue a job for a case, unless one of its kind waits already; the case must be locked.

    One that runs may be past what is new, so another is queued behind it.
    """
    query = select(Job).where(
        Job.kind == kind, Job.case_id == case.id, Job.state == JobState.QUEUED
    )
    job = session.scalars(query.limit(1).with_for_update(skip_locked=True)).first()
    if job is None:
        return add_job(session, kind, case, total)
    job.total = max(job.total, total)
    return job


def take_job(
    session: Session, owner: str, kinds: Sequence[str] = (), lease: timedelta = LEASE
) -> Job | None:
    """Take the oldest job that nobody works on, of some kinds or any; None if there is none.

    A job is nobody's if it is queued, or its worker's lease is over. Of jobs for one case, only
    one runs at a time. Several processes may ask at once: each gets another job.
    """
    _take_turns(session)
    while True:
        job = session.scalars(_free(kinds)).first()
        if job is None:
            return None
        if job.attempts < ATTEMPTS:
            break
        _end(job, JobState.FAILED, job.error or DIED.format(job.attempts))
        session.flush()
    job.state, job.owner = JobState.RUNNING, owner
    job.attempts += 1
    job.changed_at = now()
    job.lease_until = job.changed_at + lease
    session.flush()
    return job


def _take_turns(session: Session) -> None:
    """Let one process look for a job at a time; on SQLite, writers take turns anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(TURN)))


def _free(kinds: Sequence[str]) -> Select[Job]:
    moment = now()
    rival = Job.__table__.alias("other")
    busy = (
        select(rival.c.id)
        .where(
            rival.c.case_id == Job.case_id,
            rival.c.id != Job.id,
            rival.c.state == JobState.RUNNING,
            rival.c.lease_until > moment,
            rival.c.lease_until <= moment + NEVER_GIVEN,
        )
        .exists()
    )
    ended = or_(Job.lease_until <= moment, Job.lease_until > moment + NEVER_GIVEN)
    over = and_(Job.state == JobState.RUNNING, ended)
    query = select(Job).where(or_(and_(Job.state == JobState.QUEUED, ~busy), over))
    if kinds:
        query = query.where(Job.kind.in_(kinds))
    return query.order_by(Job.id).limit(1).with_for_update(skip_locked=True, of=Job)


def keep_job(
    session: Session,
    job_id: int,
    owner: str,
    done: int,
    *,
    total: int | None = None,
    lease: timedelta = LEASE,
) -> None:
    """Write down how far a job has come, and keep it; do so in the transaction of its results.

    Raises:
        LostJobError: another worker has it by now: stop, and keep nothing.
    """
    job = _own(session, job_id, owner)
    job.done, job.changed_at = done, now()
    job.total = job.total if total is None else total
    job.lease_until = job.changed_at + lease
    session.flush()


def finish_job(session: Session, job_id: int, owner: str) -> None:
    """End a job that is done.

    Raises:
        LostJobError: another worker has it by now.
    """
    job = _own(session, job_id, owner)
    job.done = job.total = max(job.done, job.total)
    _end(job, JobState.DONE)


def fail_job(session: Session, job_id: int, owner: str, error: str, *, retry: bool = True) -> None:
    """Give a job back that went wrong: to be tried again, or for good after the fifth time.

    Without `retry` it has failed for good at once.

    Raises:
        LostJobError: another worker has it by now.
    """
    job = _own(session, job_id, owner)
    state = JobState.QUEUED if retry and job.attempts < ATTEMPTS else JobState.FAILED
    _end(job, state, error[:1000])


def release_job(session: Session, job_id: int, owner: str) -> None:
    """Give a job back because the worker stops; this is no failed attempt.

    Raises:
        LostJobError: another worker has it by now.
    """
    job = _own(session, job_id, owner)
    job.attempts -= 1
    _end(job, JobState.QUEUED)


def _own(session: Session, job_id: int, owner: str) -> Job:
    query = select(Job).where(Job.id == job_id).with_for_update()
    job = session.scalar(query.execution_options(populate_existing=True))
    if job is None or job.state is not JobState.RUNNING or job.owner != owner:
        raise LostJobError(f"job {job_id} does not belong to {owner} any more")
    return job


def _end(job: Job, state: JobState, error: str = "") -> None:
    job.state, job.owner, job.lease_until = state, "", None
    job.error, job.changed_at = error, now()


def list_jobs(session: Session, case: Case, limit: int = 20) -> Sequence[Job]:
    """Give the jobs of a case, the latest first, at most `limit`."""
    query = select(Job).where(Job.case_id == case.id).order_by(Job.id.desc()).limit(limit)
    return session.scalars(query).all()


def jobs_by_state(session: Session) -> dict[JobState, int]:
    """Count all jobs by their state; 0 for states without any."""
    rows = session.execute(select(Job.state, func.count()).group_by(Job.state))
    counts = {row[0]: row[1] for row in rows}
    return {state: counts.get(state, 0) for state in JobState}
