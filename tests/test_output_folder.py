"""A classification that was killed goes on to the same files as one without a break."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from conftest import SAMPLES
from test_classify import rows_of, run

from marrowscope.errors import OutputError, SettingsError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import InferenceOptions, OutputOptions, Progress
from marrowscope.inference.output_folder import FILES
from marrowscope.inference.predictor import BATCH_SIZE
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle, load_bundle

CELLS = sorted((SAMPLES / "cells").rglob("*.jpg"))
TABLES = ("predictions.csv", "rejects.csv")
RESULTS = (*TABLES, "differential.json", "report.html", "classify.json")


def scan_of(folder: Path, cells: int) -> Path:
    """Make a folder of many cells, every tenth of them no picture."""
    folder.mkdir()
    for number in range(cells):
        file = folder / f"{number:04}.jpg"
        if number % 10 == 7:
            file.write_text(f"no picture, {number}")
        else:
            shutil.copy(CELLS[number % len(CELLS)], file)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RESULTS}


def half_way(whole: Path, folder: Path, rows: int, rejects: int) -> None:
    """Make what a kill leaves: the first rows of each table, the next one cut off."""
    folder.mkdir()
    shutil.copy(whole / "classify.json", folder)
    for name, kept in zip(TABLES, (rows, rejects), strict=True):
        lines = (whole / name).read_bytes().splitlines(keepends=True)
        left = b"".join(lines[: kept + 1]) + (
            lines[kept + 1][:-5] if kept + 1 < len(lines) else b""
        )
        (folder / f"{name}.partial").write_bytes(left)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan_of(tmp_path_factory.mktemp("scan") / "scan", 110)


@pytest.fixture(scope="module")
def bundle(exported: Path) -> Bundle:
    return load_bundle(str(exported))


@pytest.fixture(scope="module")
def whole(scan: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a classification without a break; the folder's name is in one of them."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    classify(find_files([str(scan)]), bundle, folder, inference=InferenceOptions(threads=1))
    return folder


def test_a_killed_command_goes_on_to_the_same_files(exported: Path, tmp_path: Path) -> None:
    scan = scan_of(tmp_path / "scan", 400)
    words = ["classify", str(scan), "missing.jpg", "--bundle", str(exported), "--output", "out"]
    words += ["--threads", "1", "--engine", "onnxruntime"]
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    assert run(*words, cwd=tmp_path / "whole").returncode == 3
    partial = tmp_path / "killed/out/predictions.csv.partial"
    command = [sys.executable, "-m", "marrowscope", *words]
    with subprocess.Popen(
        command, cwd=tmp_path / "killed", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (partial.exists() and partial.read_bytes().count(b"\n") > 100):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    begun = partial.read_bytes().count(b"\n")
    assert begun < 360
    assert not (tmp_path / "killed/out/differential.json").exists()

    refused = run(*words, cwd=tmp_path / "killed")
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: out already holds something\n"
        "hint: give another folder, or --resume to go on with the classification in it, "
        "or --overwrite to start it anew\n"
    )
    assert partial.read_bytes().count(b"\n") == begun
    resumed = run(*words, "--resume", cwd=tmp_path / "killed")
    assert resumed.returncode == 3, resumed.stderr
    assert "360 cells read, 41 rejected" in resumed.stdout
    assert contents(tmp_path / "killed/out") == contents(tmp_path / "whole/out")
    assert {file.name for file in (tmp_path / "killed/out").iterdir()} == set(RESULTS)


def test_the_engine_stays_the_one_that_it_was_begun_with(exported: Path, tmp_path: Path) -> None:
    words = ("classify", SAMPLES / "cells/mll/NGS", "--bundle", exported, "--output", "out")
    assert run(*words, "--engine", "openvino", cwd=tmp_path).returncode == 0
    before = contents(tmp_path / "out")
    (tmp_path / "half").mkdir()
    half_way(tmp_path / "out", tmp_path / "half/out", 3, 0)
    resumed = run(*words, "--resume", "--verbose", cwd=tmp_path / "half")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr == "engine: openvino\n"
    assert contents(tmp_path / "half/out") == before
    other = run(*words, "--resume", "--engine", "onnxruntime", cwd=tmp_path / "half")
    assert "engine was openvino, now it is onnxruntime" in other.stderr


@pytest.mark.parametrize(
    "left",
    [(0, 0), (20, 3), (29, 3), (70, 3), (40, 9), (99, 11), (98, 11)],
    ids=["header", "first batch", "whole batch", "few rejects", "many rejects", "all", "last"],
)
def test_it_goes_on_from_the_last_batch_that_both_tables_hold(
    left: tuple[int, int], scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    half_way(whole, folder, *left)
    seen: list[int] = []
    classify(
        find_files([str(scan)]),
        bundle,
        folder,
        inference=InferenceOptions(threads=1),
        output=OutputOptions(resume=True),
        progress=Progress(cell=lambda: seen.append(1)),
    )
    assert len(seen) == 110
    for name in (*TABLES, "report.html", "classify.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    figures = [json.loads((each / "differential.json").read_text()) for each in (folder, whole)]
    assert figures[0]["differential"] == figures[1]["differential"]


def test_outcomes_on_the_disk_are_not_made_anew(
    scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    """The pictures of the first two batches became others in between; their rows stay."""
    moved = tmp_path / "scan"
    shutil.copytree(scan, moved)
    for file in sorted(moved.iterdir())[: 2 * BATCH_SIZE]:
        shutil.copy(CELLS[0], file)
    half_way(whole, tmp_path / "out", 70, 7)
    for name in TABLES:
        file = tmp_path / f"out/{name}.partial"
        file.write_bytes(file.read_bytes().replace(f"{scan}/".encode(), f"{moved}/".encode()))
    classify(
        find_files([str(moved)]),
        bundle,
        tmp_path / "out",
        inference=InferenceOptions(threads=1),
        output=OutputOptions(resume=True),
    )
    for name in TABLES:
        written = (tmp_path / "out" / name).read_text()
        assert written.replace(f"{moved}/", f"{scan}/") == (whole / name).read_text()


def test_a_kill_between_the_last_steps_leaves_nothing_to_classify(
    scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    half_way(whole, folder, 99, 11)
    (folder / "predictions.csv.partial").rename(folder / "predictions.csv")
    (folder / "predictions.parquet").write_text("of an earlier day")
    classify(
        find_files([str(scan)]),
        bundle,
        folder,
        inference=InferenceOptions(threads=1),
        output=OutputOptions(resume=True),
    )
    assert {file.name for file in folder.iterdir()} == set(RESULTS)
    assert (folder / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def test_a_new_folder_is_begun_and_a_finished_one_left_alone(
    scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    for folder in (tmp_path / "new", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        result = classify(
            find_files([str(scan)]),
            bundle,
            folder,
            inference=InferenceOptions(threads=1),
            output=OutputOptions(resume=True),
        )
        assert (folder / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
        before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
        again = classify(
            find_files([str(scan)]),
            bundle,
            folder,
            inference=InferenceOptions(threads=1),
            output=OutputOptions(resume=True),
        )
        assert again == result
        assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_finished_folder_is_not_changed_by_other_inputs(
    scan: Path, bundle: Bundle, whole: Path
) -> None:
    before = contents(whole)
    for inputs in ([str(scan), str(CELLS[0])], sorted(map(str, scan.iterdir()))[:-1]):
        with pytest.raises(OutputError, match="holds the finished classification of other inputs"):
            classify(
                find_files(inputs),
                bundle,
                whole,
                inference=InferenceOptions(threads=1),
                output=OutputOptions(resume=True),
            )
    assert contents(whole) == before


def test_outcomes_of_other_inputs_are_not_thrown_away(
    scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    half_way(whole, folder, 70, 7)
    before = (folder / "predictions.csv.partial").read_bytes()
    with pytest.raises(OutputError) as error:
        classify(
            find_files([str(CELLS[0])]),
            bundle,
            folder,
            inference=InferenceOptions(threads=1),
            output=OutputOptions(resume=True),
        )
    assert str(error.value) == (
        f"{folder} holds outcomes of other inputs, such as {scan / '0000.jpg'}; give the same "
        "inputs in the same order and words, another folder, or --overwrite to start anew"
    )
    assert (folder / "predictions.csv.partial").read_bytes() == before


def test_a_picture_that_came_in_between_is_read_and_what_follows_anew(
    scan: Path, bundle: Bundle, whole: Path, tmp_path: Path
) -> None:
    half_way(whole, tmp_path / "out", 70, 7)
    files = [*sorted(map(str, scan.iterdir())), str(CELLS[0])]
    files.insert(50, str(CELLS[1]))
    for name, resume in (("out", True), ("fresh", False)):
        classify(
            find_files(files),
            bundle,
            tmp_path / name,
            inference=InferenceOptions(threads=1),
            output=OutputOptions(resume=resume),
        )
    for name in (*TABLES, "report.html"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_another_bundle_or_pixel_size_is_refused(
    scan: Path, whole: Path, toy_bundle: Bundle, tmp_path: Path
) -> None:
    half_way(whole, tmp_path / "out", 70, 7)
    default = load_bundle("default")
    with pytest.raises(OutputError) as error:
        classify(
            find_files([str(scan)]),
            default,
            tmp_path / "out",
            inference=InferenceOptions(um_per_px=0.1),
            output=OutputOptions(resume=True),
        )
    assert toy_bundle.novelty
    assert default.novelty
    assert default.adjustment
    assert str(error.value) == (
        f"{tmp_path / 'out'} was begun with something else: bundle was toy, now it is default; "
        f"bundle_sha256 was {toy_bundle.sha256}, now it is {default.sha256}; "
        f"model_sha256 was {toy_bundle.model_sha256}, now it is {default.model_sha256}; "
        f"novelty was {toy_bundle.novelty.threshold}, now it is {default.novelty.threshold}; "
        f"tested was nothing, now it is {default.adjustment.tested_sha256}; "
        "um_per_px was nothing, now it is 0.1; give the same, another folder, or --overwrite to "
        "start anew"
    )
    (tmp_path / "out/classify.json").write_text("[")
    with pytest.raises(OutputError, match=r"classify\.json cannot be read"):
        classify([], toy_bundle, tmp_path / "out", output=OutputOptions(resume=True))


def test_other_columns_are_refused(bundle: Bundle, whole: Path, tmp_path: Path) -> None:
    half_way(whole, tmp_path / "out", 70, 7)
    (tmp_path / "out/rejects.csv.partial").write_bytes(b"file,why\r\n")
    with pytest.raises(OutputError, match="its columns are not path,reason"):
        classify([], bundle, tmp_path / "out", output=OutputOptions(resume=True))


def test_resume_and_overwrite_contradict_each_other(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give one of them"):
        classify([], bundle, tmp_path / "out", output=OutputOptions(resume=True, overwrite=True))
    without = run("classify", CELLS[0], "--resume", cwd=tmp_path)
    assert without.stderr == (
        "error: --resume needs --output: the folder of what was interrupted\n"
    )


def test_a_folder_of_something_else_is_not_gone_on_with(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"it has no classify\.json"):
        classify([], bundle, tmp_path, output=OutputOptions(resume=True))


def test_starting_anew_leaves_nothing_of_the_old(bundle: Bundle, tmp_path: Path) -> None:
    """Results may lie beside the pictures: they are no input, and the pictures stay."""
    shutil.copy(CELLS[0], tmp_path)
    words = ("classify", ".", "--output", ".", "--overwrite", "--bundle", bundle.folder)
    assert run(*words, "--parquet", cwd=tmp_path).returncode == 0
    assert {file.name for file in tmp_path.iterdir()} == {CELLS[0].name, *FILES}
    done = run(*words, cwd=tmp_path)
    assert "1 cell read, 0 rejected" in done.stdout, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {CELLS[0].name, *RESULTS}


def test_parquet_holds_what_the_csv_holds(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "a,b\n"
    folder.mkdir()
    shutil.copy(CELLS[0], folder / 'with "quotes".jpg')
    shutil.copy(CELLS[1], folder / "NA")
    classify(
        find_files([str(folder)]),
        bundle,
        tmp_path / "out",
        inference=InferenceOptions(threads=1),
        output=OutputOptions(parquet=True),
    )
    table = pyarrow.parquet.read_table(tmp_path / "out/predictions.parquet")
    rows = rows_of(tmp_path / "out/predictions.csv")
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) == 2
    for mine, row in zip(table.to_pylist(), rows, strict=True):
        assert {key: value if isinstance(value, str) else f"{value:.6f}" for key, value in
                mine.items()} == row  # fmt: skip
    assert str(table.schema.field("probability").type) == "double"


def test_parquet_without_cells_and_after_the_end(bundle: Bundle, tmp_path: Path) -> None:
    classify([], bundle, tmp_path / "none", output=OutputOptions(parquet=True))
    assert pyarrow.parquet.read_table(tmp_path / "none/predictions.parquet").num_rows == 0
    inputs = [str(CELLS[0])]
    classify(find_files(inputs), bundle, tmp_path / "out", inference=InferenceOptions(threads=1))
    classify(
        find_files(inputs),
        bundle,
        tmp_path / "out",
        inference=InferenceOptions(threads=1),
        output=OutputOptions(resume=True, parquet=True),
    )
    assert pyarrow.parquet.read_table(tmp_path / "out/predictions.parquet").num_rows == 1


def test_without_pyarrow_parquet_is_refused_before_the_work(exported: Path, tmp_path: Path) -> None:
    """pyarrow is hidden from the import system, as on a machine that never had it."""
    script = (
        "import sys\n"
        "sys.modules['pyarrow'] = sys.modules['pyarrow.parquet'] = None\n"
        "from marrowscope.cli import app\n"
        f"app(['classify', {str(CELLS[0])!r}, '--bundle', {str(exported)!r}, '--parquet', "
        f"'--output', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: Parquet files need pyarrow\n"
        "hint: install it with: pip install 'marrowscope[data]'\n"
    )
    assert not (tmp_path / "out").exists()
