"""Train a classifier on the training part, keep its best epoch by the validation part."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, set_seed

from marrowscope.data.manifest import Manifest
from marrowscope.data.pack import Pack
from marrowscope.data.split import Split, located
from marrowscope.errors import MissingExtraError, SettingsError
from marrowscope.model.preprocess import Preprocessing
from marrowscope.taxonomy import CLASSES, in_order
from marrowscope.train.class_balance import chances_of_draw
from marrowscope.train.dataset import CellDataset, PackedDataset
from marrowscope.train.distillation import taught
from marrowscope.train.history import write_history
from marrowscope.train.linear_head import fit_last_layer
from marrowscope.train.models import freeze_below, load_network, preprocessing_of
from marrowscope.train.performance import fast_precision, keep_memory
from marrowscope.train.run import CHECKPOINTS, LOGS, finish_run, start_run
from marrowscope.train.settings import TrainSettings
from marrowscope.train.trainer import ON_PROCESSOR, Cells, CellTrainer, last_checkpoint
from marrowscope.types import Cell

Watch = Callable[[int, int, str], object]
"""Is told the steps done, the steps in all, and the last validation figures in words."""
EachEpoch = Callable[[int, float], object]
"""Is told the epochs done and the validation macro-F1; what it raises ends the training."""


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
    resume: bool = False,
    each_epoch: EachEpoch = lambda *_: None,
) -> Trained:
    """Train on the part `train`, choose the epoch by macro-F1 on the part `val`, write the run.

    Cells come out of `pack` if there is one, else from their files. With `resume`, a folder with
    checkpoints of an interrupted run is continued from the last whole one. Under `accelerate
    launch`, several processes share the work, and the first one writes.

    Raises:
        SettingsError: fewer than two classes have enough training images, or one that is asked for
            has not; the network has fewer blocks than are to learn; the precision needs a GPU; the
            teacher does not fit; or the folder holds a run with other settings or cells.
        UnknownClassError: a class that is asked for is none.
        SplitError: the split has no part `train` or `val`, or the manifest lacks a cell.
        BackboneError: the network cannot be loaded, or its blocks are not known.
        PackError: the pack lacks a cell, or was made for another preprocessing.
        BundleError: the teacher is no whole bundle.
        ImageError: a cell cannot be read.
        MissingExtraError: what the settings log to is not installed.
        DivergedError: the loss is no longer a number.
        TrainingError: a checkpoint cannot be written.
        OutputError: the folder cannot be used.
    """
    classes, left_out = choose_classes(split, settings)
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    keep_memory()
    set_seed(settings.seed)
    settings, preprocessing = resolved(settings)
    network = load_network(settings.model, classes, pretrained=settings.pretrained)
    freeze_below(network, settings.unfreeze_blocks)
    covered = {part: _covered(manifest, split, part, classes) for part in ("train", "val")}
    train, val = (
        _dataset(manifest, pack, cells, classes, preprocessing) for cells in covered.values()
    )
    if settings.head_first:
        chances = chances_of_draw(settings.balance, train.labels, train.sources)
        smoothing = settings.label_smoothing
        fit_last_layer(network, train, preprocessing, weights=chances, smoothing=smoothing)
    said = None
    if settings.teacher:
        each = partial(_read_by_teacher, watch)
        said = taught(
            settings.teacher, manifest.root, covered["train"], classes, split.hash, advance=each
        )
    processes = PartialState(cpu=ON_PROCESSOR)
    if processes.is_main_process:
        start_run(folder, settings, classes, left_out, split, resume=resume)
    processes.wait_for_everyone()
    trainer = CellTrainer(network, settings, folder / CHECKPOINTS, train, val, taught=said)
    if processes.is_main_process:
        trainer.add_callback(_Watcher(watch, each_epoch, folder))
        _log(trainer, settings, folder)
    checkpoint = last_checkpoint(folder / CHECKPOINTS) if resume else None
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    history = tuple(row for row in trainer.state.log_history if "epoch" in row)
    if processes.is_main_process:
        finish_run(folder, network, history)
    processes.wait_for_everyone()
    return Trained(folder, classes, left_out, history, float(trainer.state.best_metric or 0.0))


def resolved(settings: TrainSettings) -> tuple[TrainSettings, Preprocessing]:
    """Fill in what depends on the network and the device: the input, the arithmetic."""
    own = preprocessing_of(settings.model)
    size = settings.size or own.size
    preprocessing = replace(own, size=size, field_um=settings.field_um)
    precision = fast_precision() if settings.precision == "auto" else settings.precision
    return replace(settings, preprocessing=preprocessing, precision=precision), preprocessing


def _dataset(
    manifest: Manifest,
    pack: Pack | None,
    cells: Sequence[Cell],
    classes: Sequence[str],
    preprocessing: Preprocessing,
) -> Cells:
    if pack is not None:
        return PackedDataset(pack, cells, classes, preprocessing)
    return CellDataset(manifest.root, cells, classes, preprocessing)


def _read_by_teacher(watch: Watch, done: int, in_all: int) -> None:
    watch(done, in_all, "the teacher reads the cells")


def _log(trainer: CellTrainer, settings: TrainSettings, folder: Path) -> None:
    """Log the course of training where the settings say.

    Raises:
        MissingExtraError: the library for it is not installed.
    """
    try:
        if settings.log == "tensorboard":
            from torch.utils.tensorboard import SummaryWriter
            from transformers.integrations.integration_utils import TensorBoardCallback

            trainer.add_callback(TensorBoardCallback(SummaryWriter(folder / LOGS)))
        elif settings.log == "mlflow":
            import mlflow  # noqa: F401 - only to see whether it is there
            from transformers.integrations.integration_utils import MLflowCallback

            trainer.add_callback(MLflowCallback())
    except ImportError:
        raise MissingExtraError(
            f"logging to {settings.log} needs it; install it with: pip install {settings.log}, "
            "or log nowhere with --set log=none"
        ) from None


def choose_classes(split: Split, settings: TrainSettings) -> tuple[tuple[str, ...], dict[str, str]]:
    """Give the classes to learn, and for each other class of the data why it is left out.

    Raises:
        SettingsError: a class asked for has too few images, or fewer than two classes remain.
        UnknownClassError: a class asked for is none.
        SplitError: the split has no part `train`.
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
            f"at least two classes need {needed} training images (--set min_images), "
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


def _covered(manifest: Manifest, split: Split, part: str, classes: Sequence[str]) -> list[Cell]:
    rows = [row for row in split.part(part) if row.cell.label in classes]
    return [row.cell for row in located(rows, manifest.cells, part)]


class _Watcher(TrainerCallback):
    """Tells how far the training is, and draws its curve after each epoch."""

    def __init__(self, watch: Watch, each_epoch: EachEpoch, folder: Path) -> None:
        self._watch = watch
        self._each_epoch = each_epoch
        self._folder = folder
        self._words = "first epoch"

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._watch(state.global_step, state.max_steps, self._words)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        figure = kwargs["metrics"]["eval_macro_f1"]
        self._words = f"epoch {state.epoch:.0f}: macro-F1 {figure:.4f}"
        self._watch(state.global_step, state.max_steps, self._words)
        write_history([row for row in state.log_history if "epoch" in row], self._folder)
        self._each_epoch(round(state.epoch), figure)
