"""The worker's part that finds the cells of fields, one field after the other."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from marrowscope.errors import LostJobError
from marrowscope.store.cells import case_progress
from marrowscope.store.detect import look
from marrowscope.store.enums import FieldState
from marrowscope.store.fields import fields_by_state, keep_found, neighbours_scale, next_field
from marrowscope.store.import_case import READ
from marrowscope.store.jobs import add_job_once, keep_job
from marrowscope.store.tables import Case, Job
from marrowscope.web.state import Room


def find_on_next(
    room: Room, job: Job, owner: str, lease: timedelta, reader: ThreadPoolExecutor
) -> bool:
    """Find the cells of the next field of a case and keep them; tell whether there was one.

    They are found by the thread of a `reader`, which gives way to the pages.

    Raises:
        LostJobError: another worker has the job by now, or the case was deleted.
        FrozenError: the case was signed or archived meanwhile.
        StoreError: the store of the pictures does not answer, or the field was changed in it.
    """
    with room.store.read() as session:
        case = _case(session.get(Case, job.case_id), job)
        field = next_field(session, case)
        most = room.settings.limits.cells - case_progress(session, case).total
        others = neighbours_scale(session, case, field) if field else None
    if field is None:
        return False
    field_um = room.bundle.preprocessing.field_um
    arguments = (room.blobs, field, (case.um_per_px, others), field_um, max(0, most))
    outcome = reader.submit(look, *arguments).result()
    with room.store.write() as session:
        now = _case(session.get(Case, job.case_id), job)
        if keep_found(session, now, field.id, outcome):
            add_job_once(session, READ, now, case_progress(session, now).total)
        states = fields_by_state(session, now)
        total = sum(states.values())
        done = total - states[FieldState.WAITING]
        keep_job(session, job.id, owner, done, total=total, lease=lease)
    return True


def _case(case: Case | None, job: Job) -> Case:
    if case is None:
        raise LostJobError(f"the case of job {job.id} was deleted")
    return case
