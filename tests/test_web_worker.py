"""The worker goes on where it was: after a kill -9 of a real server, and with cases that vanish."""

import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
from conftest import PATIENCE_S, ROOT
from httpx2 import Client, TransportError
from sqlalchemy.orm import Session
from store_fixtures import end_leases
from web_fixtures import (
    API,
    PASSWORD,
    as_files,
    browser,
    make_case,
    opened,
    pictures,
    read_case,
    room_of,
    settings_of,
    wait_until_read,
    zip_of,
)

from marrowscope.model.bundle import Bundle
from marrowscope.store.cells import list_cells
from marrowscope.store.database import open_store
from marrowscope.store.jobs import list_jobs
from marrowscope.store.tables import Case, CellDecision

CELLS = 200
CODES = ("BLA", "LYT", "MYB")
SERVE = """
import sys
from pathlib import Path
from marrowscope.web.server import open_room
from marrowscope.web.settings import Settings
room, bundle = sys.argv[1:]
open_room(
    Settings(Path(room), bundle=bundle, port=0, threads=1, lease_s=3600.0, batch=4),
    lambda words: print(words, flush=True),
)
"""


@contextmanager
def full_disk(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Let no file of a server and of the process that reads for it grow, until it is left."""
    both = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
    for number in both:
        resource.prlimit(number, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    yield
    for number in both:
        resource.prlimit(number, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


@contextmanager
def server(folder: Path, bundle: Bundle) -> Iterator[tuple[Client, "subprocess.Popen[str]", str]]:
    """A real server process; gives a client, the process and the link that it printed."""
    command = [sys.executable, "-c", SERVE, str(folder), str(bundle.folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        with Client(base_url=address[0], timeout=PATIENCE_S) as client:
            link = _link(process, folder)
            yield client, process, link
    finally:
        if process.poll() is None:
            kill(process)
        process.communicate()


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill the server and the process that reads for it at once, as when the machine stops."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _link(process: "subprocess.Popen[str]", folder: Path) -> str:
    """Read the link at the first start; there is none later."""
    marker = folder / "was-open"
    if marker.exists() or process.stdout is None:
        return ""
    marker.touch()
    return process.stdout.readline().rpartition("#")[2].strip()


def begin(client: Client, link: str) -> None:
    """Make the administrator with the link of the first start; the client is logged in then."""
    use = {"secret": link, "password": PASSWORD, "name": "Root"}
    made = client.post(f"{API}/links/use", json=use)
    client.headers["X-CSRF-Token"] = made.json()["csrf"]


def log_in(client: Client) -> None:
    answer = client.post(f"{API}/session", json={"name": "Root", "password": PASSWORD})
    client.headers["X-CSRF-Token"] = answer.json()["csrf"]


def progress(client: Client, case: str) -> dict[str, int]:
    found: dict[str, int] = client.get(f"{API}/cases/{case}").json()["progress"]
    return found


def copies(number: int) -> bytes:
    """A zip of pictures that all differ in their bytes: sample cells with a tail."""
    (name, content), *_ = pictures(1)
    files = ((f"{index}-{name}", content + index.to_bytes(4, "big")) for index in range(number))
    return zip_of(*files)


def fill_the_disk(client: Client, process: "subprocess.Popen[str]") -> None:
    """While the disk is full nothing is taken, which is said; then all goes on."""
    case = client.post(f"{API}/cases", json={"title": "F", "um_per_px": 0.1}).json()["id"]
    files, cells = (f"{API}/cases/{case}/{each}" for each in ("files", "cells"))
    first, second = (as_files(picture) for picture in pictures(2))
    assert client.post(files, files=first).json()["new"] == 1
    decision = {"cells": [client.get(cells).json()["rows"][0]["id"]], "label": "BLA"}
    while progress(client, case)["waiting"]:
        pass
    with full_disk(process):
        for path, given, why in (
            (files, {"files": second}, "a picture cannot be kept (File too large)"),
            (f"{API}/cases/{case}/decisions", {"json": decision}, "out of reach or without room"),
        ):
            refused = client.post(path, **given)
            assert (refused.status_code, why in refused.json()["detail"]) == (503, True)
        for page in ("/cases", f"/cases/{case}", f"{cells}"):
            assert client.get(page).status_code == 200
        assert client.get(cells).json()["total"] == 1
    assert client.post(files, files=second).json()["new"] == 1
    assert client.post(f"{API}/cases/{case}/decisions", json=decision).status_code == 200
    while progress(client, case)["waiting"]:
        pass
    assert client.get(f"{API}/audit/verify").json()["broken"] is None


def test_after_a_kill_the_next_server_reads_on_and_loses_nothing(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with server(room, toy_bundle) as (client, process, link):
        begin(client, link)
        case = client.post(f"{API}/cases", json={"title": "K", "um_per_px": 0.1}).json()["id"]
        sent = as_files(("cells.zip", copies(CELLS)))
        confirmed = client.post(f"{API}/cases/{case}/files", files=sent).json()
        assert confirmed["new"] == CELLS
        while not 8 <= progress(client, case)["read"] < CELLS:
            assert progress(client, case)["read"] < CELLS, "read before it could be killed"
        number = client.get(f"{API}/cases/{case}/cells?state=read").json()["rows"][0]["id"]
        decision = {"cells": [number], "label": "BLA"}
        assert client.post(f"{API}/cases/{case}/decisions", json=decision).status_code == 200
        dead = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        kill(process)
    with closing(open_store(f"sqlite:///{room / 'room.db'}")) as store:
        end_leases(store, dead)
    before = read_at_kill(room)
    assert 8 <= len(before) < CELLS
    with server(room, toy_bundle) as (client, process, _link):
        log_in(client)
        deadline = time.monotonic() + PATIENCE_S
        while progress(client, case)["waiting"]:
            assert time.monotonic() < deadline, "the job was not taken up"
        shown = client.get(f"{API}/cases/{case}").json()
        assert shown["progress"]["read"] == CELLS
        assert shown["job"]["attempts"] == 2
        cell = client.get(f"{API}/cases/{case}/cells/{number}").json()
        assert (cell["label"], cell["decided_by"]) == ("BLA", "Root")
        after = read_at_kill(room)
        fill_the_disk(client, process)
    assert len(after) == CELLS
    assert {each: after[each] for each in before} == before


@contextmanager
def stored(room: Path) -> Iterator[Session]:
    """Look into the database of a room."""
    with closing(open_store(f"sqlite:///{room / 'room.db'}")) as store, store.read() as session:
        yield session


def read_at_kill(room: Path) -> dict[int, tuple[float, ...]]:
    """What the database has of cells that were read."""
    with stored(room) as session:
        case = session.query(Case).one()
        cells = list_cells(session, case, limit=CELLS).rows
        return {cell.id: tuple(cell.probabilities) for cell in cells if cell.machine}


def test_a_kill_during_an_upload_leaves_the_case_as_it_was(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with server(room, toy_bundle) as (client, process, link):
        begin(client, link)
        case = client.post(f"{API}/cases", json={"title": "U", "um_per_px": 0.1}).json()["id"]

        def cut() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n'
            yield copies(20)
            kill(process)
            yield b"\r\n--x--\r\n"

        kind = {"content-type": "multipart/form-data; boundary=x"}
        with pytest.raises(Exception, match=r"\w"):
            client.post(f"{API}/cases/{case}/files", content=cut(), headers=kind)
    with server(room, toy_bundle) as (client, _, _link):
        log_in(client)
        assert progress(client, case)["total"] == 0
        sent = as_files(("a.zip", copies(20)))
        assert client.post(f"{API}/cases/{case}/files", files=sent).json()["new"] == 20


def read_whole_case(client: Client, title: str, cells: int) -> str:
    """Make a case of so many cells and wait until they were read; give its id."""
    case = str(client.post(f"{API}/cases", json={"title": title, "um_per_px": 0.1}).json()["id"])
    client.post(f"{API}/cases/{case}/files", files=as_files(("cells.zip", copies(cells))))
    while progress(client, case)["read"] < cells:
        assert client.get(f"{API}/cases/{case}").json()["job"]["state"] != "failed"
    return case


def test_a_kill_among_decisions_keeps_each_that_was_confirmed_and_none_half(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    """Decisions on several cells at once stream in from two readers while the server is killed."""
    room = tmp_path / "room"
    room.mkdir()
    confirmed: dict[str, list[int]] = {}
    with server(room, toy_bundle) as (client, process, link):
        begin(client, link)
        case = read_whole_case(client, "D", 24)
        cells = [row["id"] for row in client.get(f"{API}/cases/{case}/cells").json()["rows"]]
        halves = cells[:12], cells[12:]

        def decide_on(mine: list[int], name: str) -> None:
            with suppress(TransportError):
                for turn in itertools.count():
                    body = {"cells": mine, "label": CODES[turn % 3], "request": f"{name}{turn}"}
                    answer = client.post(f"{API}/cases/{case}/decisions", json=body)
                    assert answer.status_code == 200
                    confirmed[f"{name}{turn}"] = mine

        readers = [
            Thread(target=decide_on, args=(half, name))
            for half, name in zip(halves, "ab", strict=True)
        ]
        for reader in readers:
            reader.start()
        while len(confirmed) < 12:
            assert all(reader.is_alive() for reader in readers)
        kill(process)
        for each in readers:
            each.join()
    with server(room, toy_bundle) as (client, _, _link):
        log_in(client)
        kept: dict[str, list[int]] = defaultdict(list)
        with stored(room) as session:
            for row in session.query(CellDecision).order_by(CellDecision.id):
                kept[row.request].append(row.cell_id)
        assert set(confirmed) <= set(kept)
        assert len(set(kept) - set(confirmed)) <= 2, "more was kept than was under way"
        assert all(numbers in map(list, halves) for numbers in kept.values())
        for half, name in zip(halves, "ab", strict=True):
            last = max(int(each[1:]) for each in kept if each.startswith(name))
            shown = [client.get(f"{API}/cases/{case}/cells/{each}").json() for each in half]
            assert {each["label"] for each in shown} == {CODES[last % 3]}
            assert {len(each["history"]) for each in shown} == {last + 1}
        assert client.get(f"{API}/audit/verify").json()["broken"] is None


def reader_of(process: "subprocess.Popen[str]") -> int:
    """Give the number of the process that reads cells for a server, once there is one."""
    while True:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if (
                    int(parent) == process.pid
                    and b"spawn_main" in (folder / "cmdline").read_bytes()
                ):
                    return int(folder.name)


@pytest.mark.skipif(sys.platform != "linux", reason="left out: it looks for processes in /proc")
def test_a_reading_process_that_dies_is_replaced_and_one_without_a_server_ends(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with server(room, toy_bundle) as (client, process, link):
        begin(client, link)
        first = reader_of(process)
        os.kill(first, signal.SIGKILL)
        read_whole_case(client, "R", 8)
        counted = client.get(f"{API}/metrics").text
        assert 'marrowscope_cells_read_total{outcome="read"} 8.0' in counted
        second = reader_of(process)
        assert second != first
        process.kill()
        deadline = time.monotonic() + PATIENCE_S
        while is_running(second):
            assert time.monotonic() < deadline, "the reading process outlived its server"


def is_running(number: int) -> bool:
    """Tell whether a process runs; one that has ended and nobody asked after does not."""
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_case_that_is_deleted_while_it_is_read_stops_nothing(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    with opened(settings_of(tmp_path, toy_bundle, batch=1)) as app:
        ada = browser(app, "Ada")
        case = make_case(ada, "gone")
        sent = as_files(("cells.zip", copies(100)))
        assert ada.post(f"{API}/cases/{case}/files", files=sent).json()["new"] == 100
        gone = ada.request("DELETE", f"{API}/cases/{case}", json={"title": "gone"})
        assert gone.status_code == 204
        read_case(ada, 3, "next")


def test_an_archived_case_waits_and_is_read_after_it_is_restored(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    with opened(settings_of(tmp_path, toy_bundle, batch=1)) as app:
        ada = browser(app, "Ada")
        case = make_case(ada)
        ada.post(f"{API}/cases/{case}/files", files=as_files(("cells.zip", copies(60))))
        ada.post(f"{API}/cases/{case}/archive")
        with room_of(app).store.read() as session:
            row = session.query(Case).one()
            while list_jobs(session, row)[0].state in {"queued", "running"}:
                session.expire_all()
                session.rollback()
        assert ada.get(f"{API}/cases/{case}").json()["progress"]["waiting"] > 0
        ada.post(f"{API}/cases/{case}/restore")
        assert wait_until_read(ada, case)["progress"]["read"] == 60


def test_a_case_of_another_model_is_left_alone_and_says_why(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    with opened(settings_of(tmp_path, toy_bundle)) as app:
        ada = browser(app, "Ada")
        case = read_case(ada, 3)
        with room_of(app).store.write() as session:
            session.query(Case).one().model_sha256 = "f" * 64
        ada.post(f"{API}/cases/{case}/files", files=as_files(("cells.zip", copies(2))))
        while (shown := ada.get(f"{API}/cases/{case}").json())["job"]["state"] != "failed":
            assert shown["job"]["state"] in {"queued", "running"}
        assert "were read by the model ffffffffffff" in shown["job"]["error"]
        assert ada.get(f"{API}/cases/{case}/differential").status_code == 422
        assert ada.get(f"{API}/cases/{case}/report/report.pdf").status_code == 422


def test_a_case_says_which_bundle_read_it(tmp_path: Path, toy_bundle: Bundle) -> None:
    with opened(settings_of(tmp_path, toy_bundle)) as app:
        ada = browser(app, "Ada")
        shown = ada.get(f"{API}/cases/{read_case(ada, 3)}").json()
    known = toy_bundle.sha256, toy_bundle.model_sha256
    assert (shown["bundle_sha256"], shown["model_sha256"]) == known
