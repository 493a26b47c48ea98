"""Train a classifier on the training part, keep its best epoch by the validation part."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from marrowscope.data.manifest import Manifest
from marrowscope.data.pack import Pack
from marrowscope.data.split import Split
from marrowscope.errors import SettingsError
from marrowscope.labels import CLASSES, in_order
from marrowscope.metrics import accuracy, confusion_matrix, macro
from marrowscope.records import Cell
from marrowscope.train.dataset import AugmentingCollator, CellDataset, Collator, PackedDataset
from marrowscope.train.model import CellClassifier, load_backbone
from marrowscope.train.run import finish_run, start_run
from marrowscope.train.settings import TrainSettings

CHECKPOINTS = "checkpoints"
Watch = Callable[[int, int, str], object]
"""Is told the steps done, the steps in all, and the last validation figures in words."""


@dataclass(frozen=True)
class Trained:
    """A run's folder, the classes it learnt, those left out with the reason, and its history."""

    folder: Path
    classes: tuple[str, ...]
    left_out: dict[str, str]
    history: tuple[dict[str, Any], ...]
    best_macro_f1: float


def fit(
    manifest: Manifest,
    split: Split,
    settings: TrainSettings,
    folder: Path,
    *,
    watch: Watch = lambda *_: None,
    pack: Pack | None = None,
) -> Trained:
    """Train on the part `train`, choose the epoch by macro-F1 on the part `val`, write the run.

    Cells come out of `pack` if there is one, else from their files. A folder with checkpoints of
    an interrupted run is continued from the last one.

    Raises:
        SettingsError: fewer than two classes have enough training images.
        BackboneError: the backbone cannot be loaded.
        PackError: the pack lacks a cell.
    """
    classes, left_out = choose_classes(split, settings)
    threads = settings.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    set_seed(settings.seed)
    network = CellClassifier(
        load_backbone(settings.backbone), len(classes), settings.label_smoothing
    )
    network.freeze_below(settings.unfreeze_blocks)
    train, val = (
        _dataset(manifest, pack, _covered(split, part, classes), classes, settings)
        for part in ("train", "val")
    )
    start_run(folder, settings, classes, left_out, split)
    trainer = CellTrainer(network, settings, folder / CHECKPOINTS, train, val)
    trainer.add_callback(_Watcher(watch))
    interrupted = any((folder / CHECKPOINTS).glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=interrupted)
    history = tuple(row for row in trainer.state.log_history if "epoch" in row)
    finish_run(folder, network, history)
    return Trained(folder, classes, left_out, history, float(trainer.state.best_metric or 0.0))


def choose_classes(split: Split, settings: TrainSettings) -> tuple[tuple[str, ...], dict[str, str]]:
    """Give the classes to learn, and for each other class of the data why it is left out.

    Raises:
        SettingsError: a class asked for has too few images, or fewer than two classes remain.
    """
    images = Counter(row.cell.label for row in split.part("train"))
    in_all = Counter(row.cell.label for row in split.rows)
    needed = settings.min_images
    wanted = in_order(settings.classes) or in_order(row.cell.label for row in split.rows)
    classes = tuple(code for code in wanted if images[code] >= needed)
    too_few = [code for code in settings.classes if code not in classes]
    if too_few or len(classes) < 2:
        counts = ", ".join(f"{code} {images[code]}" for code in too_few or wanted)
        raise SettingsError(
            f"at least two classes need {needed} training images (--min-images), "
            f"and so does each that --classes names; there are: {counts}"
        )
    asked = settings.classes or tuple(CLASSES)
    left_out = {
        code: f"{images[code]} training images of {in_all[code]} in all, {needed} needed"
        if code in asked
        else "not among the classes asked for"
        for code in CLASSES
        if code not in classes
    }
    return classes, left_out


def _dataset(
    manifest: Manifest,
    pack: Pack | None,
    cells: Sequence[Cell],
    classes: Sequence[str],
    settings: TrainSettings,
) -> Dataset[Any]:
    if pack is not None:
        return PackedDataset(pack, cells, classes, settings.preprocessing)
    return CellDataset(manifest.root, cells, classes, settings.preprocessing)


def _covered(split: Split, part: str, classes: Sequence[str]) -> list[Cell]:
    return [row.cell for row in split.part(part) if row.cell.label in classes]


class _Watcher(TrainerCallback):
    """Tells how far the training is, in place of what the Trainer prints."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._words = "first epoch"

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        self._watch(state.global_step, state.max_steps, self._words)

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        figure = kwargs["metrics"]["eval_macro_f1"]
        self._words = f"epoch {state.epoch:.0f}: macro-F1 {figure:.4f}"
        self._watch(state.global_step, state.max_steps, self._words)


class CellTrainer(Trainer):
    """The transformers Trainer with augmented training batches, plain validation batches."""

    def __init__(
        self,
        network: CellClassifier,
        settings: TrainSettings,
        folder: Path,
        train: Dataset[Any],
        val: Dataset[Any],
    ) -> None:
        self._plain = Collator(settings.preprocessing)
        self._classes = network.head.out_features
        super().__init__(
            model=network,
            args=training_arguments(settings, folder),
            data_collator=AugmentingCollator(
                settings.preprocessing, settings.zoom, settings.stain_jitter
            ),
            train_dataset=train,
            eval_dataset=val,
            compute_metrics=self._figures,
            optimizers=(optimizer(network, settings), None),
        )
        self.remove_callback(PrinterCallback)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Load validation cells as they are, prepared so that no cell is dropped from figures."""
        loader = DataLoader(
            cast("Dataset[Any]", self.eval_dataset if eval_dataset is None else eval_dataset),
            batch_size=self.args.eval_batch_size,
            collate_fn=self._plain,
            num_workers=self.args.dataloader_num_workers,
        )
        return cast("DataLoader[Any]", self.accelerator.prepare(loader))

    def _figures(self, outcome: EvalPrediction) -> dict[str, float]:
        truth, logits = np.asarray(outcome.label_ids), np.asarray(outcome.predictions)
        matrix = confusion_matrix(truth.tolist(), logits.argmax(axis=1).tolist(), self._classes)
        return {"macro_f1": macro(matrix).f1, "accuracy": accuracy(matrix)}


def training_arguments(settings: TrainSettings, folder: Path) -> TrainingArguments:
    """Translate our settings into those of the Trainer."""
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_share,
        max_grad_norm=1.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        dataloader_num_workers=settings.workers,
        seed=settings.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW with one learning rate for the head, one for the backbone; decay on matrices only."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("head."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [_group(parameters, *key, settings) for key, parameters in groups.items()]
    )


def _group(
    parameters: list[nn.Parameter], head: bool, matrix: bool, settings: TrainSettings
) -> dict[str, Any]:
    return {
        "params": parameters,
        "lr": settings.head_learning_rate if head else settings.backbone_learning_rate,
        "weight_decay": settings.weight_decay if matrix else 0.0,
    }
