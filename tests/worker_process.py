"""A worker for tests, as a process: it takes jobs, writes down each cell it read, and may hang."""

import sys
from datetime import timedelta

from store_fixtures import BUNDLE, reading

from marrowscope.store.cells import keep_readings, waiting
from marrowscope.store.database import Store, open_store
from marrowscope.store.jobs import finish_job, keep_job, take_job
from marrowscope.store.tables import Case


def work(store: Store, owner: str, lease: timedelta, hang_after: int) -> None:
    """Do jobs until there is none; hang after so many batches with a transaction half done."""
    batches = 0
    while True:
        with store.write() as session:
            job = take_job(session, owner, lease=lease)
        if job is None:
            return
        print("took", job.id, flush=True)
        done = job.done
        while True:
            with store.write() as session:
                case = session.get_one(Case, job.case_id)
                rows = waiting(session, case, 2)
                outcomes = {row.id: reading(row.id) for row in rows}
                done += keep_readings(session, case, BUNDLE, outcomes)
                keep_job(session, job.id, owner, done, lease=lease)
                if not rows:
                    finish_job(session, job.id, owner)
                    break
                batches += 1
                if batches > hang_after:
                    print("hangs", flush=True)
                    sys.stdin.read()
            print("kept", *outcomes, flush=True)


if __name__ == "__main__":
    work(
        open_store(sys.argv[1]), sys.argv[2], timedelta(seconds=int(sys.argv[3])), int(sys.argv[4])
    )
