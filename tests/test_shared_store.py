"""Servers that share one object store and one database: each case is read once, whoever dies."""

import hashlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pytest
import s3fs
from conftest import PATIENCE_S, ROOT
from httpx2 import Client, post
from sqlalchemy import select
from store_fixtures import end_leases
from web_fixtures import API, PASSWORD, as_files, pictures, settings_of, zip_of

from marrowscope.errors import NotThereError, StoreError, UnavailableError
from marrowscope.model.bundle import Bundle
from marrowscope.store.audit import verify
from marrowscope.store.blobs import PARTIAL
from marrowscope.store.cases import Facts, make_case
from marrowscope.store.cells import add_cells
from marrowscope.store.database import Store, open_store
from marrowscope.store.enums import CellState, JobState, Role
from marrowscope.store.import_case import READ, keep_picture
from marrowscope.store.jobs import ATTEMPTS, add_job_once
from marrowscope.store.object_blobs import SharedBlobs
from marrowscope.store.tables import CaseCell, Job
from marrowscope.store.users import make_user
from marrowscope.store.workspace import open_room, sweep
from marrowscope.web.state import Room
from marrowscope.web.worker import Worker

CASES, CELLS = 4, 60
SERVE = """
import sys
from pathlib import Path
from marrowscope.web.server import open_room
from marrowscope.web.settings import Settings
room, bundle, database, pictures = sys.argv[1:]
settings = Settings(
    Path(room), database, pictures, bundle, port=0, threads=1, lease_s=3600.0, batch=4
)
open_room(settings, lambda words: print(words, flush=True))
"""


@pytest.fixture
def url(s3: s3fs.S3FileSystem, tmp_path: Path) -> str:
    """A place in the store that nothing else uses."""
    place = f"smears/{abs(hash(tmp_path))}"
    assert not s3.exists(place)
    return f"s3://{place}"


def test_contents_are_kept_in_the_store_and_copied_when_they_are_read(
    url: str, s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    here, there = SharedBlobs(tmp_path / "a", url), SharedBlobs(tmp_path / "b", url)
    name = here.put(b"a cell")
    assert s3.cat_file(f"{url}/{name[:2]}/{name}") == b"a cell"
    assert name in there
    assert list(there.names()) == [name]
    assert there.location(name) == f"{url}/{name[:2]}/{name}"
    assert there.read(name) == b"a cell"
    assert there.put(b"a cell") == name
    nothing = "0" * 64
    assert nothing not in there
    with pytest.raises(NotThereError, match="there is no picture 000"):
        there.read(nothing)


def test_an_object_that_was_changed_is_not_taken(
    url: str, s3: s3fs.S3FileSystem, tmp_path: Path
) -> None:
    name = SharedBlobs(tmp_path / "a", url).put(b"a cell")
    s3.pipe_file(f"{url}/{name[:2]}/{name}", b"another")
    with pytest.raises(StoreError, match="the object was changed; restore it"):
        SharedBlobs(tmp_path / "b", url).read(name)
    assert list((tmp_path / "b").iterdir()) == []


def test_what_no_case_wants_is_removed_from_the_store(url: str, tmp_path: Path) -> None:
    with closing(open_room(tmp_path / "room", pictures=url)) as room:
        name = room.blobs.put(b"a cell")
        left = room.blobs.root / f"{PARTIAL}left-by-a-kill"
        left.touch()
        assert sweep(room) == 0
        assert name in room.blobs
        assert sweep(room, older=-60.0) == 1
        assert name not in room.blobs
        assert not left.exists()


def test_a_bucket_that_is_not_there_is_an_error(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    assert not s3.exists("nobucket")
    blobs = SharedBlobs(tmp_path, "s3://nobucket/room")
    with pytest.raises(UnavailableError, match=r"store of the pictures cannot be used .*bucket"):
        blobs.put(b"a cell")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="no such kind of store"):
        SharedBlobs(tmp_path, "nostore://room")


@contextmanager
def refusing() -> Iterator[None]:
    """Let the S3 server refuse everything, as after the keys were withdrawn."""

    def allow(requests: str) -> None:
        answer = post(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth", content=requests)
        assert answer.status_code == 200

    allow("0")
    try:
        s3fs.S3FileSystem.clear_instance_cache()
        yield
    finally:
        allow("inf")
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_that_refuses_is_an_error_in_words_whatever_is_asked(
    url: str, tmp_path: Path
) -> None:
    blobs = SharedBlobs(tmp_path / "a", url)
    kept, other = blobs.put(b"a cell"), hashlib.sha256(b"another").hexdigest()
    asks: dict[str, Callable[[], object]] = {
        "put": lambda: blobs.put(b"another"),
        "path": lambda: blobs.path(other),
        "read": lambda: blobs.read(other),
        "in": lambda: other in blobs,
        "names": lambda: list(blobs.names()),
        "sweep": lambda: blobs.sweep((), 0),
        "age": lambda: blobs._kept_at(blobs._object(kept)),
        "remove": lambda: blobs._remove(blobs._object(kept)),
        "open": lambda: SharedBlobs(tmp_path / "b", f"{url}/deeper"),
    }
    blobs._store.invalidate_cache()
    with refusing():
        for name, ask in asks.items():
            with pytest.raises(UnavailableError, match=rf"^{url}.* \(.+\); "):
                pytest.fail(f"{name}: {ask()}")
    assert list(blobs.names()) == [kept]
    assert [file.name for file in (tmp_path / "a").rglob("*") if file.is_file()] == [kept]


def test_a_job_waits_while_the_store_refuses_however_long(
    url: str, toy_bundle: Bundle, tmp_path: Path
) -> None:
    room = Room(settings_of(tmp_path, toy_bundle, pictures=url))
    (name, content), *_ = pictures(1)
    with room.store.write() as session:
        ada = make_user(session, "Ada", Role.REVIEWER)
        case = make_case(session, ada, Facts("A-1", um_per_px=0.1))
        add_cells(session, ada, case, "1", [keep_picture(room.blobs, name, content)])
        add_job_once(session, READ, case, 1)
    shutil.rmtree(room.blobs.root)
    room.blobs.root.mkdir()
    worker, predictor = Worker(room), room.load()
    with refusing():
        assert not any(worker._do_next(predictor) for _ in range(2 * ATTEMPTS))
        assert [job.state for job in jobs(room.store)] == [JobState.QUEUED]
    assert worker._do_next(predictor)
    assert [(job.state, job.attempts) for job in jobs(room.store)] == [(JobState.DONE, 1)]
    room.close()


@contextmanager
def server(
    folder: Path, bundle: Bundle, database: str, url: str
) -> Iterator[tuple[Client, "subprocess.Popen[str]"]]:
    """One of several server processes; gives a client that has logged in, and the process."""
    command = [sys.executable, "-c", SERVE, str(folder), str(bundle.folder), database, url]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        with Client(base_url=address[0], timeout=PATIENCE_S) as client:
            answer = client.post(f"{API}/session", json={"name": "Root", "password": PASSWORD})
            client.headers["X-CSRF-Token"] = answer.json()["csrf"]
            yield client, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def drop(client: Client, number: int) -> str:
    """Make a case and drop its cells, which differ from those of other cases."""
    case = client.post(f"{API}/cases", json={"title": f"S-{number}", "um_per_px": 0.1}).json()["id"]
    (name, content), *_ = pictures(1)
    tails = (bytes([number, index]) for index in range(CELLS))
    cells = [(f"{each}-{name}", content + tail) for each, tail in enumerate(tails)]
    answer = client.post(f"{API}/cases/{case}/files", files=as_files(("a.zip", zip_of(*cells))))
    assert answer.status_code == 200, answer.text
    return str(case)


def processes(server: "subprocess.Popen[str]") -> list[int]:
    """Number a server's process and those below it."""
    children = psutil.Process(server.pid).children(recursive=True)
    return [server.pid, *(child.pid for child in children)]


def jobs(store: Store) -> list[Job]:
    with store.read() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def unfinished(store: Store) -> list[Job]:
    return [job for job in jobs(store) if job.state in (JobState.QUEUED, JobState.RUNNING)]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_of_two_servers_one_dies_and_each_case_is_read_once(
    database: str, url: str, toy_bundle: Bundle, tmp_path: Path
) -> None:
    with closing(open_store(database)) as store:
        with store.write() as session:
            make_user(session, "Root", Role.ADMIN, PASSWORD)
        with ExitStack() as both, ThreadPoolExecutor(CASES) as pool:
            clients, (first, _) = zip(
                *(
                    both.enter_context(server(tmp_path / name, toy_bundle, database, url))
                    for name in "ab"
                ),
                strict=True,
            )
            numbers = itertools.count()
            owners: set[str] = set()
            while len(owners) < len(clients):
                if not unfinished(store):
                    number = next(numbers)
                    drop(clients[number % 2], number)
                owners |= {job.owner for job in unfinished(store) if job.done}
                time.sleep(0.02)
            sent = [
                pool.submit(drop, clients[number % 2], next(numbers)) for number in range(CASES)
            ]
            assert [upload.exception() for upload in sent] == [None] * CASES
            dead = processes(first)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            while unfinished(store):
                end_leases(store, dead)
                time.sleep(0.02)
        done = jobs(store)
        assert {job.state for job in done} == {JobState.DONE}
        repeated = [job.attempts for job in done if job.attempts != 1]
        assert repeated in ([], [2])
        with store.read() as session:
            cells = list(session.scalars(select(CaseCell)))
            assert len(cells) == len(done) * CELLS
            assert {cell.state for cell in cells} == {CellState.READ}
            assert verify(session) is None
