"""The transformers Trainer, told how cells are shown, weighed, mixed and averaged."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    AutoModelForImageClassification,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from marrowscope.errors import DivergedError, SettingsError, TrainingError
from marrowscope.metrics.classification import accuracy, confusion_matrix, macro
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.augment import augment, draw
from marrowscope.train.class_balance import chances_of_draw, class_shares, loss_of
from marrowscope.train.dataset import CellDataset, EpochSampler, PackedDataset, stack
from marrowscope.train.mixup import mix
from marrowscope.train.models import depths
from marrowscope.train.performance import choose_attention, order_channels
from marrowscope.train.settings import TrainSettings
from marrowscope.train.style_transfer import looks_of

Cells = CellDataset | PackedDataset
ON_PROCESSOR = not torch.accelerator.is_available()
"""Whether there is no other device to train on."""
ALL_STEPS = math.nextafter(1, 0)
"""The share of all steps: transformers takes 1 for one step, and rounds shares up."""
STATE, AVERAGE = "trainer_state.json", "average.safetensors"


class CellTrainer(Trainer):
    """Trains on random views of cells, validates on the cells as they are."""

    def __init__(
        self,
        network: PreTrainedModel,
        settings: TrainSettings,
        folder: Path,
        train: Cells,
        val: Cells,
        *,
        taught: Tensor | None = None,
    ) -> None:
        """Take over a network, its cells, and what a teacher says of the training ones (N, C)."""
        self._settings = settings
        self._network = network
        self._classes = int(network.config.num_labels or 0)
        self._preprocessing = cast("Preprocessing", settings.preprocessing)
        lends = settings.stain_swap or settings.sharpness_swap
        self._looks = looks_of(train, settings.seed) if lends else None
        counts = np.bincount(train.labels, minlength=self._classes)
        self._loss = loss_of(settings, torch.from_numpy(counts).float())
        self._taught = taught
        self._shares = class_shares(settings.balance, train.labels, train.sources, self._classes)
        self._start = _copy(network.state_dict()) if settings.start_share else None
        self._layout = order_channels(network)
        choose_attention(network, settings.precision)
        self._average = _average_of(network, settings.average)
        super().__init__(
            model=network,
            args=training_arguments(settings, folder),
            data_collator=stack,
            train_dataset=train,
            eval_dataset=val,
            compute_metrics=self._figures,
            optimizers=(optimizer(network, settings), None),
            callbacks=[_Averaging(self._average)],
        )
        if self._average is not None:
            self._average.to(self.args.device)
        if settings.patience:
            self.add_callback(EarlyStoppingCallback(settings.patience))
        self.remove_callback(PrinterCallback)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return math.floor((self.state.epoch or 0) + 1e-6)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002 - of the Trainer's form
    ) -> Any:
        """Show the cells, score them, and give the mean loss.

        Raises:
            DivergedError: the loss is no longer a number.
        """
        pixels, cells = inputs["pixels"], inputs["cells"].tolist()
        targets = one_hot(inputs["labels"], self._classes).float()
        if not model.training:
            logits = model(pixel_values=self._normalised(pixels)).logits.float()
            loss = cross_entropy(logits, targets)
            return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss
        settings = self._settings
        if settings.freeze_statistics:
            hold_statistics(model)
        with torch.autocast(pixels.device.type, enabled=False):
            views = draw(settings, self.epoch, cells)
            images = self._normalised(augment(pixels, views, self._looks))
        targets = self._with_teacher(inputs["cells"], targets)
        random = np.random.default_rng((settings.seed, self.epoch, *cells[:2]))
        shares = self._shares_of(inputs["cells"], targets)
        images, mixed = mix(images, torch.stack([targets, shares], dim=1), settings, random)
        targets, shares = mixed.unbind(dim=1)
        targets = torch.lerp(targets, shares, settings.label_smoothing)
        logits = model(pixel_values=images).logits.float()
        loss = self._loss(logits if self._shares is None else logits + shares.log(), targets)
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the loss is no longer a number at step {self.state.global_step}; the last good "
                "checkpoint is kept: start again with a lower learning_rate or with precision=fp32"
            )
        return loss

    def _with_teacher(self, cells: Tensor, targets: Tensor) -> Tensor:
        """Mix what the teacher says into the targets (N, C), where there is one."""
        if self._taught is None:
            return targets
        said = self._taught[cells.cpu() % len(self._taught)].to(targets.device)
        return torch.lerp(targets, said, self._settings.teacher_share)

    def _shares_of(self, cells: Tensor, targets: Tensor) -> Tensor:
        """Give the shares (N, C) of the classes by which logits are shifted; else equal ones."""
        if self._shares is None:
            return torch.full_like(targets, 1 / self._classes)
        return self._shares[cells.cpu() % len(self._shares)].to(targets.device)

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, std = (
            torch.from_numpy(values).to(pixels.device) for values in self._preprocessing.in_levels()
        )
        return ((pixels.float() - mean) / std).contiguous(memory_format=self._layout)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        data = cast("Cells", train_dataset or self.train_dataset)
        weights = chances_of_draw(self._settings.balance, data.labels, data.sources)
        return EpochSampler(weights, len(data), self._settings.seed, lambda: self.epoch)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Load validation cells, prepared so that no cell is dropped from the figures."""
        loader = DataLoader(
            cast("Cells", self.eval_dataset if eval_dataset is None else eval_dataset),
            batch_size=self.args.eval_batch_size,
            collate_fn=stack,
            num_workers=self.args.dataloader_num_workers,
        )
        return cast("DataLoader[Any]", self.accelerator.prepare(loader))

    def _figures(self, outcome: EvalPrediction) -> dict[str, float]:
        truth, logits = np.asarray(outcome.label_ids), np.asarray(outcome.predictions)
        matrix = confusion_matrix(truth.tolist(), logits.argmax(axis=1).tolist(), self._classes)
        return {"macro_f1": macro(matrix).f1, "accuracy": accuracy(matrix)}

    def evaluate(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """Measure the weights that would be kept: averaged and mixed with the start, if asked."""
        with self._kept():
            return super().evaluate(*arguments, **named)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        own = _copy(self._network.state_dict())
        learnt = own if self._average is None else self._average.module.state_dict()
        self._network.load_state_dict(self._with_start(learnt))
        yield
        self._network.load_state_dict(own)

    def _with_start(self, learnt: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mix weights with those of the start, where the settings ask for a share of them.

        Source: Wortsman et al., CVPR 2022, arXiv 2109.01903 (WiSE-FT).
        """
        if self._start is None:
            return learnt
        share = self._settings.start_share
        return {
            name: torch.lerp(value, self._start[name].to(value.device), share)
            if value.is_floating_point()
            else value
            for name, value in learnt.items()
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint; the file that says that it is whole comes last.

        Raises:
            TrainingError: the disk does not take it; the checkpoint before it is kept.
        """
        folder = Path(str(self.args.output_dir), f"checkpoint-{self.state.global_step}")
        try:
            if self._average is not None and self.args.should_save:
                folder.mkdir(parents=True, exist_ok=True)
                state = self._average.module.state_dict()
                tensors = {name: value.contiguous() for name, value in state.items()}
                save_file(tensors, folder / AVERAGE)
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            rmtree(folder, ignore_errors=True)
            raise TrainingError(
                f"the checkpoint after step {self.state.global_step} cannot be written ({error}); "
                "the one before it is kept: make room, then continue with --resume"
            ) from None

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
        folder = Path(resume_from_checkpoint)
        self._network.load_state_dict(_weights(folder))
        if self._average is not None:
            self._average.module.load_state_dict(load_file(folder / AVERAGE))
            self._average.n_averaged.fill_(1)  # else the next step would start a new average

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        own = self._average is None
        learnt = _weights(best) if own else load_file(best / AVERAGE)
        self._network.load_state_dict(self._with_start(learnt))


def hold_statistics(network: nn.Module) -> None:
    """Let the batch statistics of a network stay as they are in the next step."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(mode=False)


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in weights.items()}


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint by the names that the network has now.

    The Trainer's own way skips, with a warning, weights that transformers saves under older names.
    """
    network = AutoModelForImageClassification.from_pretrained(checkpoint, use_safetensors=True)
    return dict(network.state_dict())


class _Averaging(TrainerCallback):
    """Takes the weights into the moving average after each step."""

    def __init__(self, average: AveragedModel | None) -> None:
        self._average = average

    def on_step_end(self, *_: Any, **named: Any) -> None:
        if self._average is not None:
            self._average.update_parameters(named["model"])


def _average_of(network: nn.Module, decay: float) -> AveragedModel | None:
    if not decay:
        return None
    average = get_ema_multi_avg_fn(decay)
    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def last_checkpoint(folder: Path) -> Path | None:
    """Give the newest whole checkpoint, and clear away what a kill left half-written."""
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
            whole.append(checkpoint)
        except (OSError, ValueError):
            rmtree(checkpoint)
    return max(whole, key=lambda checkpoint: int(checkpoint.name.split("-")[1]), default=None)


def training_arguments(settings: TrainSettings, folder: Path) -> TrainingArguments:
    """Translate our settings into those of the Trainer.

    Raises:
        SettingsError: the precision needs a device that is not there.
    """
    if settings.precision == "fp16" and ON_PROCESSOR:
        raise SettingsError(
            "precision fp16 needs a GPU, and there is none; leave it at auto, or use fp32 or bf16"
        )
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulate,
        lr_scheduler_type="cosine" if settings.schedule == "cosine" else "constant_with_warmup",
        warmup_steps=min(settings.warmup_share, ALL_STEPS),
        max_grad_norm=settings.clip_norm,
        use_cpu=ON_PROCESSOR,
        ddp_find_unused_parameters=False,
        bf16=settings.precision == "bf16",
        fp16=settings.precision == "fp16",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        dataloader_num_workers=settings.workers,
        dataloader_persistent_workers=settings.workers > 0,
        seed=settings.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def optimizer(network: PreTrainedModel, settings: TrainSettings) -> torch.optim.Optimizer:
    """Give the head its learning rate, and each block its own.

    From the last block to the first it falls by `layer_decay`: at 0.5, the third last has a
    quarter of the last one's. Only matrices have weight decay.

    Raises:
        BackboneError: the network has no numbered blocks.
    """
    depth = depths(network)
    head = max(depth.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((depth[name], parameter.ndim > 1), []).append(parameter)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [
            {
                "params": parameters,
                "lr": settings.head_learning_rate
                if at == head
                else settings.learning_rate * settings.layer_decay ** (head - 1 - at),
                "weight_decay": settings.weight_decay if is_matrix else 0.0,
            }
            for (at, is_matrix), parameters in groups.items()
        ]
    )
