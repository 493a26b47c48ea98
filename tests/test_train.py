"""Training on real cells with a real network made tiny: what it learns, keeps and refuses."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import (
    Dinov2ForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
)

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.errors import BackboneError, SettingsError, TrainingError
from marrowscope.metrics.classification import confusion_matrix, macro
from marrowscope.model.bundle import load_bundle
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.augment import augment, draw
from marrowscope.train.dataset import CellDataset, EpochSampler, stack
from marrowscope.train.fit import Trained, choose_classes, fit
from marrowscope.train.linear_head import fit_last_layer
from marrowscope.train.models import load_network
from marrowscope.train.recipes import RECIPES, read_changes, settings_of
from marrowscope.train.run import read_run
from marrowscope.train.settings import TrainSettings
from marrowscope.train.trainer import optimizer, training_arguments


def test_a_run_folder_holds_all_that_went_in_and_came_out(
    toy_run: Trained, split: Split, toy_settings: TrainSettings
) -> None:
    assert {file.name for file in toy_run.folder.iterdir()} == {
        "checkpoints", "config.json", "curve.svg", "environment.json", "history.csv",
        "model.safetensors", "settings.json", "split.csv", "split.json",
    }  # fmt: skip
    run = read_run(toy_run.folder)
    assert (
        run.classes == toy_run.classes == ("BLA", "PMO", "NGS", "EOS", "MON", "LYT", "ART", "NIF")
    )
    assert run.split.hash == split.hash
    assert run.settings == replace(
        toy_settings, classes=toy_run.classes, preprocessing=run.preprocessing
    )
    assert run.environment["torch"] == torch.__version__


def test_the_loss_falls_and_the_best_epoch_is_kept(
    toy_run: Trained, manifest: Manifest, toy_settings: TrainSettings
) -> None:
    with (toy_run.folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    scores = [float(row["eval_macro_f1"]) for row in rows if row["eval_macro_f1"]]
    assert len(scores) == toy_settings.epochs
    assert losses[-1] < losses[0]
    assert toy_run.best_macro_f1 == max(scores)

    run = read_run(toy_run.folder)
    cells = [row.cell for row in run.split.part("val") if row.cell.label in run.classes]
    data = CellDataset(manifest.root, cells, run.classes, run.preprocessing)
    batch = next(iter(DataLoader(data, len(data), collate_fn=stack)))
    pixels = torch.from_numpy(run.preprocessing.normalise(batch["pixels"].numpy()))
    with torch.inference_mode():
        predicted = run.network(pixel_values=pixels).logits.argmax(dim=1)
    matrix = confusion_matrix(batch["labels"].tolist(), predicted.tolist(), len(run.classes))
    assert macro(matrix).f1 == pytest.approx(max(scores), abs=1e-6)


def test_only_the_unfrozen_part_learns(toy_run: Trained, toy_network: Path) -> None:
    before = {f"dinov2.{k}": v for k, v in load_file(toy_network / "model.safetensors").items()}
    after = load_file(toy_run.folder / "model.safetensors")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    unfrozen = ("dinov2.encoder.layer.1.", "dinov2.layernorm.")
    assert all(name.startswith(unfrozen) for name in changed)


def test_a_run_is_a_checkpoint_of_transformers(toy_run: Trained) -> None:
    network = Dinov2ForImageClassification.from_pretrained(toy_run.folder)
    assert network.config.id2label == dict(enumerate(toy_run.classes))
    ours = read_run(toy_run.folder).network
    pixels = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        assert torch.equal(ours(pixels).logits, network.train(mode=False)(pixels).logits)


def test_the_same_seed_gives_the_same_weights(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path, toy_run: Trained
) -> None:
    again = fit(manifest, split, toy_settings, tmp_path)
    assert again.best_macro_f1 == toy_run.best_macro_f1
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (again, toy_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path, toy_run: Trained
) -> None:
    def stop(step: int, *_: object) -> None:
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(manifest, split, toy_settings, tmp_path, watch=stop)
    assert not (tmp_path / "model.safetensors").exists()
    (tmp_path / "checkpoints/checkpoint-99").mkdir()
    resumed = fit(manifest, split, toy_settings, tmp_path, resume=True)
    assert not (tmp_path / "checkpoints/checkpoint-99").exists()
    assert resumed.best_macro_f1 == toy_run.best_macro_f1
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (resumed, toy_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_is_not_continued_with_other_settings(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, toy_run: Trained
) -> None:
    with pytest.raises(SettingsError, match=r"was started with other settings \(epochs\)"):
        fit(manifest, split, replace(toy_settings, epochs=3), toy_run.folder, resume=True)


def test_classes_with_too_few_images_are_left_out_with_the_reason(split: Split) -> None:
    classes, left_out = choose_classes(split, TrainSettings(min_images=9))
    assert "EBO" not in classes
    assert left_out["EBO"] == "0 training images of 8 in all, 9 needed"
    assert left_out["OTH"] == "0 training images of 0 in all, 9 needed"
    classes, left_out = choose_classes(split, TrainSettings(min_images=9, classes=("BLA", "NGS")))
    assert classes == ("BLA", "NGS")
    assert left_out["EOS"] == "not among the classes asked for"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TrainSettings(), "there are: BLA 10, PMO 10"),
        (TrainSettings(min_images=9, classes=("BLA", "NGS", "PLM")), "there are: PLM 0"),
    ],
)
def test_too_few_images_to_learn_from(split: Split, settings: TrainSettings, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        choose_classes(split, settings)
    assert "training images (--set min_images)" in str(caught.value)
    assert message in str(caught.value)


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainSettings(epochs=0, zoom=0.5)
    assert str(caught.value) == "epochs must be at least 1, got 0; zoom must be at least 1, got 0.5"


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not the folder of a finished run"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sharpen": 1}, "no setting is called sharpen; there are model,"),
        ({"epochs": "x"}, "epochs must be a whole number, got 'x'; export with the version that"),
        ({"left_out": 3}, "cannot be used (TypeError("),
        (None, "cannot be read as an object of JSON ("),
    ],
)
def test_a_run_of_another_version_is_refused_in_words(
    changes: dict[str, object] | None, message: str, toy_run: Trained, tmp_path: Path
) -> None:
    values = json.loads((toy_run.folder / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(
        "{" if changes is None else json.dumps(values | changes)
    )
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(SettingsError) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'settings.json'}: {message}")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kept", [0, 40])
def test_a_damaged_network_of_a_run_is_refused_in_words(
    file: str, kept: int, toy_run: Trained, tmp_path: Path
) -> None:
    copy = shutil.copytree(toy_run.folder, tmp_path / "run")
    (copy / file).write_bytes((copy / file).read_bytes()[:kept])
    with pytest.raises(BackboneError, match=re.escape(f"network '{copy}' cannot be loaded: ")):
        read_run(copy)


@pytest.mark.parametrize("name", ["classifier.weight", "dinov2.layernorm.weight"])
def test_a_run_that_lacks_a_tensor_is_not_filled_up_at_random(
    name: str, toy_run: Trained, tmp_path: Path
) -> None:
    copy = shutil.copytree(toy_run.folder, tmp_path / "run")
    weights = load_file(copy / "model.safetensors")
    del weights[name]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=f"1 tensors are missing, the first is {name}"):
        read_run(copy)


def test_a_warm_up_over_all_steps_is_no_warm_up_of_one(tmp_path: Path) -> None:
    steps = [
        training_arguments(TrainSettings(warmup_share=share), tmp_path).get_warmup_steps(1000)
        for share in (0.0, 0.1, 1.0)
    ]
    assert steps == [0, 100, 1000]


def test_settings_are_saved_as_they_were_resolved(toy_run: Trained) -> None:
    values = json.loads((toy_run.folder / "settings.json").read_text())
    assert values["classes"] == list(toy_run.classes)
    assert values["left_out"] == toy_run.left_out
    assert values["preprocessing"]["size"] == 56


def resumed_like_whole(
    manifest: Manifest, split: Split, settings: TrainSettings, folder: Path, step: int
) -> None:
    """Train once at a stretch and once interrupted after a step: the weights are the same."""

    def stop(done: int, *_: object) -> None:
        if done == step:
            raise KeyboardInterrupt

    whole = fit(manifest, split, settings, folder / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(manifest, split, settings, folder / "killed", watch=stop)
    resumed = fit(manifest, split, settings, folder / "killed", resume=True)
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_option_can_be_trained_with_and_resumed(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    """All that can go together, killed in the second epoch: the end is the same."""
    settings = replace(
        toy_settings, average=0.9, mixup=0.4, cutmix=0.4, balance="focal", accumulate=2, jpeg=1.0,
        layer_decay=0.5, schedule="constant", optimizer="adam", patience=2, log="tensorboard",
    )  # fmt: skip
    resumed_like_whole(manifest, split, settings, tmp_path, 5)
    assert any((tmp_path / "whole/logs").iterdir())
    assert (tmp_path / "whole/curve.svg").read_text().count("<circle") == 2


def test_the_averaged_weights_are_the_ones_that_are_measured_and_kept(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, toy_run: Trained, tmp_path: Path
) -> None:
    """An average that hardly moves keeps the first weights, so hardly anything is learnt."""
    slow = fit(manifest, split, replace(toy_settings, average=0.999), tmp_path)
    rows = [row for row in slow.history if "eval_loss" in row]
    theirs = [row for row in toy_run.history if "eval_loss" in row]
    assert rows[0]["eval_loss"] > theirs[0]["eval_loss"]
    assert slow.best_macro_f1 < toy_run.best_macro_f1


def test_part_of_the_start_stays_in_the_weights_that_are_measured_and_kept(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    """What is left of what the last block learnt is the share that the start does not have."""
    mixed = fit(manifest, split, replace(toy_settings, start_share=0.25, epochs=1), tmp_path / "a")
    plain = fit(manifest, split, replace(toy_settings, epochs=1), tmp_path / "b")
    start = load_file(Path(toy_settings.model) / "model.safetensors")
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (mixed, plain))
    name = "layernorm.weight"
    learnt = theirs[f"dinov2.{name}"] - start[name]
    assert float(learnt.abs().max()) > 0
    assert torch.allclose(ours[f"dinov2.{name}"], start[name] + 0.75 * learnt, atol=1e-6)
    resumed_like_whole(manifest, split, replace(toy_settings, start_share=0.25), tmp_path, 5)


def test_the_last_layer_is_fitted_first(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    """A regression alone tells training cells better than a layer of random weights does."""
    classes, _ = choose_classes(split, toy_settings)
    cells = [row.cell for row in split.part("train") if row.cell.label in classes]
    preprocessing = Preprocessing(size=56)
    data = CellDataset(manifest.root, cells, classes, preprocessing)
    network = load_network(toy_settings.model, classes)
    batch = next(iter(DataLoader(data, len(data), collate_fn=stack)))
    pixels = torch.from_numpy(preprocessing.normalise(batch["pixels"].numpy()))

    def loss() -> float:
        with torch.no_grad():
            logits = network(pixel_values=pixels).logits
        return float(torch.nn.functional.cross_entropy(logits, batch["labels"]))

    before = loss()
    fit_last_layer(network, data, preprocessing, weights=None, smoothing=0)
    assert loss() < 0.8 * before
    settings = replace(toy_settings, head_first=True, balance="source-sampler")
    resumed_like_whole(manifest, split, settings, tmp_path, 5)


def test_batch_statistics_stay_as_they_were(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    config = MobileNetV2Config(depth_multiplier=0.25, finegrained_output=False, image_size=56)
    torch.manual_seed(0)
    MobileNetV2ForImageClassification(config).save_pretrained(tmp_path / "network")
    before = load_file(tmp_path / "network/model.safetensors")
    settings = replace(
        toy_settings, model=str(tmp_path / "network"), freeze_statistics=True, unfreeze_blocks=-1,
        epochs=1,
    )  # fmt: skip
    held, free = (
        load_file(
            fit(
                manifest, split, replace(settings, freeze_statistics=hold), tmp_path / str(hold)
            ).folder
            / "model.safetensors"
        )
        for hold in (True, False)
    )
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert all(torch.equal(held[name], before[name]) for name in statistics)
    assert not all(torch.equal(free[name], before[name]) for name in statistics)
    weight = "mobilenet_v2.conv_1x1.convolution.weight"
    assert not torch.equal(held[weight], before[weight])


def test_a_loss_that_is_no_number_stops_the_training(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="the loss is no longer a number at step"):
        fit(manifest, split, replace(toy_settings, head_learning_rate=1e38), tmp_path)


FULL_DISK = """
import resource, sys
from pathlib import Path
from marrowscope.data.partition import divide
from marrowscope.data.manifest import read_manifest
from marrowscope.data.split_plan import SplitPlan
from marrowscope.errors import TrainingError
from marrowscope.train.fit import fit
from marrowscope.train.settings import TrainSettings

cells, network, folder = sys.argv[1:]
manifest = read_manifest(Path(cells))
split = divide(manifest.cells, plan=SplitPlan(min_stratum=10))
settings = TrainSettings(
    model=network, min_images=9, size=56, unfreeze_blocks=1, epochs=2, batch_size=12, threads=1,
    head_learning_rate=1e-2, precision="fp32", log="none",
)

def fill(step, *_):
    if step == 9:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

try:
    fit(manifest, split, settings, Path(folder), watch=fill)
except TrainingError as error:
    sys.exit(str(error))
"""


def test_a_full_disk_leaves_the_last_checkpoint_and_training_goes_on_later(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, toy_run: Trained, tmp_path: Path
) -> None:
    cells = str(SAMPLES / "cells.csv")
    command = [sys.executable, "-c", FULL_DISK, cells, toy_settings.model, str(tmp_path)]
    died = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "cannot be written" in died.stderr, died.stderr
    assert "make room, then continue with --resume" in died.stderr
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["checkpoint-7"]
    resumed = fit(manifest, split, toy_settings, tmp_path, resume=True)
    assert resumed.best_macro_f1 == toy_run.best_macro_f1


def test_recipes_are_read_by_name_and_changed_by_name() -> None:
    networks = {"default", "fast", "resnet50", "mobilenet-v2", "vit-base", "dinov2-small"}
    assert networks | {"report-resnet50", "report-vit"} <= set(RECIPES)
    for name in RECIPES:
        assert settings_of(name)
        assert f"--recipe {name} " in RECIPES[name].read_text()
    report = settings_of("report-resnet50")
    assert (report.epochs, report.learning_rate, report.pretrained) == (25, 1e-4, False)
    changed = settings_of(
        "report-vit", read_changes(["epochs=7", "flips=false", "classes=BLA, NGS"])
    )
    assert (changed.epochs, changed.flips, changed.classes) == (7, False, ("BLA", "NGS"))


def test_the_recipe_fast_has_the_settings_of_the_shipped_bundle() -> None:
    sealed = load_bundle("fast").origin["settings"]
    settings = vars(settings_of("fast"))
    of_the_machine = {"model", "precision", "threads"}  # a folder, what `auto` was, its cores
    same = settings.keys() & sealed.keys() - of_the_machine
    assert len(same) > 30
    assert {name: settings[name] for name in same} == {name: sealed[name] for name in same}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": "3"}, "no setting is called epoch; there are model, pretrained,"),
        ({"epochs": "many"}, "epochs must be a whole number, got 'many'"),
        ({"epochs": [1]}, "epochs must be a whole number, got [1]"),
        ({"epochs": math.inf}, "epochs must be a whole number, got inf"),
        ({"epochs": 3.7}, "epochs must be a whole number, got 3.7"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"learning_rate": "inf"}, "learning_rate must be a finite number, got 'inf'"),
        ({"classes": 5}, "classes must be a list of texts, got 5"),
        ({"classes": [5]}, "classes must be a list of texts, got [5]"),
        ({"model": 5}, "model must be text, got 5"),
        ({"flips": 1}, "flips must be true or false, got 1"),
        ({"seed": "-1"}, "seed must be 0 to 4294967295, got -1"),
        ({"flips": "1"}, "flips must be true or false, got '1'"),
        ({"balance": "weights,focal"}, "balance must be one of none, sampler, source-sampler,"),
    ],
)
def test_settings_that_do_not_exist_or_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of("dinov2-small", changes)
    assert message in str(caught.value)


def test_recipes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no recipe 'gone'; there are default, dinov2-small,"):
        settings_of("gone")
    (tmp_path / "r.toml").write_text("epochs = ")
    with pytest.raises(SettingsError, match="no TOML"):
        settings_of(str(tmp_path / "r.toml"))
    with pytest.raises(SettingsError, match="a setting is changed by NAME=VALUE, got epochs"):
        read_changes(["epochs"])


def test_each_block_learns_slower_than_the_one_after_it(toy_network: Path) -> None:
    network = load_network(str(toy_network), ["BLA", "NGS"])
    settings = TrainSettings(learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5)
    rates = {group["lr"] for group in optimizer(network, settings).param_groups}
    assert rates == {1e-2, 1e-3, 5e-4, 2.5e-4}
    kept = [g for g in optimizer(network, settings).param_groups if g["weight_decay"] == 0]
    assert all(parameter.ndim == 1 for group in kept for parameter in group["params"])


def test_the_order_of_cells_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(EpochSampler(None, 50, seed, lambda: epoch))

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert sorted(order(0, 1)) == list(range(50))


def test_a_cell_that_is_drawn_again_in_an_epoch_is_seen_anew(
    manifest: Manifest, toy_settings: TrainSettings
) -> None:
    rare = np.array([0.97, 0.01, 0.01, 0.01])
    numbers = list(EpochSampler(rare, 4, 0, lambda: 0))
    assert len(set(numbers)) == 4
    assert [number % 4 for number in numbers].count(0) >= 3
    cells = manifest.cells[:4]
    data = CellDataset(
        manifest.root, cells, sorted({cell.label for cell in cells}), Preprocessing(size=56)
    )
    batch = stack([data[0], data[4]])
    assert torch.equal(batch["pixels"][0], batch["pixels"][1])
    assert batch["labels"].tolist() == [data[0][1]] * 2
    one, other = augment(batch["pixels"], draw(toy_settings, 0, batch["cells"].tolist()))
    assert not torch.equal(one, other)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a device for fp16 here")
def test_half_precision_without_a_gpu_is_refused_in_words(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="precision fp16 needs a GPU"):
        fit(manifest, split, replace(toy_settings, precision="fp16"), tmp_path)
    done = fit(manifest, split, replace(toy_settings, precision="bf16", epochs=1), tmp_path / "b")
    assert done.best_macro_f1 >= 0
