"""What strangers may send: pictures are kept, everything else is refused and named."""

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx2 import Response
from PIL import Image
from starlette.testclient import TestClient
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

from marrowscope.errors import UploadError
from marrowscope.model.bundle import Bundle
from marrowscope.store.blobs import Blobs
from marrowscope.store.users import user_called
from marrowscope.web.archives import members
from marrowscope.web.settings import MIB, Limits
from marrowscope.web.uploads import Incoming, TakenIn, shown_name, take_in

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def taken(folder: Path, *files: tuple[str, bytes], **limits: int) -> TakenIn:
    incoming = [Incoming(name, io.BytesIO(content)) for name, content in files]
    return take_in(incoming, Blobs(folder / "blobs"), Limits(**limits))


def reasons(outcome: TakenIn) -> dict[str, str]:
    return {each.file: each.reason for each in outcome.refused}


@pytest.fixture
def app(tmp_path: Path, toy_bundle: Bundle) -> Iterator[FastAPI]:
    settings = tight(settings_of(tmp_path, toy_bundle), upload_bytes=2 * MIB, cells=20)
    with opened(settings) as running:
        yield running


@pytest.fixture
def ada(app: FastAPI) -> TestClient:
    return browser(app, "Ada")


def test_pictures_are_taken_by_what_they_are_not_by_their_names(tmp_path: Path) -> None:
    (name, cell), *_ = pictures(1)
    outcome = taken(tmp_path, ("cell.exe", cell), ("page.jpg", SVG), ("empty.png", b""))
    assert [cell.file for cell in outcome.cells] == ["cell.exe"]
    assert outcome.cells[0].width == Image.open(io.BytesIO(cell)).width
    assert reasons(outcome) == {
        "page.jpg": "not a picture that can be read; JPEG, PNG, TIFF, BMP, WEBP with 8 bits a "
        "channel are",
        "empty.png": "the file is empty (0 bytes)",
    }
    assert name


def test_how_far_a_zip_is_unpacked_is_told_file_by_file(tmp_path: Path) -> None:
    (first, one), (second, two) = pictures(2)
    packed = zip_of((first, one), ("__MACOSX/._x.jpg", b"x"), (second, b"no picture"))
    told: list[tuple[int, int]] = []
    files = [Incoming("cells.zip", io.BytesIO(packed)), Incoming(second, io.BytesIO(two))]
    take_in(files, Blobs(tmp_path / "blobs"), Limits(), lambda *far: told.append(far))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_upload_at_work_is_told_to_its_sender_alone(app: FastAPI, ada: TestClient) -> None:
    unpacking, user = room_of(app).unpacking, ada.get(f"{API}/session").json()["name"]
    assert user == "Ada"
    with room_of(app).store.read() as session:
        sent = user_called(session, user).id, "monday"
    with unpacking.going(sent):
        unpacking.tell(sent, 3, 2000)
        assert ada.get(f"{API}/uploads/monday").json() == {"done": 3, "total": 2000}
        assert browser(app, "Ben").get(f"{API}/uploads/monday").json()["total"] == 0
    assert ada.get(f"{API}/uploads/monday").json() == {"done": 0, "total": 0}


def test_a_zip_gives_its_pictures_and_leaves_out_what_systems_leave(tmp_path: Path) -> None:
    (first, one), (second, two) = pictures(2)
    packed = zip_of(
        (f"slide A/{first}", one),
        (f"deep/er/{second}", two),
        ("__MACOSX/._x.jpg", b"x"),
        (".hidden.jpg", one),
        ("Thumbs.db", b"x"),
    )
    outcome = taken(tmp_path, ("cells.zip", packed))
    assert [cell.file for cell in outcome.cells] == [first, second]
    assert outcome.refused == ()
    assert Blobs(tmp_path / "blobs").read(outcome.cells[1].sha256) == two


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..\\..\\win.ini", "C:\\win.ini", "a/../../b.jpg"]
)
def test_names_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    outcome = taken(tmp_path, ("x.zip", zip_of((name, pictures(1)[0][1]))))
    assert list(reasons(outcome).values()) == [
        "it has no name, or one that leads out of the archive"
    ]
    assert outcome.cells == ()
    assert [path.name for path in tmp_path.rglob("*")] == ["blobs"]


def test_an_archive_within_an_archive_is_not_opened(tmp_path: Path) -> None:
    inner = zip_of(*pictures(1))
    outcome = taken(tmp_path, ("x.zip", zip_of(("inner.zip", inner), ("cell.jpg", inner))))
    assert set(reasons(outcome).values()) == {"an archive within an archive is not opened"}


def test_links_and_encrypted_files_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("locked.jpg", b"secret")
    packed = bytearray(buffer.getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.rfind(signature) + offset] |= 1
    outcome = taken(tmp_path, ("x.zip", bytes(packed)))
    assert reasons(outcome) == {"link.jpg": "it is a link", "locked.jpg": "it is encrypted"}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = zip_of(("bomb.jpg", bytes(20 * MIB)))
    assert len(bomb) < 40_000
    with pytest.raises(UploadError, match="unpacks to 20 MiB in one file"):
        taken(tmp_path, ("bomb.zip", bomb))
    with pytest.raises(UploadError, match="unpacks to 3 MiB in all"):
        taken(tmp_path, ("x.zip", zip_of(("a", bytes(3 * MIB)))), unpacked_bytes=2 * MIB)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    """The list of files claims 100 bytes; no more is unpacked, and the sum is wrong then."""
    packed = bytearray(zip_of(("liar.jpg", bytes(3 * MIB))))
    place = packed.find(b"PK\x01\x02")
    struct.pack_into("<I", packed, place + 24, 100)
    with pytest.raises(UploadError, match="damaged"):
        taken(tmp_path, ("liar.zip", bytes(packed)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 and nothing more", "it has no end"),
        (zip_of(*pictures(1))[:-30], "damaged"),
        (zip_of(*[(f"{number}.txt", b"") for number in range(12)]), "at most 10 files"),
        (b"PK\x03\x04" + b"PK\x05\x06" + bytes(6) + b"\xff" * 6 + bytes(6), "at most 5 files"),
    ],
)
def test_damaged_archives_and_too_many_files_are_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    files = 5 if "5 files" in words else 10
    with pytest.raises(UploadError, match=words):
        taken(tmp_path, ("x.zip", content), files=files)


def test_an_archive_of_the_64_bit_kind_is_refused_by_its_end() -> None:
    packed = zip_of(*pictures(1))
    place = packed.rfind(b"PK\x05\x06")
    locator = b"PK\x06\x07" + bytes(16)
    with pytest.raises(UploadError, match="64-bit kind"):
        list(members(io.BytesIO(packed[:place] + locator + packed[place:]), Limits()))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("C:\\cells\\a.jpg", "a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("line\nbreak.jpg", "line?break.jpg"),
        ("dir/", "dir"),
        ("", "unnamed"),
        ("\u202egpj.exe", "?gpj.exe"),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
    ],
)
def test_names_are_shown_in_one_line(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_an_upload_is_answered_with_what_became_of_each_file(ada: TestClient) -> None:
    case = make_case(ada)
    (name, cell), *_ = pictures(1)
    sent = as_files((name, cell), ("again.jpg", cell), ("x.svg", SVG))
    answer = ada.post(f"{API}/cases/{case}/files", files=sent, data={"slide": "A"}).json()
    assert (answer["new"], answer["known"]) == (1, 1)
    assert [each["file"] for each in answer["refused"]] == ["x.svg"]
    assert wait_until_read(ada, case)["progress"]["read"] == 1
    assert ada.get(f"{API}/cases/{case}/cells").json()["rows"][0]["slide"] == "A"


def test_the_same_upload_with_the_same_key_is_done_once(ada: TestClient) -> None:
    case = make_case(ada)
    key = {"Idempotency-Key": "monday"}
    sent = as_files(("cells.zip", zip_of(*pictures(2))))
    first = ada.post(f"{API}/cases/{case}/files", files=sent, headers=key)
    assert first.json()["new"] == 2
    assert ada.post(f"{API}/cases/{case}/files", files=sent, headers=key).json() == first.json()
    other = as_files(*pictures(3))
    refused = ada.post(f"{API}/cases/{case}/files", files=other, headers=key)
    assert refused.status_code == 409
    facts = {"title": "twice", "um_per_px": 0.1}
    made = [ada.post(f"{API}/cases", json=facts, headers={"Idempotency-Key": "c"}) for _ in "12"]
    assert made[0].json()["id"] == made[1].json()["id"]


def test_a_body_that_is_too_large_is_refused_by_its_announced_length(ada: TestClient) -> None:
    case = make_case(ada)
    large = ("large.jpg", bytes(3 * MIB))
    answer = ada.post(f"{API}/cases/{case}/files", files=as_files(large))
    assert_too_large(answer)
    five = {"content-length": str(5 * 2**30), "content-type": "multipart/form-data; boundary=x"}
    assert_too_large(ada.post(f"{API}/cases/{case}/files", content=b"", headers=five))
    assert_too_large(ada.post(f"{API}/classify", content=b"", headers=five))


def test_a_body_that_hides_its_length_is_cut_off(app: FastAPI, ada: TestClient) -> None:
    case = make_case(ada)

    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        for _ in range(40):
            yield bytes(MIB // 8)

    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = ada.post(f"{API}/cases/{case}/files", content=endless(), headers=kind)
    assert_too_large(answer)
    assert list(room_of(app).blobs.root.rglob("*")) == []
    assert ada.get(f"{API}/cases/{case}").json()["progress"]["total"] == 0


def assert_too_large(answer: Response) -> None:
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "at most 2 MiB are taken at once; send it in parts"


def test_a_case_has_so_many_cells_and_no_more(app: FastAPI, ada: TestClient) -> None:
    case = make_case(ada)
    sent = as_files(("cells.zip", zip_of(*pictures(21))))
    answer = ada.post(f"{API}/cases/{case}/files", files=sent)
    assert answer.status_code == 422
    assert "at most 20 cells" in answer.json()["detail"]
    assert ada.get(f"{API}/cases/{case}").json()["progress"]["total"] == 0
    assert list(room_of(app).blobs.names())


def test_nobody_adds_to_anothers_case_or_without_files(app: FastAPI, ada: TestClient) -> None:
    case = make_case(ada)
    sent = as_files(*pictures(1))
    assert browser(app, "Ben").post(f"{API}/cases/{case}/files", files=sent).status_code == 404
    rita = browser(app, "Rita").post(f"{API}/cases/{case}/files", files=sent)
    assert rita.status_code == 403
    assert ada.post(f"{API}/cases/{case}/files", data={"files": "text"}).status_code == 422
    assert ada.post(f"{API}/cases/{case}/files").status_code in {400, 422}


NASTY = [
    "'; DROP TABLE cases; --",
    '" OR ""="',
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "%00%0d%0aSet-Cookie: a=b",
    "{{7*7}}${7*7}",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("text", NASTY)
def test_sql_and_html_in_every_text_are_texts(ada: TestClient, text: str) -> None:
    facts = {"title": text, "material": text, "stain": text, "um_per_px": 0.1}
    made = ada.post(f"{API}/cases", json=facts)
    if "\u202e" in text:
        assert made.status_code == 422
        return
    case = made.json()["id"]
    shown = ada.get(f"{API}/cases/{case}")
    assert (shown.json()["title"], shown.json()["stain"]) == (text, text)
    assert shown.headers["content-type"] == "application/json"
    assert ada.get(f"{API}/cases", params={"search": text}).json()["total"] == 1
    sent = as_files((text, pictures(1)[0][1]))
    added = ada.post(f"{API}/cases/{case}/files", files=sent, data={"slide": text})
    assert added.status_code == 200, added.text
    wait_until_read(ada, case)
    page = ada.get(f"{API}/cases/{case}/report/report.html")
    assert page.status_code == 200, page.text
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    assert "script" not in page.headers["content-security-policy"].replace("default", "")
    assert "sandbox" in page.headers["content-security-policy"]


@pytest.mark.parametrize("text", ["\0", "\ud800", "a\nb"])
def test_what_no_database_holds_is_refused(ada: TestClient, text: str) -> None:
    body = f'{{"title": "{text.encode("unicode_escape").decode()}", "um_per_px": 0.1}}'
    body = body.replace("\\x00", "\\u0000")
    answer = ada.post(f"{API}/cases", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
