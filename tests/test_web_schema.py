"""Whatever the interface is asked, made up from its own description: never a server error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.core import NOT_SET
from starlette.testclient import TestClient
from web_fixtures import API, browser, opened, read_case, settings_of, stranger

from marrowscope.model.bundle import Bundle

EXAMPLES = 12
"""Made-up requests of each route, about half of them at a case that is there."""


@pytest.fixture
def app(tmp_path: Path, toy_bundle: Bundle) -> Iterator[FastAPI]:
    with opened(settings_of(tmp_path, toy_bundle)) as running:
        yield running


@pytest.fixture
def program(app: FastAPI) -> TestClient:
    """A program with an administrator's token, so that no route is closed to it."""
    token = browser(app, "Root").post(f"{API}/tokens", json={"name": "fuzz"}).json()
    client = stranger(app)
    client.headers["Authorization"] = f"Bearer {token['secret']}"
    return client


def ask(client: TestClient, made: Any, known: dict[str, Any]) -> int:
    """Send a made-up request, with known values in its address; give the status."""
    made.path_parameters = (made.path_parameters or {}) | {
        name: value for name, value in known.items() if name in (made.path_parameters or {})
    }
    sent: dict[str, Any] = {} if made.body is NOT_SET else {"json": made.body}
    if made.media_type == "multipart/form-data":
        sent = {"files": [("files", ("x.jpg", repr(made.body).encode()))]}
    answer = client.request(made.method, made.formatted_path, params=dict(made.query or {}), **sent)
    return answer.status_code


def test_no_made_up_request_is_a_server_error(app: FastAPI, program: TestClient) -> None:
    case = read_case(program, 4)
    cells = program.get(f"{API}/cases/{case}/cells").json()["rows"]
    known = {"case_id": case, "number": cells[0]["id"]}
    schema = schemathesis.openapi.from_dict(app.openapi())
    found: list[Any] = list(schema.get_all_operations())
    routes = [each.ok() for each in found]
    assert len(routes) > 45
    deleting = [route for route in routes if route.method.upper() == "DELETE"]
    for route in (*(route for route in routes if route not in deleting), *deleting):
        statuses = ask_often(program, route, known)
        assert all(status < 500 for status in statuses), (route.method, route.path, statuses)


def test_a_form_is_described_with_the_fields_that_count(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    fields = {
        path.removeprefix(API): set(form["properties"])
        for path, route in paths.items()
        if (form := _form_of(route))
    }
    both = {"files", "slide"}
    assert fields == {
        "/classify": {"files"},
        "/cases/{case_id}/files": both,
        "/cases/{case_id}/fields": both,
    }


def _form_of(route: dict[str, Any]) -> dict[str, Any]:
    content = route.get("post", {}).get("requestBody", {}).get("content", {})
    return content.get("multipart/form-data", {}).get("schema", {})  # type: ignore[no-any-return]


def ask_often(client: TestClient, route: Any, known: dict[str, Any]) -> list[int]:
    """Send made-up requests to a route, some of them at a case that is there."""
    statuses = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(made=route.as_strategy(), there=strategies.booleans())
    def send(made: Any, there: bool) -> None:
        statuses.append(ask(client, made, known if there else {}))

    send()
    return statuses
