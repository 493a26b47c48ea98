"""Sweeps over settings: what they try, keep and refuse, and how they go on after an interruption.

All on real sample cells with a real network made tiny.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from safetensors import SafetensorError
from test_classify import rows_of, run

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, write_split
from marrowscope.errors import OutputError, SettingsError, TrainingError
from marrowscope.train.recipes import settings_of
from marrowscope.train.run import read_run
from marrowscope.train.search_space import read_ranges
from marrowscope.train.settings import TrainSettings
from marrowscope.train.tune import Tuned, tune

RANGES = read_ranges(["head_learning_rate=1e-3:1e-1:log", "batch_size=12:24", "balance=none,focal"])
DIVERGING = read_ranges(["head_learning_rate=1e-2,1e36"])
TRIALS = 3


@pytest.fixture(scope="module")
def settings(toy_settings: TrainSettings) -> TrainSettings:
    return replace(toy_settings, epochs=1)


@pytest.fixture(scope="module")
def tuned(
    manifest: Manifest,
    split: Split,
    settings: TrainSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Tuned:
    folder = tmp_path_factory.mktemp("sweep")
    return tune(manifest, split, settings, RANGES, folder, trials=TRIALS)


def figures(folder: Path) -> list[dict[str, str]]:
    """Read the rows of a sweep, without the time they took."""
    return [{**row, "seconds": ""} for row in rows_of(folder / "trials.csv")]


def test_the_best_trial_is_the_one_with_the_highest_figure(tuned: Tuned) -> None:
    rows = rows_of(tuned.folder / "trials.csv")
    assert [row["number"] for row in rows] == ["0", "1", "2"]
    assert {row["state"] for row in rows} == {"done"}
    assert len({row["head_learning_rate"] for row in rows}) == TRIALS
    assert all(1e-3 <= float(row["head_learning_rate"]) <= 1e-1 for row in rows)
    assert all(12 <= int(row["batch_size"]) <= 24 for row in rows)
    assert tuned.best_macro_f1 == max(float(row["macro_f1"]) for row in rows)
    assert (tuned.done, tuned.pruned, tuned.failed) == (TRIALS, 0, 0)
    best = rows[tuned.best_trial]
    assert float(best["macro_f1"]) == tuned.best_macro_f1
    assert {name: str(value) for name, value in tuned.best.items()} == {
        name: best[name] for name in RANGES
    }


def test_only_the_best_trial_keeps_its_weights(tuned: Tuned) -> None:
    weights = [file.parent.name for file in tuned.folder.glob("trial-*/model.safetensors")]
    assert weights == [f"trial-{tuned.best_trial:03d}"]
    assert len(list(tuned.folder.glob("trial-*/checkpoints"))) == 1
    for name in ("settings.json", "history.csv", "curve.svg"):
        assert len(list(tuned.folder.glob(f"trial-*/{name}"))) == TRIALS
    kept = read_run(tuned.folder / weights[0]).settings
    assert kept.batch_size == tuned.best["batch_size"]


def test_the_best_settings_are_a_recipe(tuned: Tuned, settings: TrainSettings) -> None:
    file = tuned.folder / "best.toml"
    again = settings_of(str(file), {"threads": 1, "log": "none"})
    assert again == replace(settings, **tuned.best)
    first = file.read_text().splitlines()[0]
    assert f"of 3 trials: trial {tuned.best_trial}, macro-F1 {tuned.best_macro_f1:.4f}" in first


def test_the_page_shows_each_setting(tuned: Tuned) -> None:
    page = (tuned.folder / "sweep.html").read_text()
    assert page.count("<figure") == 1 + len(RANGES)
    assert page.count("<title>trial ") == TRIALS * (1 + len(RANGES))
    assert f"{tuned.best_macro_f1:.4f}" in page
    assert "http" not in page


def test_finished_trials_are_not_repeated(
    tuned: Tuned, manifest: Manifest, split: Split, settings: TrainSettings
) -> None:
    steps: list[int] = []
    again = tune(
        manifest, split, settings, RANGES, tuned.folder,
        trials=TRIALS, watch=lambda step, *_: steps.append(step),
    )  # fmt: skip
    assert again == tuned
    assert not steps


def test_an_interrupted_sweep_goes_on_and_ends_as_if_nothing_had_happened(
    tuned: Tuned,
    manifest: Manifest,
    split: Split,
    settings: TrainSettings,
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    def stop(step: int, steps: int, words: str) -> None:
        seen.append(words)
        if words.startswith("trial-001") and step == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(manifest, split, settings, RANGES, tmp_path, trials=2, watch=stop)
    assert seen[-1].startswith("trial-001 (1 of 2 done), ")
    assert len(rows_of(tmp_path / "trials.csv")) == 1
    resumed = tune(manifest, split, replace(settings, workers=0), RANGES, tmp_path, trials=TRIALS)
    assert figures(tmp_path) == figures(tuned.folder)
    assert replace(resumed, folder=tuned.folder) == tuned


def test_a_trial_killed_after_its_last_epoch_is_not_trained_again(
    tuned: Tuned, manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    """A folder where the weights shall go stops it when all is trained."""
    block = tmp_path / "trial-000/model.safetensors"
    with pytest.raises(SafetensorError, match="Is a directory"):
        tune(
            manifest, split, settings, RANGES, tmp_path,
            trials=1, watch=lambda *_: block.mkdir(exist_ok=True),
        )  # fmt: skip
    block.rmdir()
    steps: list[int] = []
    tune(
        manifest, split, settings, RANGES, tmp_path,
        trials=1, watch=lambda step, *_: steps.append(step),
    )  # fmt: skip
    assert not steps
    assert figures(tmp_path) == figures(tuned.folder)[:1]


def test_trials_below_the_median_are_given_up(
    manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    ranges = read_ranges(["head_learning_rate=1e-6:1e-1:log"])
    longer = replace(settings, epochs=3)
    result = tune(manifest, split, longer, ranges, tmp_path, trials=6)
    rows = rows_of(tmp_path / "trials.csv")
    given_up = [row for row in rows if row["state"] == "pruned"]
    assert result.pruned == len(given_up) > 0
    assert all(row["epochs"] == "2" for row in given_up)
    assert all(float(row["macro_f1"]) < result.best_macro_f1 for row in given_up)
    assert not list(tmp_path.glob(f"trial-{int(given_up[0]['number']):03d}/checkpoints"))


def test_a_trial_that_fails_is_counted_and_the_sweep_goes_on(
    manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    def exhaust(_: int, __: int, words: str) -> None:
        if words.startswith("trial-001"):
            raise torch.OutOfMemoryError("out of <memory>")

    result = tune(manifest, split, settings, DIVERGING, tmp_path, trials=5, watch=exhaust)
    rows = rows_of(tmp_path / "trials.csv")
    failed = [row for row in rows if row["state"] == "failed"]
    assert result.failed == len(failed) >= 2
    assert result.best == {"head_learning_rate": 1e-2}
    assert {row["macro_f1"] for row in failed} == {""}
    page = (tmp_path / "sweep.html").read_text()
    assert "the loss is no longer a number at step" in page
    assert "out of &lt;memory&gt;" in page


def test_a_sweep_without_a_good_trial_says_why(
    manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    ranges = read_ranges(["head_learning_rate=1e35,1e36"])
    with pytest.raises(TrainingError) as caught:
        tune(manifest, split, settings, ranges, tmp_path, trials=1)
    text = str(caught.value)
    assert text.startswith("none of 1 trials ended well, the last one because: the loss is no")
    assert text.endswith(
        f"see {tmp_path / 'trials.csv'}, and start another sweep with other ranges"
    )
    assert not (tmp_path / "best.toml").exists()


def test_the_test_part_is_not_read(
    tuned: Tuned, manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    """Its pictures are not even there."""
    for row in (*split.part("train"), *split.part("val")):
        file = tmp_path / "cells" / row.cell.path
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.root / row.cell.path, file)
    without = replace(manifest, root=tmp_path / "cells")
    tune(without, split, settings, RANGES, tmp_path / "sweep", trials=1)
    assert figures(tmp_path / "sweep") == figures(tuned.folder)[:1]


def test_a_sweep_goes_on_with_the_same_alone(
    tuned: Tuned, manifest: Manifest, split: Split, settings: TrainSettings
) -> None:
    ranges = {**read_ranges(["batch_size=12:25", "blur=0:1"]), "balance": RANGES["balance"]}
    others = replace(split, rows=split.rows[1:])
    with pytest.raises(SettingsError) as caught:
        tune(manifest, others, replace(settings, epochs=2), ranges, tuned.folder, trials=4)
    assert str(caught.value) == (
        f"{tuned.folder} was started with something else (epochs, the range of batch_size, the "
        "range of blur, the range of head_learning_rate, the cells or their split); go on with "
        "the same, or start another sweep in another folder"
    )


def test_folders_that_cannot_be_used(
    manifest: Manifest, split: Split, settings: TrainSettings, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match="holds something that is no sweep; give another folder"):
        tune(manifest, split, settings, RANGES, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tune(manifest, split, settings, RANGES, tmp_path / "sweep", watch=_interrupt)
    (tmp_path / "sweep/study.db").write_text("no database at all" * 100)
    with pytest.raises(OutputError, match=r"study\.db cannot be read or written: "):
        tune(manifest, split, settings, RANGES, tmp_path / "sweep")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_several_processes_are_refused(
    manifest: Manifest,
    split: Split,
    settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="a sweep is one process; start it without"):
        tune(manifest, split, settings, RANGES, tmp_path)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "nothing to try: give a range as NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C"),
        (["blur"], "a range is NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C, got 'blur'"),
        (["blur=0:1:cube"], "or NAME=A,B,C, got blur='0:1:cube'"),
        (["rate=0:1"], "rate is no setting; a sweep can try model, pretrained, size,"),
        (["seed=0:9"], "seed is the same in all trials; a sweep can try model,"),
        (["blur=0:1", "blur=0,1"], "blur has two ranges; give one"),
        (["epochs=1:9"], "epochs has both a range and a fixed value; give one"),
        (["balance=none"], "balance needs two or more different choices, got 'none'; a single"),
        (["blur=1,1.0"], "blur needs two or more different choices, got '1,1.0'"),
        (["balance=none,all"], "balance must be one of none, sampler,"),
        (["balance=none:focal"], "balance is no number; list its choices: balance=A,B,C"),
        (["flips=false:true"], "flips is no number; list its choices"),
        (["blur=1:0"], "the range of blur must rise from LOW to HIGH, got '1:0'"),
        (["blur=0:inf"], "blur must be a finite number, got 'inf'"),
        (["blur=0:1:log"], "the range of blur must begin above 0 for log, got '0:1:log'"),
        (["layer_decay=0.5:1.5"], "layer_decay must be above 0 and at most 1, got 1.5"),
        (["batch_size=8:1e2"], "batch_size must be a whole number, got '1e2'"),
    ],
)
def test_ranges_that_cannot_be_tried(texts: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_ranges(texts, fixed=["epochs"])
    assert message in str(caught.value)


def test_a_sweep_by_the_command(
    toy_network: Path, split: Split, manifest: Manifest, tmp_path: Path
) -> None:
    write_split(split, tmp_path / "split")
    words = (
        "tune", "--data", SAMPLES / "cells.csv", "--split", tmp_path / "split", "--output",
        tmp_path / "sweep", "--epochs", 1, "--threads", 1, "--set", f"model={toy_network}",
        "--set", "min_images=9", "--set", "size=56", "--range", "flips=true,false",
    )  # fmt: skip
    done = run(*words, "--trials", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outcome = json.loads(done.stdout)
    assert outcome["done"] == len(rows_of(tmp_path / "sweep/trials.csv")) == 2
    assert list(outcome["best"]) == ["flips"]
    again = run(*words, "--trials", 1)
    assert "2 trials, 0 pruned, 0 failed\n" in again.stdout
    assert f"{len(manifest.cells)} cells read, 0 rejected\n" in again.stdout
