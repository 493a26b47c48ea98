"""The report on a case: real cells, real files, and cases that are unlike a usual marrow."""

import html
import json
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import pypdfium2
import pytest
from conftest import SAMPLES
from test_classify import rows_of, run

from marrowscope.cases.case import read_case
from marrowscope.cases.classify_case import Reading, read_cells
from marrowscope.cases.report import WRITERS, report_case
from marrowscope.cases.report_content import Sheet
from marrowscope.differential.accumulator import Fate
from marrowscope.differential.options import CountingOptions
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.errors import CaseError, ImageError
from marrowscope.inference.options import InferenceOptions, OutputOptions
from marrowscope.model.bundle import Bundle, load_bundle

CELLS = sorted((SAMPLES / "cells/mll").rglob("*.jpg"))
NO_BLAST_RANGE = Norms({("LYT",): (5.0, 20.0)}, "a laboratory", None)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle("default")


def a_case(folder: Path, labels: Sequence[str], name: str = "2026-117") -> Path:
    """Lay out a case of one slide whose cells a person gave these labels; "" is for no decision."""
    cells = folder / "cells"
    cells.mkdir(parents=True)
    rows = ["path,label,reviewer,time"]
    for number, label in enumerate(labels):
        shutil.copy(CELLS[number % len(CELLS)], cells / f"{number:03}.jpg")
        if label:
            rows.append(f"cells/{number:03}.jpg,{label},A. Meier,2026-03-03T10:00")
    (folder / "reviews.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "case.toml").write_text(
        f'id = "{name}"\num_per_px = 0.086\n[[slides]]\nname = "A"\ncells = "cells"\n',
        encoding="utf-8",
    )
    return folder


def written(
    case: Path, bundle: Bundle, norms: Norms = ADULT_MARROW, *, resume: bool = False
) -> tuple[Sheet, Path]:
    folder = case.parent / "out"
    reading = read_cells(
        read_case(case),
        bundle,
        folder,
        inference=InferenceOptions(threads=1),
        counting=CountingOptions(norms=norms),
        output=OutputOptions(resume=resume),
    )
    return report_case(reading, folder), folder


def words_of_page(folder: Path) -> str:
    """Give what the page says, without its marks."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def words_of_pdf(folder: Path) -> str:
    """Give what the PDF says; words that are broken at a line's end are put together."""
    with pypdfium2.PdfDocument(folder / "report.pdf") as pdf:
        pages = [page.get_textpage().get_text_bounded() for page in pdf]
    return " ".join(" ".join(pages).replace("\ufffe", "-").split())


def in_both(folder: Path, *sentences: str) -> None:
    page, pdf = words_of_page(folder), words_of_pdf(folder)
    for sentence in sentences:
        assert sentence in page
        assert sentence in pdf


def test_five_blasts_of_a_hundred_cells(bundle: Bundle, tmp_path: Path) -> None:
    """The published limits, 1.6 to 11.3, stand in the first box with the thresholds between."""
    labels = ["BLA"] * 5 + ["NGS"] * 60 + ["EBO"] * 20 + ["LYT"] * 15 + ["ART"] * 3
    sheet, folder = written(a_case(tmp_path / "case", labels), bundle)
    blasts, plasma, ratio, size = sheet.keys
    assert (blasts.value, blasts.interval) == ("5.0%", "95% interval 1.6 to 11.3%")
    assert blasts.alert == (
        "The interval straddles 5% (WHO 2022: MDS-IB1; ICC 2022: MDS-EB) and 10% (WHO 2022: "
        "MDS-IB2; ICC 2022: MDS/AML)."
    )
    assert ratio.value == "3.2"
    assert plasma.value == "0.0%"
    assert (size.value, size.lines) == ("100", ("of 103 read on 1 slide",))
    in_both(
        folder,
        "Blasts 5.0% 95% interval 1.6 to 11.3%",
        "Read by machine; 103 of the 103 cells were reviewed by A. Meier.",
        "Too few cells: 100 nucleated cells were counted",
        "Artefact (ART) 3",
        "A person reviewed every cell: there is nothing to adjust.",
        "Haemodilution",
        "Reviewed and released by",
        bundle.model_sha256,
    )


def test_every_file_is_there_and_agrees(bundle: Bundle, tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["PLM", "BLA", *[""] * 30])
    (case / "cells/notes.txt").write_text("hello")
    sheet, folder = written(case, bundle)
    assert {file.name for file in folder.iterdir()} == {*WRITERS, "slides"}
    rows = rows_of(folder / "cells.csv")
    cells = [row for row in rows if row["fate"] != "rejected"]
    assert len(cells) == 32
    assert rows[-1]["path"] == "cells/notes.txt"
    assert rows[-1]["reason"].startswith("not a picture that can be read")
    assert (cells[0]["label"], cells[0]["fate"], cells[0]["reviewer"]) == (
        "PLM", "counted", "A. Meier",
    )  # fmt: skip
    counted = [row["label"] for row in cells if row["fate"] == "counted"]
    outcome = json.loads((folder / "differential.json").read_text(encoding="utf-8"))
    assert outcome["differential"]["counted"] == len(counted)
    assert outcome["reviewed"]["reviewers"] == ["A. Meier"]
    for row in rows_of(folder / "differential.csv"):
        if row["counted"] == "yes":
            assert int(row["cells"]) == counted.count(row["code"])
            assert float(row["percent"]) == pytest.approx(
                100 * int(row["cells"]) / len(counted), abs=1e-3
            )
    fates = {fate: len(sheet.reading.with_fate(fate)) for fate in Fate}
    assert sum(fates.values()) == 32
    blasts = outcome["adjusted"]["shares"][0]
    in_both(
        folder,
        f"Adjusted for the model's errors: {blasts['percent']:.1f}% ({blasts['low']:.1f} to "
        f"{blasts['high']:.1f}), model-dependent",
        "From the machine's readings alone, as they were before the review.",
        "cells/notes.txt: not a picture that can be read",
    )


def test_no_cells_at_all(bundle: Bundle, tmp_path: Path) -> None:
    _, folder = written(a_case(tmp_path / "case", []), bundle)
    in_both(
        folder,
        "No nucleated cell of the differential was found: there is nothing to count.",
        "Blasts not known No nucleated cell was counted, so nothing can be said.",
        "M:E ratio not computable",
        "No cell was counted: there is no share to correct.",
        "the folder holds no files",
    )
    assert "%" not in words_of_page(folder).split("Model default")[0]
    assert "%" not in words_of_pdf(folder).split("Model default")[0]


def test_no_erythroid_cells(bundle: Bundle, tmp_path: Path) -> None:
    _, folder = written(a_case(tmp_path / "case", ["NGS"] * 8 + ["LYT"] * 4), bundle)
    in_both(
        folder,
        "M:E ratio not computable No erythroid cell was counted beside 8 myeloid cells",
    )


def test_one_class_only(bundle: Bundle, tmp_path: Path) -> None:
    _, folder = written(a_case(tmp_path / "case", ["BLA"] * 12), bundle)
    in_both(folder, "Blasts 100.0% 95% interval 73.5 to 100.0%", "Blast (BLA): 12")


def test_ten_cells(bundle: Bundle, tmp_path: Path) -> None:
    labels = ["BLA"] * 2 + ["NGS"] * 5 + ["EBO"] * 3
    sheet, folder = written(a_case(tmp_path / "case", labels), bundle)
    assert sheet.keys[-1].alert == (
        "Too few: at least 300, and 500 where a percentage decides (ICSH 2008)."
    )
    in_both(
        folder,
        "Blasts 20.0% 95% interval 2.5 to 55.6%",
        "Too few cells: 10 nucleated cells were counted; ICSH 2008 asks for at least 300",
        "The interval straddles 5%",
    )


def test_a_class_that_the_reference_file_does_not_know(bundle: Bundle, tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["HAC"] * 4 + ["LYT"] * 6)
    sheet, folder = written(case, bundle, NO_BLAST_RANGE)
    row = next(row for row in sheet.differential.rows if row.code == "HAC")
    assert (row.cells, row.reference, row.standing) == (4, None, "")
    in_both(folder, "HAC Hairy cell 4 40.0", "Reference ranges: a laboratory. None for", "HAC")


def test_a_person_goes_before_the_machine_and_its_doubts(bundle: Bundle, tmp_path: Path) -> None:
    """A cell set aside as unlike the known ones counts once a person has named it."""
    case = a_case(tmp_path / "case", [""] * len(CELLS))
    before, _ = written(case, bundle)
    strange = before.reading.with_fate(Fate.UNLIKE)[0]
    name = Path(strange.machine.path).name
    (case / "reviews.csv").write_text(
        f"path,label,reviewer,time\ncells/{name},FGC,B. Roth,2026-03-03T10:00\n"
        "cells/gone.jpg,PMO,B. Roth,2026-03-03T10:01\n",
        encoding="utf-8",
    )
    after, folder = written(case, bundle, resume=True)
    assert after.differential.counted == before.differential.counted + 1
    again = next(cell for cell in after.reading.cells if cell.machine == strange.machine)
    assert (again.fate, again.reading.label) == (Fate.COUNTED, "FGC")
    in_both(
        folder,
        "1 of the 148 cells was reviewed by B. Roth",
        "Faggot cell (FGC): 1",
        f"Changed from the machine's class: {strange.machine.label} to FGC 1.",
        "On pictures that are not in the case, not used: 1 (cells/gone.jpg).",
    )


def test_the_same_case_makes_the_same_files(bundle: Bundle, tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["BLA", *[""] * 5])
    _, folder = written(case, bundle)
    first = {name: (folder / name).read_bytes() for name in WRITERS}
    written(case, bundle, resume=True)
    assert {name: (folder / name).read_bytes() for name in WRITERS} == first


def test_names_are_words_and_never_marks(bundle: Bundle, tmp_path: Path) -> None:
    """Also letters that the font of the PDF has no picture of."""
    case = a_case(tmp_path / "case", ["BLA"], name="<b>Ä & Ж</b>")
    _, folder = written(case, bundle)
    assert "differential of <b>Ä & Ж</b>" in words_of_page(folder)
    assert "<b>Ä" not in (folder / "report.html").read_text(encoding="utf-8")
    assert "differential of <b>Ä & ?</b>" in words_of_pdf(folder)


def test_a_name_that_asks_for_a_picture_of_the_net_is_a_name(
    bundle: Bundle, tmp_path: Path
) -> None:
    """ReportLab fetches what an `<img>` names (CVE-2020-28463); nobody may be asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        name = f"<img src='http://127.0.0.1:{server.getsockname()[1]}/x.png'/>"
        _, folder = written(a_case(tmp_path / "case", ["BLA"], name=name), bundle)
        with pytest.raises(TimeoutError):
            server.accept()
    assert "<img src=" in words_of_pdf(folder)


def test_a_picture_in_two_slides_would_count_twice(bundle: Bundle, tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["BLA"])
    with (case / "case.toml").open("a", encoding="utf-8") as file:
        file.write('[[slides]]\nname = "B"\ncells = "cells/0*.jpg"\n')
    with pytest.raises(CaseError) as error:
        written(case, bundle)
    assert str(error.value) == (
        f"{case / 'cells/000.jpg'} is in the slides A and B, and would count twice; give each "
        "slide its own folder"
    )


def test_a_picture_that_has_gone_is_named(bundle: Bundle, tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["BLA"])
    folder = tmp_path / "out"
    reading: Reading = read_cells(
        read_case(case), bundle, folder, inference=InferenceOptions(threads=1)
    )
    (case / "cells/000.jpg").unlink()
    with pytest.raises(ImageError, match=r"000\.jpg, to be shown in the report: no such file"):
        report_case(reading, folder)
    assert not (folder / "report.html").exists()


def test_the_command(tmp_path: Path) -> None:
    case = a_case(tmp_path / "case", ["BLA", "NGS", ""])
    (case / "cells/notes.txt").write_text("hello")
    command = ("report", case, "--output", tmp_path / "out", "--threads", 1)
    done = run(*command)
    assert done.returncode == 3, done.stderr
    assert "Blasts: " in done.stdout
    assert str(tmp_path / "out/report.pdf") in done.stdout
    assert "rejected: slide A, " in done.stderr
    again = run(*command)
    assert again.returncode == 1
    assert "--resume to write the report again without reading its cells again" in again.stderr
    told = run(*command, "--resume", "--json")
    assert json.loads(told.stdout) == json.loads(
        (tmp_path / "out/differential.json").read_text(encoding="utf-8")
    )
    other = run(*command, "--resume", "--coverage", 0.9)
    assert "coverage was nothing, now it is 0.9" in other.stderr
