"""A reading room to walk into: the real application on a real file, and people who log in."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import SAMPLES
from fastapi import FastAPI
from starlette.testclient import TestClient

from marrowscope.model.bundle import Bundle
from marrowscope.store.enums import Role
from marrowscope.store.users import make_user
from marrowscope.web.app import create_app
from marrowscope.web.settings import Limits, Settings
from marrowscope.web.state import Room

API = "/api/v1"
PASSWORD = "a marrow of words"  # noqa: S105 - of no real account
PICTURES = sorted((SAMPLES / "cells").rglob("*.jpg"))
PEOPLE = {"Ada": Role.REVIEWER, "Ben": Role.REVIEWER, "Rita": Role.READER, "Root": Role.ADMIN}
NAME = "room.test"


def settings_of(folder: Path, bundle: Bundle, **more: Any) -> Settings:
    """Settings of a room for tests."""
    return Settings(folder / "room", bundle=str(bundle.folder), names=(NAME,), threads=1, **more)


@contextmanager
def opened(settings: Settings) -> Iterator[FastAPI]:
    """An open room with its people; the application runs until the end."""
    app = create_app(settings)
    with TestClient(app, base_url=f"http://{NAME}"):
        settle(app)
        yield app


def settle(app: FastAPI) -> None:
    """Make the people of a room, with their passwords."""
    with room_of(app).store.write() as session:
        for name, role in PEOPLE.items():
            make_user(session, name, role, PASSWORD)


def room_of(app: FastAPI) -> Room:
    """What the application holds."""
    room: Room = app.state.room
    return room


def stranger(app: FastAPI) -> TestClient:
    """A browser that is not logged in."""
    return TestClient(app, base_url=f"http://{NAME}", raise_server_exceptions=False)


def browser(app: FastAPI, name: str) -> TestClient:
    """A browser that a person has logged in with."""
    client = stranger(app)
    answer = client.post(f"{API}/session", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf"]
    return client


def make_case(client: TestClient, title: str = "A-1", **facts: Any) -> str:
    """Make a case; give its id."""
    answer = client.post(f"{API}/cases", json={"title": title, "um_per_px": 0.086} | facts)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def as_files(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Files as a form sends them."""
    return [("files", file) for file in files]


def zip_of(*files: tuple[str, bytes]) -> bytes:
    """A zip archive of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def pictures(number: int) -> list[tuple[str, bytes]]:
    """The first sample cells, as files."""
    return [(file.name, file.read_bytes()) for file in PICTURES[:number]]


def wait_until_read(client: TestClient, case: str) -> dict[str, Any]:
    """Ask for a case until its cells were read; give it."""
    while True:
        shown: dict[str, Any] = client.get(f"{API}/cases/{case}").json()
        assert shown["job"]["state"] != "failed", shown["job"]["error"]
        if shown["job"]["state"] == "done":
            return shown


def read_case(client: TestClient, cells: int = 12, title: str = "A-1") -> str:
    """Make a case of sample cells and wait until they were read; give its id."""
    case = make_case(client, title)
    sent = as_files(("cells.zip", zip_of(*pictures(cells))))
    assert client.post(f"{API}/cases/{case}/files", files=sent).status_code == 200
    wait_until_read(client, case)
    return case


def tight(settings: Settings, **limits: int) -> Settings:
    """The same settings with other limits."""
    return replace(settings, limits=Limits(**limits))
