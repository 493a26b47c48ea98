"""Whole fields by the interface: sent, looked at, read; cells added and removed."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient
from test_fields_read import UM, a_field
from web_fixtures import (
    API,
    as_files,
    browser,
    make_case,
    opened,
    pictures,
    room_of,
    settings_of,
    tight,
    wait_until_read,
    zip_of,
)

from marrowscope.model.bundle import Bundle
from marrowscope.store.audit import verify
from marrowscope.web.settings import MIB


@pytest.fixture
def app(tmp_path: Path, toy_bundle: Bundle) -> Iterator[FastAPI]:
    with opened(settings_of(tmp_path, toy_bundle)) as running:
        yield running


@pytest.fixture
def ada(app: FastAPI) -> TestClient:
    return browser(app, "Ada")


@pytest.fixture
def field(tmp_path: Path) -> bytes:
    return a_field(tmp_path / "scan").read_bytes()


def read_fields(client: TestClient, *files: tuple[str, bytes]) -> str:
    """Make a case of fields and wait until their cells were read; give its id."""
    case = make_case(client, fields=True)
    answer = client.post(f"{API}/cases/{case}/fields", files=as_files(*files))
    assert answer.status_code == 200, answer.text
    wait_until_read(client, case)
    return case


def shown(client: TestClient, case: str) -> dict[str, Any]:
    """The first field of a case, with its boxes."""
    first = client.get(f"{API}/cases/{case}/fields").json()[0]
    found: dict[str, Any] = client.get(f"{API}/cases/{case}/fields/{first['id']}").json()
    return found


def counted(client: TestClient, case: str) -> int:
    fates = client.get(f"{API}/cases/{case}/differential").json()["fates"]
    return int(sum(fates.values()))


def test_cells_are_found_on_a_field_and_read(ada: TestClient, field: bytes) -> None:
    sent = zip_of(("scan/1.png", field), ("notes.txt", b"no picture"))
    case = make_case(ada, fields=True)
    answer = ada.post(f"{API}/cases/{case}/fields", files=as_files(("scan.zip", sent))).json()
    assert (answer["new"], answer["known"]) == (1, 0)
    assert [each["file"] for each in answer["refused"]] == ["notes.txt"]
    full = wait_until_read(ada, case)
    assert full["fields"] == {
        "waiting": 0,
        "found": 1,
        "flagged": 0,
        "rejected": 0,
        "total": 1,
        "removed": 0,
    }
    one = shown(ada, case)
    assert (one["width"], one["height"], one["um_per_px"], one["scale"]) == (750, 250, UM, "given")
    assert one["cells"] == len(one["boxes"]) == full["progress"]["read"] > 0
    assert {box["origin"] for box in one["boxes"]} == {"found"}
    assert all(box["label"] for box in one["boxes"])
    cell = ada.get(f"{API}/cases/{case}/cells/{one['boxes'][0]['cell']}").json()
    assert cell["file"].startswith("1.png at ")
    assert cell["width"] == 250
    again = ada.post(f"{API}/cases/{case}/fields", files=as_files(("1.png", field))).json()
    assert (again["new"], again["known"], again["job"]) == (0, 1, None)


def test_the_report_names_fields_and_removed_cells(ada: TestClient, field: bytes) -> None:
    plain = BytesIO()
    Image.new("RGB", (640, 480), (235, 230, 232)).save(plain, "PNG")
    case = read_fields(ada, ("1.png", field), ("plain.png", plain.getvalue()))
    one = shown(ada, case)
    ada.post(f"{API}/cases/{case}/cells/{one['boxes'][0]['cell']}/remove")
    report = f"{API}/cases/{case}/report"
    (slide,) = ada.get(f"{report}/differential.json").json()["case"]["slides"]
    assert slide["fields"]["fields"] == 2
    assert slide["fields"]["scales"][0]["from"] == "given"
    assert "removed by Ada: no cell to be counted" in ada.get(f"{report}/cells.csv").text
    assert "Whole fields" in ada.get(f"{report}/report.html").text


def test_the_picture_of_a_field_comes_in_two_sizes(ada: TestClient, field: bytes) -> None:
    case = read_fields(ada, ("1.png", field))
    address = f"{API}/cases/{case}/fields/{shown(ada, case)['id']}/picture"
    whole = ada.get(address)
    assert (whole.content, whole.headers["content-type"]) == (field, "image/png")
    small = ada.get(f"{address}?side=320")
    assert Image.open(BytesIO(small.content)).size == (250, 83)
    tag = {"If-None-Match": whole.headers["etag"]}
    assert ada.get(address, headers=tag).status_code == 304
    assert ada.get(f"{address}?side=7").status_code == 422


def test_a_missed_cell_is_added_and_a_false_one_removed(
    app: FastAPI, ada: TestClient, field: bytes
) -> None:
    case = read_fields(ada, ("1.png", field))
    one = shown(ada, case)
    before = counted(ada, case)
    box = {"x0": 60, "y0": 200, "x1": 10, "y1": 240}
    address = f"{API}/cases/{case}/fields/{one['id']}/cells"
    added = ada.post(address, json=box)
    assert added.status_code == 201, added.text
    wait_until_read(ada, case)
    assert counted(ada, case) == before + 1
    drawn = next(each for each in shown(ada, case)["boxes"] if each["origin"] == "drawn")
    assert (drawn["x0"], drawn["x1"], drawn["state"]) == (10, 60, "read")
    assert ada.post(address, json=box).status_code == 409
    assert ada.post(address, json=box | {"x0": 70}).status_code == 201
    assert ada.post(address, json={"x0": 0, "y0": 0, "x1": 3, "y1": 3}).status_code == 422
    wait_until_read(ada, case)

    cell = f"{API}/cases/{case}/cells/{drawn['cell']}"
    removed = ada.post(f"{cell}/remove").json()
    assert (removed["state"], removed["reason"]) == (
        "rejected",
        "removed by Ada: no cell to be counted",
    )
    assert counted(ada, case) == before + 1
    assert ada.post(f"{cell}/remove").status_code == 409
    assert shown(ada, case)["removed"] == 1
    assert ada.post(f"{cell}/restore").json()["state"] == "read"
    assert counted(ada, case) == before + 2
    with room_of(app).store.read() as session:
        assert verify(session) is None


def test_who_may_not_change_boxes(app: FastAPI, ada: TestClient, field: bytes) -> None:
    case = read_fields(ada, ("1.png", field))
    assert ada.put(f"{API}/cases/{case}/members/Rita").status_code in {200, 204}
    one = shown(ada, case)
    cell = f"{API}/cases/{case}/cells/{one['boxes'][0]['cell']}"
    box = {"x0": 0, "y0": 0, "x1": 60, "y1": 60}
    rita = browser(app, "Rita")
    assert shown(rita, case)["boxes"] == one["boxes"]
    assert rita.post(f"{cell}/remove").status_code == 403
    address = f"{API}/cases/{case}/fields/{one['id']}"
    assert rita.post(f"{address}/cells", json=box).status_code == 403
    assert (
        rita.post(f"{API}/cases/{case}/fields", files=as_files(("1.png", field))).status_code == 403
    )
    ben = browser(app, "Ben")
    assert ben.get(address).status_code == 404
    version = ada.get(f"{API}/cases/{case}").json()["version"]
    for step in ("review", "sign"):
        answer = ada.post(f"{API}/cases/{case}/{step}", json={"version": version})
        assert answer.status_code == 200, answer.text
        version = answer.json()["version"]
    assert ada.post(f"{cell}/remove").status_code in {409, 422}
    assert ada.post(f"{address}/cells", json=box).status_code in {409, 422}
    assert ada.post(f"{address}/read").status_code in {409, 422}


def test_a_field_of_no_use_says_why_and_can_be_tried_again(ada: TestClient) -> None:
    plain = BytesIO()
    Image.new("RGB", (640, 480), (235, 230, 232)).save(plain, "PNG")
    case = make_case(ada, um_per_px=None, fields=True)
    sent = as_files(("plain.png", plain.getvalue()))
    assert ada.post(f"{API}/cases/{case}/fields", files=sent).status_code == 200
    full = wait_until_read(ada, case)
    assert full["fields"]["found"] == 0
    one = shown(ada, case)
    assert one["flags_in_words"] or "give --um-per-px" in one["reason"]
    box = {"x0": 0, "y0": 0, "x1": 60, "y1": 60}
    number = one["id"]
    assert ada.post(f"{API}/cases/{case}/fields/{number}/cells", json=box).status_code == 409
    assert ada.post(f"{API}/cases/{case}/fields/{number}/read").status_code == 200
    wait_until_read(ada, case)
    assert ada.patch(f"{API}/cases/{case}", json={"material": "blood"}).status_code == 200


def test_a_case_of_single_cells_still_needs_its_scale(tmp_path: Path, toy_bundle: Bundle) -> None:
    with opened(settings_of(tmp_path, toy_bundle)) as app:
        needs = bool(room_of(app).bundle.preprocessing.field_um)
        ada = browser(app, "Ada")
        answer = ada.post(f"{API}/cases", json={"title": "A-1"})
        assert answer.status_code == (422 if needs else 201)


def test_large_fields_are_refused_by_name(tmp_path: Path, toy_bundle: Bundle, field: bytes) -> None:
    settings = tight(settings_of(tmp_path, toy_bundle), field_bytes=1000, picture_bytes=MIB)
    with opened(settings) as app:
        ada = browser(app, "Ada")
        case = make_case(ada, fields=True)
        answer = ada.post(f"{API}/cases/{case}/fields", files=as_files(("1.png", field))).json()
        assert answer["new"] == 0
        assert answer["refused"] == [{"file": "1.png", "reason": "it has more than 0 MiB"}]


def test_cells_and_fields_may_be_in_one_case(ada: TestClient, field: bytes) -> None:
    case = read_fields(ada, ("1.png", field))
    found = counted(ada, case)
    assert ada.post(f"{API}/cases/{case}/files", files=as_files(*pictures(3))).status_code == 200
    wait_until_read(ada, case)
    assert counted(ada, case) == found + 3
    single = next(
        row
        for row in ada.get(f"{API}/cases/{case}/cells").json()["rows"]
        if not row["file"].startswith("1.png at")
    )
    assert ada.post(f"{API}/cases/{case}/cells/{single['id']}/remove").status_code == 404
