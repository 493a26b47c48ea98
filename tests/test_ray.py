"""Cells are classified on a real Ray cluster as on one processor, also when a worker is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import SAMPLES

from marrowscope.errors import ClusterError
from marrowscope.inference.classify import Classified, classify
from marrowscope.inference.options import InferenceOptions, OutputOptions, Progress
from marrowscope.inference.output_folder import DIFFERENTIAL, FILES, TABLE
from marrowscope.inference.ray import LOCAL, ClusterPredictor, Worker
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Found, Reject

CELLS = [str(SAMPLES / "cells")]
EQUAL = "predictions.csv", "rejects.csv"


@pytest.fixture(scope="module")
def cluster(exported: Path) -> Iterator[ClusterPredictor]:
    """Two workers on this machine."""
    with ClusterPredictor(load_bundle(str(exported)), LOCAL, workers=2) as predictor:
        yield predictor


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The sample cells, and some inputs that cannot be read."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return [*CELLS, str(folder / "broken.jpg"), str(folder / "none")]


@pytest.fixture(scope="module")
def here(
    cluster: ClusterPredictor, given: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Classified]:
    """What one processor makes of them."""
    folder = tmp_path_factory.mktemp("alone") / "here"
    return folder, classify(
        found(given), cluster.bundle, folder, inference=InferenceOptions(threads=1)
    )


def found(given: list[str]) -> Iterator[Found]:
    return find_files(given, 0.1)


def workers() -> list[psutil.Process]:
    """The processes of this test's cluster in which pictures are read."""
    return [child for child in psutil.Process().children(recursive=True) if _reads(child)]


def _reads(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "MapWorker" in " ".join([process.name(), *process.cmdline()])
    return False


def same_files(one: Path, other: Path) -> None:
    for name in EQUAL:
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_cluster_gives_the_files_of_one_processor(
    cluster: ClusterPredictor, given: list[str], here: tuple[Path, Classified], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    folder, alone = here
    result = classify(found(given), cluster.bundle, there, predictor=cluster)
    same_files(folder, there)
    assert result.rejected == 2
    assert result.differential == alone.differential
    assert (there / DIFFERENTIAL).is_file()


def test_a_killed_worker_costs_nothing_but_its_block(
    cluster: ClusterPredictor, given: list[str], here: tuple[Path, Classified], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    killed: list[int] = []

    def kill_once() -> None:
        if not killed:
            first = workers()[0]
            os.kill(first.pid, signal.SIGKILL)
            killed.append(first.pid)

    classify(
        found(given), cluster.bundle, there, predictor=cluster, progress=Progress(cell=kill_once)
    )
    assert killed
    same_files(here[0], there)


def test_cells_of_whole_fields_are_cut_out_by_the_workers(
    cluster: ClusterPredictor, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    smears = [str(SAMPLES / "fields")]
    options = InferenceOptions(fields=True, keep_flagged=True, threads=1)
    alone = classify(
        find_files(smears),
        cluster.bundle,
        here,
        inference=options,
    )
    classify(
        find_files(smears),
        cluster.bundle,
        there,
        predictor=cluster,
        inference=options,
    )
    assert alone.cells > 0
    same_files(here, there)


def test_what_is_interrupted_on_a_cluster_is_gone_on_with_here(
    cluster: ClusterPredictor, given: list[str], here: tuple[Path, Classified], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    seen: list[int] = []

    def stop() -> None:
        seen.append(1)
        if len(seen) == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(
            found(given), cluster.bundle, there, predictor=cluster, progress=Progress(cell=stop)
        )
    classify(
        found(given),
        cluster.bundle,
        there,
        inference=InferenceOptions(threads=1),
        output=OutputOptions(resume=True),
    )
    same_files(here[0], there)


def test_cells_that_kill_every_worker_end_the_work(
    cluster: ClusterPredictor, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marrowscope.inference.ray.PATIENCE_S", 5)
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.wait(0.1):
            for worker in workers():
                os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(ClusterError, match=r"the cluster gave up: .*; what was read is kept"):
            classify(found(given), cluster.bundle, tmp_path / "out", predictor=cluster)
    finally:
        ended.set()
        killer.join()


def test_no_cells_make_no_outcomes(cluster: ClusterPredictor) -> None:
    assert list(cluster.classify([])) == []
    nothing = Reject("none", "no such file or folder")
    assert list(cluster.classify([nothing])) == [nothing]


def test_a_worker_of_another_version_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"a worker has marrowscope .*, and this is 0\.0\.1"):
        Worker([], "0.0.1", "onnxruntime", 16)


def test_the_command_reads_on_a_cluster(toy_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marrowscope", "classify", *CELLS, "--um-per-px", "0.1"]
    command += ["--bundle", str(toy_bundle.folder), "--ray", LOCAL, "--threads", "2", "--parquet"]
    command += ["--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(FILES)
    assert (tmp_path / "out" / TABLE).is_file()
    of_ray = "constructor arguments in the object store"
    assert [line for line in done.stderr.splitlines() if of_ray not in line] == []


def test_an_address_without_a_cluster_is_an_error(toy_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marrowscope", "classify", *CELLS, "--um-per-px", "0.1"]
    command += ["--bundle", str(toy_bundle.folder), "--ray", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in done.stderr
