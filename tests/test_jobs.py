"""Jobs: real processes take them side by side, are killed in the middle, and nothing is lost."""

import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from sqlalchemy import select
from sqlalchemy.orm import Session
from store_fixtures import people, picture

from marrowscope.errors import ConflictError, LostJobError
from marrowscope.store.cases import Facts, make_case
from marrowscope.store.cells import add_cells, case_progress
from marrowscope.store.database import Store
from marrowscope.store.enums import JobState
from marrowscope.store.idempotency import answered, remember
from marrowscope.store.jobs import (
    ATTEMPTS,
    add_job,
    add_job_once,
    fail_job,
    finish_job,
    jobs_by_state,
    keep_job,
    list_jobs,
    release_job,
    take_job,
)
from marrowscope.store.tables import Case, Job, User

WORKER = Path(__file__).with_name("worker_process.py")
OVER = timedelta(0)


def worker(
    database: str, name: str, lease: int = 600, hang_after: int = 10**6
) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), database, name, str(lease), str(hang_after)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def waiting_case(session: Session, who: User, cells: int, title: str = "A-1") -> Case:
    case = make_case(session, who, Facts(title))
    add_cells(session, who, case, "1", list(map(picture, range(cells))))
    add_job(session, "read", case, cells)
    return case


def test_a_killed_workers_job_is_taken_up_and_nothing_kept_is_read_again(
    database: str, store: Store
) -> None:
    with store.write() as session:
        case = waiting_case(session, people(session).ada, 9)
    with worker(database, "first", lease=1, hang_after=2) as first:
        assert first.stdout is not None
        said = [first.stdout.readline().split() for _ in range(4)]
        first.kill()
    assert [words[0] for words in said] == ["took", "kept", "kept", "hangs"]
    with store.read() as session:
        assert case_progress(session, case).read == 4
        (job,) = list_jobs(session, case)
        assert (job.state, job.done, job.owner) == (JobState.RUNNING, 4, "first")
        lease = job.lease_until
    assert lease is not None
    end = time.monotonic() + PATIENCE_S
    read: list[str] = []
    while time.monotonic() < end and not read:
        with worker(database, "second") as second:
            output, errors = second.communicate(timeout=PATIENCE_S)
            assert errors == ""
            read = [cell for line in output.splitlines()[1:] for cell in line.split()[1:]]
    kept = [cell for words in said[1:3] for cell in words[1:]]
    assert sorted(map(int, kept + read)) == list(range(1, 10))
    with store.read() as session:
        assert case_progress(session, case).read == 9
        (job,) = list_jobs(session, case)
        assert (job.state, job.done, job.attempts) == (JobState.DONE, 9, 2)


def test_workers_side_by_side_read_every_cell_once(database: str, store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        cases = [waiting_case(session, ada, 7, f"A-{number}") for number in range(4)]
        add_job(session, "read", cases[0], 7)
    workers = [worker(database, f"worker {number}") for number in range(3)]
    said = [each.communicate(timeout=PATIENCE_S) for each in workers]
    assert [errors for _, errors in said] == ["", "", ""]
    lines = [line.split() for output, _ in said for line in output.splitlines()]
    taken = Counter(words[1] for words in lines if words[0] == "took")
    read = Counter(cell for words in lines if words[0] == "kept" for cell in words[1:])
    assert set(taken.values()) == {1}
    assert (len(read), set(read.values())) == (28, {1})
    with store.read() as session:
        assert jobs_by_state(session) == dict.fromkeys(JobState, 0) | {JobState.DONE: 5}


def test_of_one_case_one_job_runs_at_a_time(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        one, other = waiting_case(session, ada, 1), waiting_case(session, ada, 1, "A-2")
        behind = add_job(session, "read", one)
        first = take_job(session, "a")
        second = take_job(session, "b")
        assert first is not None
        assert second is not None
        assert (first.case_id, second.case_id) == (one.id, other.id)
        assert take_job(session, "c") is None
        finish_job(session, first.id, "a")
        assert take_job(session, "c") is behind
        assert take_job(session, "c", kinds=["other"]) is None


def test_what_a_worker_lost_it_cannot_change(store: Store) -> None:
    with store.write() as session:
        waiting_case(session, people(session).ada, 1)
        job = take_job(session, "a", lease=OVER)
        assert job is not None
        assert take_job(session, "b") is job
        words = f"job {job.id} does not belong to a any more"
        with pytest.raises(LostJobError, match=words):
            keep_job(session, job.id, "a", 1)
        with pytest.raises(LostJobError, match=words):
            finish_job(session, job.id, "a")
        finish_job(session, job.id, "b")
        with pytest.raises(LostJobError):
            release_job(session, job.id, "b")


def test_a_job_that_kills_its_workers_fails_at_last(store: Store) -> None:
    with store.write() as session:
        waiting_case(session, people(session).ada, 1)
        for _ in range(ATTEMPTS):
            assert take_job(session, "a", lease=OVER) is not None
        assert take_job(session, "a", lease=OVER) is None
        job = session.scalars(select(Job)).one()
        assert (job.state, job.error) == (
            JobState.FAILED,
            "its worker was not heard of any more, 5 times",
        )


def test_a_job_that_goes_wrong_is_tried_again_five_times(store: Store) -> None:
    with store.write() as session:
        job = add_job(session, "sweep")
        for attempt in range(ATTEMPTS):
            assert job.state is JobState.QUEUED
            assert take_job(session, "a") is job
            fail_job(session, job.id, "a", f"error {attempt}")
        assert (job.state, job.error) == (JobState.FAILED, "error 4")
        given_back = add_job(session, "sweep")
        assert take_job(session, "a") is given_back
        release_job(session, given_back.id, "a")
        assert (given_back.state, given_back.attempts) == (JobState.QUEUED, 0)
        assert take_job(session, "a") is given_back
        fail_job(session, given_back.id, "a", "the bundle is broken", retry=False)
        assert given_back.state is JobState.FAILED


def test_a_job_that_waits_is_not_queued_twice(store: Store) -> None:
    with store.write() as session:
        case = make_case(session, people(session).ada, Facts("A-1"))
        first = add_job_once(session, "read", case, 3)
        assert add_job_once(session, "read", case, 5) is first
        assert first.total == 5
        take_job(session, "a")
        assert add_job_once(session, "read", case, 5) is not first


def test_an_upload_is_answered_as_the_first_time(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        assert answered(session, them.ada, "k", "a" * 64) is None
        remember(session, them.ada, "k", "a" * 64, {"case": "x"})
        assert answered(session, them.ada, "k", "a" * 64) == {"case": "x"}
        assert answered(session, them.ben, "k", "a" * 64) is None
        with pytest.raises(ConflictError, match="the idempotency key 'k' was used for another up"):
            answered(session, them.ada, "k", "b" * 64)
