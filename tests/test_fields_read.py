"""Whole fields through `classify` and `report`: cells found, cut out, read, and named."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from test_classify import rows_of, run

from marrowscope.cases.case import read_case
from marrowscope.detection.boxes import Box
from marrowscope.detection.crop_files import write_crops
from marrowscope.detection.crops import crop, cut, png_of, side_of
from marrowscope.detection.field import PlainField
from marrowscope.detection.field_cells import pictures_on, sum_up
from marrowscope.detection.quality import FLAGS
from marrowscope.detection.results import JOURNAL, Looked, agreed, read_looked, survey, write_looked
from marrowscope.errors import CaseError, FieldError, OutputError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import InferenceOptions, OutputOptions, Progress
from marrowscope.inference.predictor import Predictor
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Picture, Place, Reject

UM = 0.086
"""Scale of the fields that are composed here: cells of the public set are 250 pixels, 21.5 um."""


def pixels_of(width: int, height: int) -> np.ndarray:
    """Every pixel says where it is: red its column, green its row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_the_side_of_a_crop_is_the_field_of_view_by_the_size_of_a_pixel() -> None:
    assert side_of(0.1, 21.5) == 215
    assert side_of(UM, 0) == 250
    assert side_of(0.09, 21.5) == 239
    """238.9 pixels: rounded up, as the network cuts its own square out of the middle."""
    with pytest.raises(FieldError, match=r"a cell would have 2,150,000 pixels a side at 1e-05"):
        side_of(1e-5, 0)


def test_a_crop_is_centred_on_its_box_and_mirrored_at_the_edge() -> None:
    field = PlainField(pixels_of(100, 80))
    inside = crop(field, Box(40, 30, 60, 50), 20)
    assert inside.shape == (20, 20, 3)
    assert (inside[0, 0, :2] == (40, 30)).all()
    corner = crop(field, Box(0, 0, 10, 10), 20)
    assert (corner[5, 5, :2] == (0, 0)).all()
    assert (corner[4, 4, :2] == (0, 0)).all()
    assert (corner[0, 0, :2] == (4, 4)).all()
    far = crop(field, Box(90, 70, 100, 80), 20)
    assert (far[14, 14, :2] == (99, 79)).all()
    assert (far[15, 15, :2] == (99, 79)).all()
    assert crop(PlainField(pixels_of(8, 8)), Box(2, 2, 6, 6), 50).shape == (50, 50, 3)


def test_crops_of_two_boxes_are_two_files_even_if_their_pixels_are_the_same() -> None:
    same = np.full((30, 30, 3), 200, np.uint8)
    places = Place("a.png", 0, 0, 10, 10, UM), Place("a.png", 1, 1, 9, 9, UM)
    contents = [png_of(same, "ab" * 32, place) for place in places]
    assert contents[0] != contents[1]
    assert contents[0] == png_of(same, "ab" * 32, places[0])


def a_field(folder: Path, codes: tuple[str, ...] = ("NGS", "LYT", "EOS")) -> Path:
    """A field of real cells beside each other, on their own backgrounds, with known middles."""
    files = [min((SAMPLES / "cells/mll" / code).iterdir()) for code in codes]
    wide = Image.new("RGB", (250 * len(files), 250))
    for number, file in enumerate(files):
        wide.paste(Image.open(file), (250 * number, 0))
    folder.mkdir(parents=True, exist_ok=True)
    wide.save(folder / "wide.png")
    return folder / "wide.png"


def looked_at(field: Path, **changes: object) -> Looked:
    boxes = tuple(Box(250.0 * n + 50, 50.0, 250.0 * n + 200, 200.0) for n in range(3))
    values = {
        "file": str(field),
        "sha256": hashlib.sha256(field.read_bytes()).hexdigest(),
        "width": 750,
        "height": 250,
        "um_per_px": UM,
        "scale": "given",
        "flags": (),
        "cells": 3,
        "boxes": boxes,
    }
    return Looked(**(values | changes))  # type: ignore[arg-type]


def test_crops_as_files_say_where_they_are_from(tmp_path: Path) -> None:
    looked = looked_at(a_field(tmp_path))
    files = write_crops(looked, tmp_path / "crops")
    assert [file.name for file in files][:2] == [
        "wide.png-50-50-200-200.png",
        "wide.png-300-50-450-200.png",
    ]
    with Image.open(files[1]) as image:
        assert image.size == (250, 250)
        assert image.text == {  # type: ignore[attr-defined]
            "field": looked.sha256,
            "box": "300 50 450 200",
            "um_per_px": "0.086",
        }
        alone = Image.open(min((SAMPLES / "cells/mll/LYT").iterdir()))
        assert (np.asarray(image) == np.asarray(alone)).all()
    with pytest.raises(FieldError, match="give --um-per-px"):
        write_crops(replace(looked, um_per_px=None), tmp_path / "crops")


def test_a_cell_on_a_field_is_read_as_its_own_picture_is(tmp_path: Path) -> None:
    """The crop's square is the very square that the cell's own picture shows."""
    bundle = load_bundle("default")
    field = a_field(tmp_path)
    cells = list(pictures_on(looked_at(field)))
    alone = [
        Picture(min((SAMPLES / "cells/mll" / code).iterdir()), UM) for code in ("NGS", "LYT", "EOS")
    ]
    predictor = Predictor(bundle, 1)
    on_field, single = (list(predictor.classify(each)) for each in (cells, alone))
    for one, other in zip(on_field, single, strict=True):
        assert not isinstance(one, Reject)
        assert not isinstance(other, Reject)
        assert one.probabilities == other.probabilities
        assert one.place
        assert one.path == f"{field}/{one.place.x0}-50-{one.place.x1}-200"


def test_flagged_fields_and_fields_without_a_scale_are_rejects_with_the_reason(
    tmp_path: Path,
) -> None:
    field = a_field(tmp_path)
    blurred = looked_at(field, flags=("blurred",))
    assert list(pictures_on(blurred)) == [
        Reject(
            str(field),
            f"flagged, so its cells are not read: blurred ({FLAGS['blurred']})",
        )
    ]
    assert len(list(pictures_on(blurred, keep_flagged=True))) == 3
    (unknown,) = pictures_on(looked_at(field, um_per_px=None, scale="unknown"))
    assert isinstance(unknown, Reject)
    assert "give --um-per-px" in unknown.reason
    summary = sum_up([blurred, looked_at(field, um_per_px=0.1, scale="red cells")])
    assert summary.in_words == (
        "6 cells were found on 2 fields.",
        "Scale of 1 field given by you: 0.086 µm per pixel.",
        "Scale of 1 field estimated from red cells: 0.1 µm per pixel.",
        "1 field flagged, the cells not read: blurred 1. wide.png.",
    )


def test_what_was_found_comes_back_from_its_tables(tmp_path: Path) -> None:
    field = a_field(tmp_path)
    every = [looked_at(field, flags=("blurred", "over-stained")), looked_at(field, file="b.png")]
    write_looked(tmp_path, every)
    assert read_looked(tmp_path) == every


def test_a_field_whose_red_cells_tell_another_scale_gets_that_of_its_neighbours(
    tmp_path: Path,
) -> None:
    field = a_field(tmp_path)
    told = [0.08, 0.09, 0.1, 0.25, None]
    every = [
        looked_at(field, um_per_px=scale, scale="red cells" if scale else "unknown")
        for scale in told
    ]
    found = agreed(every)
    assert found[:3] == every[:3]
    scales = [(each.um_per_px, each.scale) for each in found if isinstance(each, Looked)]
    assert scales[3:] == [(0.095, "other fields"), (0.095, "other fields")]
    given = looked_at(field, um_per_px=0.25)
    assert agreed([*every[:3], given])[3] == given
    assert agreed([*every[1:3], every[4]]) == [*every[1:3], every[4]]


def test_an_interrupted_search_goes_on_after_the_fields_that_were_looked_at(
    tmp_path: Path,
) -> None:
    field = a_field(tmp_path / "scan")
    (tmp_path / "out").mkdir()
    done: list[int] = []

    def stop(cells: int) -> None:
        done.append(cells)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey(find_files([str(field)]), tmp_path / "out", UM, stop)
    journal = tmp_path / "out" / JOURNAL
    assert len(journal.read_text().splitlines()) == 1
    journal.write_text(journal.read_text() + '{"file": "half')
    (again,) = survey(find_files([str(field)]), tmp_path / "out", UM)
    assert isinstance(again, Looked)
    assert again.cells == done[0]
    assert read_looked(tmp_path / "out") == [again]
    assert not journal.exists()
    field.write_bytes(field.read_bytes() + b"\n")
    with pytest.raises(OutputError, match="is not the picture that it was"):
        survey(find_files([str(field)]), tmp_path / "out", UM)


@pytest.mark.parametrize("line", [b"{", b"[]", b"3", b'{"boxes": []}', b'{"boxes": [1]}', b"\xff"])
def test_a_damaged_journal_is_refused_with_the_line(line: bytes, tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(line + b"\n")
    with pytest.raises(FieldError, match=r"fields.jsonl, line 1: cannot be read \("):
        survey([], tmp_path)


def test_fields_are_classified_and_an_interrupted_run_gives_the_same_files(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    a_field(tmp_path / "scan")
    inputs = str(tmp_path / "scan")
    whole = tmp_path / "whole"
    result = classify(
        find_files([inputs]),
        toy_bundle,
        whole,
        inference=InferenceOptions(fields=True, um_per_px=UM, threads=1),
    )
    assert result.fields
    assert result.cells == result.fields.cells > 0
    rows = rows_of(whole / "predictions.csv")
    assert {row["field"] for row in rows} == {str(tmp_path / "scan/wide.png")}
    assert rows[0]["path"].startswith(f"{rows[0]['field']}/{rows[0]['x0']}-{rows[0]['y0']}-")
    assert "wide.png at " in (whole / "report.html").read_text()

    class Stopped(Exception):  # noqa: N818 - no error of ours
        pass

    def stop() -> None:
        raise Stopped

    half = tmp_path / "half"
    with pytest.raises(Stopped):
        classify(
            find_files([inputs]),
            toy_bundle,
            half,
            inference=InferenceOptions(fields=True, um_per_px=UM, threads=1),
            progress=Progress(cell=stop),
        )
    classify(
        find_files([inputs]),
        toy_bundle,
        half,
        inference=InferenceOptions(fields=True, um_per_px=UM, threads=1),
        output=OutputOptions(resume=True),
    )
    for name in ("predictions.csv", "boxes.csv", "fields.csv", "rejects.csv"):
        assert (half / name).read_bytes() == (whole / name).read_bytes()
    again = classify(
        find_files([inputs]),
        toy_bundle,
        half,
        inference=InferenceOptions(fields=True, um_per_px=UM, threads=1),
        output=OutputOptions(resume=True),
    )
    assert again.cells == result.cells
    with pytest.raises(OutputError, match="pictures was whole fields, now it is nothing"):
        classify(
            find_files([inputs]),
            toy_bundle,
            half,
            inference=InferenceOptions(threads=1),
            output=OutputOptions(resume=True),
        )


def test_the_parquet_table_has_the_places_too(tmp_path: Path, toy_bundle: Bundle) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    a_field(tmp_path / "scan")
    classify(
        find_files([str(tmp_path / "scan")]),
        toy_bundle,
        tmp_path / "out",
        inference=InferenceOptions(fields=True, um_per_px=UM, threads=1),
        output=OutputOptions(parquet=True),
    )
    table = parquet.read_table(tmp_path / "out/predictions.parquet")
    assert table["field"][0].as_py() == str(tmp_path / "scan/wide.png")
    assert table["x0"][0].as_py() == float(rows_of(tmp_path / "out/predictions.csv")[0]["x0"])


def test_the_command_reads_fields_and_names_those_it_cannot(tmp_path: Path) -> None:
    a_field(tmp_path / "scan")
    Image.new("RGB", (640, 480), (235, 230, 232)).save(tmp_path / "scan/nothing.png")
    (tmp_path / "scan/text.jpg").write_text("hello")
    out = tmp_path / "out"
    done = run(
        "classify", tmp_path / "scan", "--fields", "--um-per-px", UM, "--output", out, "--verbose"
    )
    assert done.returncode == 3, done.stderr
    assert "rejected:" in done.stderr
    assert "text.jpg" in done.stderr
    assert "given by you: 0.086 µm per pixel" in done.stdout
    summary = json.loads((out / "differential.json").read_text())["fields"]
    assert summary["fields"] == 2
    assert summary["flagged"]["fields"] == [str(tmp_path / "scan/nothing.png")]


def test_a_case_may_have_slides_of_fields_beside_slides_of_cells(
    tmp_path: Path, toy_bundle: Bundle
) -> None:
    folder = tmp_path / "case"
    a_field(folder / "scan")
    (folder / "cells").mkdir()
    cell = min((SAMPLES / "cells/mll/LYT").iterdir())
    (folder / "cells/one.jpg").write_bytes(cell.read_bytes())
    (folder / "case.toml").write_text(
        f'id = "117"\num_per_px = {UM}\n[[slides]]\nname = "A"\nfields = "scan"\n'
        '[[slides]]\nname = "B"\ncells = "cells"\n'
    )
    first = run("report", folder, "--bundle", toy_bundle.folder, "--output", tmp_path / "out")
    assert first.returncode == 0, first.stderr
    rows = rows_of(tmp_path / "out/cells.csv")
    assert {row["slide"] for row in rows} == {"A", "B"}
    assert {row["field"] for row in rows} == {"scan/wide.png", ""}
    with (folder / "reviews.csv").open("w") as reviews:
        reviews.write(f"path,label,reviewer,time\n{rows[0]['path']},BLA,Ada,2026-03-02T10:00\n")
    report = ("report", folder, "--bundle", toy_bundle.folder, "--output", tmp_path / "out")
    again = run(*report, "--resume")
    assert again.returncode == 0, again.stderr
    assert rows_of(tmp_path / "out/cells.csv")[0]["label"] == "BLA"
    assert "Whole fields" in (tmp_path / "out/report.html").read_text()


def test_a_slide_has_cells_or_fields(tmp_path: Path) -> None:
    head = 'id = "1"\n[[slides]]\nname = "A"\n'
    file = tmp_path / "case.toml"
    file.write_text(head + 'cells = "a"\nfields = "b"\n')
    with pytest.raises(CaseError, match="has cells and fields; make two slides of it"):
        read_case(file)
    file.write_text(head)
    with pytest.raises(CaseError, match="no cells; give cells, or fields"):
        read_case(file)
    file.write_text(head + 'fields = "b"\n')
    with pytest.raises(CaseError, match="--fields is for a folder of fields"):
        read_case(file, fields=True)


def test_a_field_that_is_gone_is_a_reject(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "gone.png"), 0, 0, 10, 10, UM)
    from marrowscope.errors import ImageError

    with pytest.raises(ImageError, match="its field cannot be read"):
        cut(place, 0)


def test_find_cells_writes_crops_for_other_programs(tmp_path: Path) -> None:
    a_field(tmp_path / "scan")
    out = tmp_path / "out"
    done = run(
        "find-cells", tmp_path / "scan", "--um-per-px", UM, "--crops", "--json", "--output", out
    )
    assert done.returncode == 0, done.stderr
    crops = list((out / "crops/0001-wide").iterdir())
    assert len(crops) == json.loads(done.stdout)["cells"] > 0
    for crop_file in crops:
        with Image.open(crop_file) as image:
            assert image.size == (250, 250)
