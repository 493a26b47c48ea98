"""From a case that was read to one that is signed; and that nobody sees what is not theirs."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from web_fixtures import (
    API,
    PICTURES,
    as_files,
    browser,
    make_case,
    opened,
    pictures,
    read_case,
    room_of,
    settings_of,
    stranger,
)

from marrowscope.data.manifest import read_manifest
from marrowscope.model.bundle import Bundle, load_pictures, write_description
from marrowscope.taxonomy import CLASSES

CELLS = 12


@pytest.fixture
def app(tmp_path: Path, toy_bundle: Bundle, database: str) -> Iterator[FastAPI]:
    """An application on each engine."""
    with opened(settings_of(tmp_path, toy_bundle, database=database)) as running:
        yield running


@pytest.fixture
def ada(app: FastAPI) -> TestClient:
    return browser(app, "Ada")


@pytest.fixture
def case(ada: TestClient) -> str:
    return read_case(ada, CELLS)


def cells_of(client: TestClient, case: str, **wanted: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get(f"{API}/cases/{case}/cells", params=wanted).json()[
        "rows"
    ]
    return rows


def decide(client: TestClient, case: str, cells: list[int], label: str, request: str = "") -> Any:
    body = {"cells": cells, "label": label, "request": request}
    return client.post(f"{API}/cases/{case}/decisions", json=body)


def version(client: TestClient, case: str) -> dict[str, int]:
    return {"version": client.get(f"{API}/cases/{case}").json()["version"]}


def sign(client: TestClient, case: str) -> None:
    for step in ("review", "sign"):
        done = client.post(f"{API}/cases/{case}/{step}", json=version(client, case))
        assert done.status_code == 200, done.text


def test_cells_come_in_pages_the_doubtful_ones_first(ada: TestClient, case: str) -> None:
    whole = ada.get(f"{API}/cases/{case}/cells", params={"order": "doubtful"}).json()
    assert whole["total"] == CELLS == len(whole["rows"])
    doubts = [(not each["novel"], each["margin"]) for each in whole["rows"]]
    assert doubts == sorted(doubts)
    pages = [cells_of(ada, case, order="doubtful", offset=start, limit=5) for start in (0, 5, 10)]
    assert [each["id"] for page in pages for each in page] == [each["id"] for each in whole["rows"]]
    label = whole["rows"][0]["label"]
    of_label = cells_of(ada, case, label=label)
    assert [each["label"] for each in of_label] == [label] * len(of_label)
    assert len(of_label) == sum(each["label"] == label for each in whole["rows"])


def test_a_decision_moves_the_differential_and_undo_moves_it_back(
    ada: TestClient, case: str
) -> None:
    before = ada.get(f"{API}/cases/{case}/differential").json()
    numbers = [each["id"] for each in cells_of(ada, case)]
    made = decide(ada, case, numbers, "BLA").json()
    assert [each["cell"] for each in made["cells"]] == numbers
    moved = ada.get(f"{API}/cases/{case}/differential").json()
    blasts = next(row for row in moved["rows"] if row["code"] == "BLA")
    assert (moved["counted"], blasts["cells"], blasts["percent"]) == (CELLS, CELLS, 100.0)
    assert blasts["low"] == pytest.approx(100 * 0.025 ** (1 / CELLS), abs=1e-6)
    undone = ada.post(f"{API}/cases/{case}/undo", json={}).json()
    assert {each["decided"] for each in undone["cells"]} == {False}
    after = ada.get(f"{API}/cases/{case}/differential").json()
    assert after["version"] > before["version"]
    assert {**after, "version": 0} == {**before, "version": 0}
    assert ada.post(f"{API}/cases/{case}/undo", json={}).status_code == 404


def test_the_same_request_is_decided_once(ada: TestClient, case: str) -> None:
    numbers = [each["id"] for each in cells_of(ada, case)[:2]]
    first = decide(ada, case, numbers, "LYT", "one").json()
    again = decide(ada, case, numbers, "LYT", "one").json()
    assert first["cells"] == again["cells"]
    shown = ada.get(f"{API}/cases/{case}/cells/{numbers[0]}").json()
    assert [(each["who"], each["after"]) for each in shown["history"]] == [("Ada", "LYT")]
    assert decide(ada, case, numbers, "BLA", "one").status_code == 409


def test_a_decision_on_what_is_not_there_changes_nothing(ada: TestClient, case: str) -> None:
    number = cells_of(ada, case)[0]["id"]
    assert decide(ada, case, [number, 999_999], "BLA").status_code == 404
    assert decide(ada, case, [number], "XYZ").status_code == 422
    assert decide(ada, case, [], "BLA").status_code == 422
    assert ada.get(f"{API}/cases/{case}/cells/{number}").json()["decided"] is False


def test_a_cell_shows_why_the_model_reads_it_so(ada: TestClient, case: str) -> None:
    number = cells_of(ada, case)[0]["id"]
    shown = ada.get(f"{API}/cases/{case}/cells/{number}").json()
    chances = [each["probability"] for each in shown["probabilities"]]
    assert sum(chances) == pytest.approx(1)
    assert chances == sorted(chances, reverse=True)
    why = ada.get(f"{API}/cases/{case}/cells/{number}/explanation").json()
    assert [each["code"] for each in why["maps"]] == [
        each["code"] for each in shown["probabilities"][:2]
    ]
    assert all(each["layer"].startswith("data:image/png;base64,") for each in why["maps"])
    assert why["picture"].startswith("data:image/jpeg;base64,")
    likeness = [each["similarity"] for each in why["similar"]]
    assert len(likeness) == 5
    assert likeness == sorted(likeness, reverse=True)
    assert likeness[0] == pytest.approx(1, abs=1e-2)
    assert (why["credit"], {each["source"] for each in why["similar"]}) == ("sample cells", {"mll"})


def test_known_cells_are_shown_to_who_sees_the_case_and_kept_by_browsers(
    app: FastAPI, ada: TestClient, case: str, toy_bundle: Bundle
) -> None:
    number = cells_of(ada, case)[0]["id"]
    why = ada.get(f"{API}/cases/{case}/cells/{number}/explanation").json()
    known = load_pictures(toy_bundle)
    for each in why["similar"]:
        address = f"{API}/cases/{case}/known-cells/{each['picture']}"
        shown = ada.get(address)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
        assert shown.content == known[each["row"]].jpeg
        assert shown.headers["cache-control"] == "private, max-age=31536000, immutable"
        again = ada.get(address, headers={"If-None-Match": shown.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    seal = why["similar"][0]["picture"].partition("/")[0]
    for wrong in (f"{seal}/{len(known)}", f"{'0' * 16}/0"):
        answer = ada.get(f"{API}/cases/{case}/known-cells/{wrong}")
        assert answer.status_code == 404
        assert f"this server's model keeps {len(known)}" in answer.json()["detail"]
    for row in ("-1", "x"):
        assert ada.get(f"{API}/cases/{case}/known-cells/{seal}/{row}").status_code == 422
    assert browser(app, "Ben").get(address).status_code == 404
    assert stranger(app).get(address).status_code == 401


def test_a_bundle_without_pictures_names_known_cells_by_class(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    assert toy_bundle.novelty
    old = replace(toy_bundle, novelty=replace(toy_bundle.novelty, pictures=None))
    write_description(old)
    assert not (old.folder / "known-cells.zip").exists()
    with opened(settings_of(tmp_path, old)) as app:
        ada = browser(app, "Ada")
        case = read_case(ada, 1)
        number = cells_of(ada, case)[0]["id"]
        why = ada.get(f"{API}/cases/{case}/cells/{number}/explanation").json()
        assert [each["picture"] for each in why["similar"]] == [""] * 5
        assert all(each["label"] in toy_bundle.classes for each in why["similar"])
        assert ada.get(f"{API}/cases/{case}/known-cells/0/0").status_code == 404


def test_the_thumbnails_of_the_gallery_are_there_once_the_cells_were_read(
    app: FastAPI, ada: TestClient, case: str
) -> None:
    folder = room_of(app).settings.folder / "thumbnails"
    made = {file.name for file in folder.rglob("*.jpg")}
    assert made == {f"{each['sha256']}-144.jpg" for each in cells_of(ada, case)}


def test_pictures_are_what_came_and_the_browser_keeps_them(ada: TestClient, case: str) -> None:
    cell = cells_of(ada, case)[0]
    address = f"{API}/cases/{case}/cells/{cell['id']}"
    picture = ada.get(f"{address}/picture")
    assert picture.content == PICTURES[0].read_bytes()
    assert picture.headers["content-type"] == "image/jpeg"
    small = ada.get(f"{address}/thumbnail", params={"side": 96})
    assert small.headers["content-type"] == "image/jpeg"
    assert len(small.content) < len(picture.content)
    assert "immutable" in small.headers["cache-control"]
    tag = {"If-None-Match": small.headers["etag"]}
    kept = ada.get(f"{address}/thumbnail", params={"side": 96}, headers=tag)
    assert (kept.status_code, kept.content) == (304, b"")
    assert ada.get(f"{address}/thumbnail", params={"side": 97}).status_code == 422


def test_a_signed_case_is_frozen_until_it_is_reopened(ada: TestClient, case: str) -> None:
    number = cells_of(ada, case)[0]["id"]
    seen = version(ada, case)
    decide(ada, case, [number], "BLA")
    stale = ada.post(f"{API}/cases/{case}/review", json=seen)
    assert stale.status_code == 409
    assert "has changed since you saw it" in stale.json()["detail"]
    sign(ada, case)
    signed = ada.get(f"{API}/cases/{case}").json()
    assert (signed["state"], signed["signed_by"]) == ("signed", "Ada")
    assert ada.get(f"{API}/cases/{case}/seal").json()["holds"] is True
    assert decide(ada, case, [number], "LYT").status_code == 409
    assert ada.patch(f"{API}/cases/{case}", json={"title": "B"}).status_code == 409
    sent = ada.post(f"{API}/cases/{case}/files", files=as_files(*pictures(1)))
    assert sent.status_code == 409
    reopened = ada.post(f"{API}/cases/{case}/reopen", json={"reason": "a cell was missed"})
    assert reopened.json()["state"] == "draft"
    log = ada.get(f"{API}/cases/{case}/audit", params={"limit": 500}).json()["rows"]
    assert [each["action"] for each in log][-4:] == [
        "decide",
        "case review",
        "case sign",
        "case reopen",
    ]
    assert log[-1]["after"]["reason"] == "a cell was missed"


def test_the_report_names_who_reviewed_and_signed(ada: TestClient, case: str) -> None:
    decide(ada, case, [cells_of(ada, case)[0]["id"]], "BLA")
    draft = ada.get(f"{API}/cases/{case}/report/report.html").text
    assert "Not signed: a draft." in draft
    sign(ada, case)
    page = ada.get(f"{API}/cases/{case}/report/report.html").text
    assert "Signed by Ada, " in page
    assert f"1 of the {CELLS} cells was reviewed by Ada" in page
    pdf = ada.get(f"{API}/cases/{case}/report/report.pdf")
    assert pdf.content.startswith(b"%PDF-")
    table = ada.get(f"{API}/cases/{case}/report/cells.csv").text.splitlines()
    assert len(table) == CELLS + 1
    assert str(ada.get("/").url) not in page
    fhir = ada.get(f"{API}/cases/{case}/report/fhir.json").json()
    report = next(
        each["resource"]
        for each in fhir["entry"]
        if each["resource"]["resourceType"] == "DiagnosticReport"
    )
    assert (report["status"], report["resultsInterpreter"]) == ("final", [{"display": "Ada"}])
    assert ada.get(f"{API}/cases/{case}/report/passwords").status_code == 422


def test_nobody_sees_or_changes_anothers_case(app: FastAPI, ada: TestClient, case: str) -> None:
    number = cells_of(ada, case)[0]["id"]
    ben = browser(app, "Ben")
    assert ben.get(f"{API}/cases").json()["total"] == 0
    asked = 0
    for path, methods in app.openapi()["paths"].items():
        if "{case_id}" not in path:
            continue
        address = path.replace("{case_id}", case).replace("{number}", str(number))
        address = address.replace("{row}", "0")
        for method in methods:
            body = {"cells": [number], "label": "BLA", "version": 1, "reason": "x", "title": "A-1"}
            body |= dict.fromkeys(("x0", "y0"), 0) | dict.fromkeys(("x1", "y1"), 30)
            name = "report.html" if "report" in path else "Ben"
            query = {"first": "Ada", "other": "Ben"}
            answer = ben.request(method, address.replace("{name}", name), params=query, json=body)
            assert answer.status_code == 404, (method, path, answer.text)
            assert "there is no case" in answer.json()["detail"]
            asked += 1
    assert asked > 25
    assert browser(app, "Root").get(f"{API}/cases/{case}").status_code == 200
    assert ada.put(f"{API}/cases/{case}/members/Ben").status_code == 204
    assert ada.get(f"{API}/cases/{case}/members").json() == ["Ben"]
    assert ben.get(f"{API}/cases/{case}").json()["title"] == "A-1"
    assert ada.delete(f"{API}/cases/{case}/members/Ben").status_code == 204
    assert ben.get(f"{API}/cases/{case}").status_code == 404


def test_a_cell_of_another_case_is_not_there(ada: TestClient, case: str) -> None:
    number = cells_of(ada, case)[0]["id"]
    other = make_case(ada, "B-1")
    for what in ("", "/picture", "/thumbnail", "/explanation"):
        assert ada.get(f"{API}/cases/{other}/cells/{number}{what}").status_code == 404


def test_two_read_blind_and_then_compare(app: FastAPI, ada: TestClient, case: str) -> None:
    for name in ("Rita", "Ben"):
        ada.put(f"{API}/cases/{case}/members/{name}")
    rita, ben = browser(app, "Rita"), browser(app, "Ben")
    numbers = [each["id"] for each in cells_of(ada, case)]
    decide(ada, case, numbers[:1], "PLM")
    for each in (rita, ben):
        assert each.post(f"{API}/cases/{case}/readings/open").json()["blind"] is True
    decide(rita, case, numbers, "LYT")
    decide(ben, case, numbers[: CELLS // 2], "LYT")
    decide(ben, case, numbers[CELLS // 2 :], "MON")
    assert {each["label"] for each in cells_of(rita, case)} == {"LYT"}
    assert len(cells_of(ben, case, label="MON")) == CELLS // 2
    seen = ben.get(f"{API}/cases/{case}/cells/{numbers[0]}").json()
    assert (seen["label"], seen["decided_by"], seen["history"]) == ("LYT", "Ben", [])
    rows = rita.get(f"{API}/cases/{case}/differential").json()["rows"]
    assert {row["code"]: row["cells"] for row in rows if row["cells"]} == {"LYT": CELLS}
    for closed in ("report/report.html", "audit", "agreement?first=Rita&other=Ben"):
        assert rita.get(f"{API}/cases/{case}/{closed}").status_code == 403
    for each in (rita, ben):
        assert each.post(f"{API}/cases/{case}/readings/close").json()["blind"] is False
    compared = ada.get(f"{API}/cases/{case}/agreement?first=Rita&other=Ben").json()
    assert compared["same"]["agreed"]["value"] == 0.5
    assert compared["in_words"].startswith(f"They agree on 50.0% of {CELLS} cells")
    assert cells_of(ada, case)[0]["label"] == "PLM"


def test_cases_are_searched_archived_and_deleted(ada: TestClient, case: str) -> None:
    make_case(ada, "100% sure_")
    assert ada.get(f"{API}/cases", params={"search": "0% SURE_"}).json()["total"] == 1
    assert ada.get(f"{API}/cases", params={"search": "%"}).json()["total"] == 1
    assert ada.post(f"{API}/cases/{case}/archive").json()["archived_at"] is not None
    assert [each["id"] for each in ada.get(f"{API}/cases?archived=true").json()["rows"]] == [case]
    assert ada.post(f"{API}/cases/{case}/restore").json()["archived_at"] is None
    wrong = ada.request("DELETE", f"{API}/cases/{case}", json={"title": "A-2"})
    assert wrong.status_code == 409
    assert ada.request("DELETE", f"{API}/cases/{case}", json={"title": "A-1"}).status_code == 204
    assert ada.get(f"{API}/cases/{case}").status_code == 404


def test_the_size_of_a_pixel_stays_once_cells_were_read(ada: TestClient, case: str) -> None:
    changed = ada.patch(f"{API}/cases/{case}", json={"um_per_px": 0.2})
    assert changed.status_code == 409
    assert ada.patch(f"{API}/cases/{case}", json={"stain": "MGG"}).json()["stain"] == "MGG"


def test_classify_reads_pictures_and_keeps_nothing(ada: TestClient, case: str) -> None:
    sent = as_files(*pictures(3), ("x.jpg", b"no picture"))
    read = ada.post(f"{API}/classify", params={"um_per_px": 0.086}, files=sent).json()
    of_case = {each["file"]: each["machine"] for each in cells_of(ada, case)}
    assert len(read["cells"]) == 3
    assert all(of_case[each["file"]] == each["label"] for each in read["cells"])
    assert [each["file"] for each in read["refused"]] == ["x.jpg"]
    assert ada.get(f"{API}/cases").json()["total"] == 1


def test_the_audit_log_is_whole_and_the_queue_leads_to_the_case(
    app: FastAPI, ada: TestClient, case: str
) -> None:
    root = browser(app, "Root")
    assert root.get(f"{API}/audit/verify").json()["broken"] is None
    lines = root.get(f"{API}/audit/export").text.splitlines()
    assert len(lines) == root.get(f"{API}/audit").json()["total"]
    queue = root.get(f"{API}/queue", params={"limit": 3}).json()
    assert (queue["total"], len(queue["rows"])) == (CELLS, 3)
    assert {each["case"] for each in queue["rows"]} == {case}
    for closed in ("audit", "audit/verify", "audit/export"):
        assert ada.get(f"{API}/{closed}").status_code == 403
    codes = [each["code"] for each in ada.get(f"{API}/classes").json()]
    assert codes == list(CLASSES)


def test_reviewers_take_the_queue_and_reviewed_cells_of_their_own_cases(
    app: FastAPI, ada: TestClient, case: str, tmp_path: Path
) -> None:
    ben, rita = browser(app, "Ben"), browser(app, "Rita")
    cells = [each["id"] for each in cells_of(ada, case)]
    decide(ada, case, cells[:3], "BLA")
    assert ada.get(f"{API}/queue").json()["total"] == CELLS - 3
    assert ben.get(f"{API}/queue").json() == {"total": 0, "rows": []}
    assert rita.get(f"{API}/queue").status_code == 403
    assert ada.get(f"{API}/reviewed/manifest.csv").status_code == 404
    sign(ada, case)
    for other, status in ((ben, 404), (rita, 403)):
        assert other.get(f"{API}/reviewed/cells.zip").status_code == status
    alone = ada.get(f"{API}/reviewed/manifest.csv")
    packed = ada.get(f"{API}/reviewed/cells.zip")
    assert (packed.headers["x-cells"], packed.headers["x-disputed"]) == ("3", "0")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert archive.read("manifest.csv") == alone.content
        archive.extractall(tmp_path / "taken")
    taken = read_manifest(tmp_path / "taken" / "manifest.csv")
    assert [cell.label for cell in taken.cells] == ["BLA"] * 3
    assert {cell.patient for cell in taken.cells} == {case}
    assert not taken.rejects


def test_the_queue_does_not_tell_a_blind_reader_what_others_decided(
    ada: TestClient, case: str
) -> None:
    assert ada.get(f"{API}/queue").json()["total"] == CELLS
    ada.post(f"{API}/cases/{case}/readings/open")
    assert ada.get(f"{API}/queue").json()["total"] == 0
