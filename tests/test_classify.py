"""From files to a differential, through the real command, with the files that go wrong in life."""

import csv
import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from PIL import Image

from marrowscope.differential.accumulator import Gallery
from marrowscope.errors import OutputError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import Progress
from marrowscope.inference.predictor import Predictor
from marrowscope.inference.thumbnails import picture_of
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Picture, Prediction, Reject

CLASSIFY = ("classify", "--um-per-px", 0.086)
CELLS = SAMPLES / "cells/mll/NGS"
MOST_LINES, MOST_WORDS = 32, 250
"""On the screen; the rest is in the report, in JSON and behind --verbose."""


def run(*arguments: str | float | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would, in a process of its own."""
    command = [sys.executable, "-m", "marrowscope", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def bad_files(tmp_path: Path) -> Path:
    """Three good cells among everything that the issue of this command names."""
    folder = tmp_path / "scan"
    folder.mkdir()
    for good in sorted(CELLS.iterdir())[:3]:
        shutil.copy(good, folder)
    cell = Image.open(min(CELLS.iterdir()))
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.jpg").touch()
    (folder / "cut.jpg").write_bytes(min(CELLS.iterdir()).read_bytes()[:9000])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.fromarray(np.zeros((64, 64), dtype=np.uint16)).save(folder / "deep.tif")
    cell.convert("CMYK").save(folder / "print.jpg")
    header = b"\x89PNG\r\n\x1a\n"
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    import zlib

    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    (folder / "huge.png").write_bytes(header + chunk + b"\0\0\0\0IEND\xaeB`\x82")
    (folder / ".hidden").write_text("left alone")
    (folder / "Thumbs.db").write_text("left alone")
    return folder


def test_good_cells_are_classified_beside_every_kind_of_bad_file(
    bad_files: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "nothing"
    empty.mkdir()
    done = run(*CLASSIFY, bad_files, tmp_path / "gone", empty, "--output", tmp_path / "out")
    assert done.returncode == 3
    rejected = rows_of(tmp_path / "out/rejects.csv")
    rejects = {Path(row["path"]).name: row["reason"] for row in rejected}
    assert set(rejects) == {
        "text.jpg", "empty.jpg", "cut.jpg", "dot.png", "deep.tif", "print.jpg", "huge.png",
        "gone", "nothing",
    }  # fmt: skip
    assert rejects["huge.png"].startswith("too large: over 178 million pixels")
    assert rejects["gone"] == "no such file or folder"
    assert rejects["nothing"] == "the folder holds no files"
    for name, reason in rejects.items():
        assert f"{name}: {reason}" in done.stderr
    predictions = rows_of(tmp_path / "out/predictions.csv")
    assert [Path(row["path"]).name for row in predictions] == [
        cell.name for cell in sorted(CELLS.iterdir())[:3]
    ]
    assert "3 cells read, 9 rejected" in done.stdout


@pytest.fixture(scope="module")
def samples_read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sample cells, classified by the default bundle through the command."""
    folder = tmp_path_factory.mktemp("samples") / "out"
    done = run(*CLASSIFY, SAMPLES / "cells", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f" {folder / 'report.html'}\n")
    assert len(done.stdout.splitlines()) <= MOST_LINES
    assert len(done.stdout.split()) <= MOST_WORDS
    return folder


def test_the_default_bundle_reads_cells_that_it_never_saw(samples_read: Path) -> None:
    """A floor far below the measured figures: it breaks when preprocessing or classes slip."""
    label_of = {f"samples/{row['path']}": row["label"] for row in rows_of(SAMPLES / "cells.csv")}
    classes = load_bundle("default").classes
    for source, floor in (("mll", 0.65), ("pbc", 0.75)):
        pairs = [
            (label_of[Path(row["path"]).relative_to(ROOT).as_posix()], row["label"])
            for row in rows_of(samples_read / "predictions.csv")
            if f"/{source}/" in row["path"]
        ]
        covered = [truth == label for truth, label in pairs if truth in classes]
        assert sum(covered) / len(covered) > floor


def test_the_files_and_what_they_hold(samples_read: Path) -> None:
    assert {file.name for file in samples_read.iterdir()} == {
        "predictions.csv", "rejects.csv", "differential.json", "report.html", "classify.json",
    }  # fmt: skip
    rows = rows_of(samples_read / "predictions.csv")
    classes = load_bundle("default").classes
    assert list(rows[0]) == ["path", "label", "probability", "set", "novelty", *classes]
    assert len(rows) == sum(1 for _ in (SAMPLES / "cells").rglob("*.jpg"))
    for row in rows:
        probabilities = [float(row[code]) for code in classes]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert float(row["probability"]) == max(probabilities) == float(row[row["label"]])
    outcome = json.loads((samples_read / "differential.json").read_text())
    counted = sum(row["cells"] for row in outcome["differential"]["rows"])
    excluded = sum(row["cells"] for row in outcome["differential"]["excluded"])
    assert counted == outcome["differential"]["counted"]
    known = [row for row in rows if float(row["novelty"]) <= outcome["novel"]["threshold"]]
    assert len(known) == len(rows) - outcome["novel"]["cells"] < len(rows)
    assert counted + excluded == len(known)
    assert outcome["cells"] == len(rows)
    for row in outcome["differential"]["rows"]:
        assert row["cells"] == sum(1 for each in known if each["label"] == row["code"])
        assert row["percent"] == pytest.approx(100 * row["cells"] / counted)


def test_the_default_folder_is_new_and_named(tmp_path: Path) -> None:
    done = run(*CLASSIFY, min(CELLS.iterdir()), cwd=tmp_path)
    folder = next(tmp_path.iterdir())
    assert re.fullmatch(r"marrowscope-\d{8}-\d{6}", folder.name)
    assert done.stdout.endswith(f" {folder.name}/report.html\n")


def test_json_for_machines(tmp_path: Path) -> None:
    done = run(*CLASSIFY, CELLS, "--json", "--output", tmp_path / "out")
    assert done.returncode == 0
    outcome = json.loads(done.stdout)
    assert outcome == json.loads((tmp_path / "out/differential.json").read_text())
    assert outcome["cells"] == 14
    assert outcome["folder"] == str(tmp_path / "out")


def test_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    done = run(*CLASSIFY, tmp_path / "gone", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "rejected: " in done.stderr
    assert rows_of(tmp_path / "out/predictions.csv") == []
    assert "there is nothing to count" in (tmp_path / "out/report.html").read_text()


def test_results_are_not_overwritten_unless_asked(tmp_path: Path) -> None:
    cell = min(CELLS.iterdir())
    assert run(*CLASSIFY, cell, "--output", tmp_path / "out").returncode == 0
    again = run(*CLASSIFY, cell, "--output", tmp_path / "out")
    assert again.returncode == 1
    assert again.stderr == (
        f"error: {tmp_path / 'out'} already holds something\n"
        "hint: give another folder, or --overwrite to replace the results in it\n"
    )
    assert run(*CLASSIFY, cell, "--output", tmp_path / "out", "--overwrite").returncode == 0


def test_patterns_files_and_folders_lead_to_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "sub/deeper").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "sub/c.jpg", "sub/deeper/d.jpg", "sub/.e.jpg"):
        (tmp_path / name).touch()
    inputs = [f"{tmp_path}/*.jpg", str(tmp_path / "a.jpg"), str(tmp_path), f"{tmp_path}/*.png"]
    found = list(find_files(inputs))
    assert [
        Path(each.path).relative_to(tmp_path).as_posix()
        for each in found
        if isinstance(each, Picture)
    ] == [
        "a.jpg", "b.jpg", "sub/c.jpg", "sub/deeper/d.jpg",
    ]  # fmt: skip
    assert found[-1] == Reject(f"{tmp_path}/*.png", "no file matches this pattern")


def test_batches_do_not_change_a_prediction(toy_bundle: Bundle) -> None:
    files = [*sorted(CELLS.iterdir())[:5], Path("gone.jpg"), *sorted(CELLS.iterdir())[5:7]]
    predictor = Predictor(toy_bundle, threads=1)
    one, all_at_once = (list(predictor.classify(map(Picture, files), size)) for size in (1, 32))
    assert one[5] == all_at_once[5] == Reject("gone.jpg", "no such file")
    for a, b in zip(one, all_at_once, strict=True):
        if isinstance(a, Prediction) and isinstance(b, Prediction):
            assert a.path == b.path
            assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)


def test_no_half_written_file_stands_under_its_name(toy_bundle: Bundle, tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(
            map(Picture, sorted(CELLS.iterdir())),
            toy_bundle,
            tmp_path / "out",
            progress=Progress(cell=stop),
        )
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "classify.json", "predictions.csv.partial", "rejects.csv.partial",
    }  # fmt: skip


def test_a_folder_that_cannot_be_made(toy_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be used for results"):
        classify([], toy_bundle, tmp_path / "file")


def test_the_gallery_keeps_the_least_certain_and_counts_all() -> None:
    gallery = Gallery(limit=3)
    for percent in (50, 90, 40, 99, 60, 70):
        gallery.add(Prediction(f"{percent}.jpg", "BLA", percent / 100, (percent / 100,)))
    assert [each.path for each in gallery.least_certain("BLA")] == ["40.jpg", "50.jpg", "60.jpg"]
    assert gallery.cells["BLA"] == 6


def test_the_report_needs_nothing_from_outside_and_escapes_names(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / "<script>alert(1)<"
    folder.mkdir()
    shutil.copy(min(CELLS.iterdir()), folder / "<b>cell.jpg")
    classify(
        map(Picture, (folder / "<b>cell.jpg", folder / "gone.jpg")), toy_bundle, tmp_path / "out"
    )
    page = (tmp_path / "out/report.html").read_text()
    assert "<script" not in page
    assert "&lt;b&gt;cell.jpg" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:image/jpeg;base64,|#)""", page)
    assert "url(" not in page
    assert "Too few cells: 1 nucleated cells were counted" in page or "nothing to count" in page
    assert "no such file" in page
    assert "has not been evaluated: how often it errs is unknown" in page


def test_the_report_shows_each_class_with_its_least_certain_cell_first(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    files = sorted((SAMPLES / "cells/mll").rglob("*.jpg"))
    classify(map(Picture, files), toy_bundle, tmp_path / "out")
    page, _, unlike = (tmp_path / "out/report.html").read_text().partition('<section id="unlike">')
    novel = json.loads((tmp_path / "out/differential.json").read_text())["novel"]["cells"]
    assert unlike.count("<figure") == novel
    sections = re.split(r'<h3 id="', page)[1:]
    assert toy_bundle.novelty
    known = {
        row["label"]
        for row in rows_of(tmp_path / "out/predictions.csv")
        if not toy_bundle.novelty.is_novel(float(row["novelty"]))
    }
    assert len(sections) == len(known)
    for section in sections:
        shown = [int(percent) for percent in re.findall(r"<strong>(\d+)%</strong>", section)]
        assert shown == sorted(shown)
    shown_at_most_60 = [min(60, int(n)) for n in re.findall(r'">[A-Z]{3} (\d+)</a>', page)]
    assert page.count("<figure") == sum(shown_at_most_60) <= len(files)


def test_a_bundle_that_sees_a_field_must_know_the_size_of_a_pixel(tmp_path: Path) -> None:
    done = run("classify", CELLS, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the network sees 21.5 micrometres around a cell, so it must know how large a pixel "
        "is: give --um-per-px, as your scanner names it, or 7.2 (a red cell's width in "
        "micrometres) divided by its width in pixels, or what `marrowscope find-cells` tells of a "
        "whole field of the same scanner; about 0.086 for the public bone marrow set, 0.09 for "
        "the Barcelona blood set\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_model_of_one_class_has_no_runner_up() -> None:
    bundle = replace(load_bundle("default"), classes=("LYT",))
    cell = str(next((SAMPLES / "cells/mll/LYT").iterdir()))
    assert picture_of(Prediction(cell, "LYT", 1.0, (1.0,)), bundle).runner_up == ""
    bundle = replace(bundle, classes=("MON", "LYT"))
    assert picture_of(Prediction(cell, "LYT", 0.9, (0.1, 0.9)), bundle).runner_up == "MON 10%"
