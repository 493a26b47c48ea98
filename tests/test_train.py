"""Training on real cells with a real network made tiny: what it learns, keeps and refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.errors import BackboneError, SettingsError
from marrowscope.metrics import confusion_matrix, macro
from marrowscope.train.dataset import CellDataset, Collator
from marrowscope.train.fit import Trained, choose_classes, fit
from marrowscope.train.model import CellClassifier, load_backbone
from marrowscope.train.run import read_run
from marrowscope.train.settings import TrainSettings


def test_a_run_folder_holds_all_that_went_in_and_came_out(
    toy_run: Trained, split: Split, toy_settings: TrainSettings
) -> None:
    assert {file.name for file in toy_run.folder.iterdir()} == {
        "checkpoints", "config.json", "environment.json", "history.csv", "model.safetensors",
        "settings.json", "split.csv", "split.json",
    }  # fmt: skip
    run = read_run(toy_run.folder)
    assert (
        run.classes == toy_run.classes == ("BLA", "PMO", "NGS", "EOS", "MON", "LYT", "ART", "NIF")
    )
    assert run.split.hash == split.hash
    assert run.settings == replace(toy_settings, classes=toy_run.classes)
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
    data = CellDataset(manifest.root, cells, run.classes, run.settings.preprocessing)
    batch = next(iter(DataLoader(data, len(data), collate_fn=Collator(run.settings.preprocessing))))
    with torch.inference_mode():
        predicted = run.network(batch["pixel_values"])["logits"].argmax(dim=1)
    matrix = confusion_matrix(batch["labels"].tolist(), predicted.tolist(), len(run.classes))
    assert macro(matrix).f1 == pytest.approx(max(scores), abs=1e-6)


def test_only_the_unfrozen_part_learns(toy_run: Trained, toy_backbone: Path) -> None:
    before = {f"backbone.{k}": v for k, v in load_backbone(str(toy_backbone)).state_dict().items()}
    after = load_file(toy_run.folder / "model.safetensors")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed
    unfrozen = ("backbone.encoder.layer.1.", "backbone.layernorm.")
    assert all(name.startswith(unfrozen) for name in changed)


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
    resumed = fit(manifest, split, toy_settings, tmp_path)
    assert resumed.best_macro_f1 == toy_run.best_macro_f1
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (resumed, toy_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_is_not_continued_with_other_settings(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, toy_run: Trained
) -> None:
    with pytest.raises(SettingsError, match=r"was started with other settings \(epochs\)"):
        fit(manifest, split, replace(toy_settings, epochs=3), toy_run.folder)


def test_logits_are_a_linear_map_of_class_and_mean_patch_token(toy_backbone: Path) -> None:
    network = CellClassifier(load_backbone(str(toy_backbone)), 3).eval()
    pixels = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        tokens = network.backbone(pixels).last_hidden_state
        features = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        expected = features @ network.head.weight.T + network.head.bias
        assert torch.allclose(network(pixels)["logits"], expected, atol=1e-6)


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
    assert "training images (--min-images)" in str(caught.value)
    assert message in str(caught.value)


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainSettings(epochs=0, zoom=0.5)
    assert (
        str(caught.value)
        == "--epochs must be at least 1, got 0; --zoom must be at least 1, got 0.5"
    )


def test_more_blocks_than_there_are(toy_backbone: Path) -> None:
    network = CellClassifier(load_backbone(str(toy_backbone)), 3)
    with pytest.raises(SettingsError, match="--unfreeze-blocks 5: the backbone has only 2 blocks"):
        network.freeze_below(5)


def test_a_backbone_that_is_not_there_says_what_to_do_online_and_offline(tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        load_backbone(str(tmp_path / "gone"))
    assert "Online, give a hub name" in str(caught.value)
    assert "offline, a folder with config.json and model.safetensors" in str(caught.value)


def test_a_backbone_without_all_its_tensors_is_refused(toy_backbone: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = load_file(toy_backbone / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((toy_backbone / "config.json").read_text())
    with pytest.raises(BackboneError, match=r"missing, the first is layernorm\.weight"):
        load_backbone(str(tmp_path))


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not the folder of a finished run"):
        read_run(tmp_path)


def test_settings_are_saved_as_they_were_resolved(toy_run: Trained) -> None:
    values = json.loads((toy_run.folder / "settings.json").read_text())
    assert values["classes"] == list(toy_run.classes)
    assert values["left_out"] == toy_run.left_out
    assert values["preprocessing"]["size"] == 56
