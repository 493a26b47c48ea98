"""Everything that a training run can be told, checked as a whole."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from marrowscope.errors import SettingsError
from marrowscope.model.preprocess import Preprocessing

BALANCES = (
    *("none", "sampler", "source-sampler", "weights", "focal"),
    *("logit-adjustment", "source-adjustment"),
)
OPTIMIZERS = ("adamw", "adam")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
LOGS = ("tensorboard", "mlflow", "none")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run; they are saved beside its weights."""

    model: str = "dinov2-small"
    """Network: a name of `models.MODELS`, a hub id or a local folder."""
    pretrained: bool = True
    """Start from published weights; otherwise from random ones."""
    classes: tuple[str, ...] = ()
    """Class codes to learn; empty for every class with enough images."""
    min_images: int = 100
    """Training images a class needs to be learnt, at least 1."""
    size: int = 0
    """Side of the input, in pixels; 0 for the network's own."""
    field_um: float = 0.0
    """Side of the square around the middle that is shown, in micrometres; 0 for the picture."""
    unfreeze_blocks: int = -1
    """Last blocks that learn with the head; 0 for the head alone, -1 for the whole network."""
    epochs: int = 10
    """Passes over the training part."""
    patience: int = 0
    """Epochs without a better validation macro-F1 after which training stops; 0 for never."""
    batch_size: int = 32
    """Cells in a step of one process."""
    accumulate: int = 1
    """Steps whose gradients are added up before the weights change."""
    optimizer: str = "adamw"
    """One of `OPTIMIZERS`."""
    learning_rate: float = 1e-4
    """Peak learning rate of the last block."""
    head_learning_rate: float = 1e-3
    """Peak learning rate of the head."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each block to the one before it, above 0 to 1."""
    weight_decay: float = 0.05
    """Of matrices; biases, norms and scales have none."""
    schedule: str = "cosine"
    """Course of the learning rate after the warm-up: one of `SCHEDULES`."""
    warmup_share: float = 0.1
    """Share of all steps over which the learning rate rises, 0..1."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    label_smoothing: float = 0.05
    """Probability mass spread over all classes, by the shares that shift logits; 0 to below 1."""
    balance: str = "none"
    """What is done about rare classes: one of `BALANCES`, never two."""
    focal_gamma: float = 2.0
    """Power by which `focal` discounts what is already learnt."""
    mixup: float = 0.0
    """Parameter of the Beta distribution by which pairs of cells are blended; 0 for never."""
    cutmix: float = 0.0
    """The same for pasting a rectangle of one cell into another; with mixup, one or the other."""
    teacher: str = ""
    """Bundle, by name or folder, whose probabilities become part of each target; empty for none."""
    teacher_share: float = 0.5
    """Share of the target that is the teacher's, 0..1; the rest is the label's."""
    head_first: bool = False
    """Fit the last layer to the training cells by regression before the network learns."""
    freeze_statistics: bool = False
    """Keep the batch statistics that the network starts with."""
    start_share: float = 0.0
    """Share of the starting weights in the weights that are kept (WiSE-FT), 0 to below 1."""
    average: float = 0.0
    """Decay of the moving average of the weights (EMA), 0 to below 1; 0 for none."""
    precision: str = "auto"
    """Of the arithmetic: one of `PRECISIONS`; auto is bf16 where the device multiplies it fast."""
    rotation: float = 180.0
    """Largest random angle, degrees, 0..180."""
    flips: bool = True
    """Mirror half of the pictures."""
    zoom: float = 1.5
    """Pictures are scaled by a random factor between 1/zoom and zoom; at least 1."""
    shift: float = 0.05
    """Largest random shift, as a share of the side, 0..0.5."""
    stain_jitter: float = 0.2
    """Largest relative change of each stain's strength, 0 to below 1."""
    stain_swap: float = 0.0
    """Share of the pictures that are shown in the colours of another training cell, 0..1."""
    sharpness_swap: float = 0.0
    """Share of the pictures that are shown as sharp as another training cell is, 0..1."""
    colour_jitter: float = 0.05
    """Largest relative change of brightness and of each channel, 0 to below 1."""
    blur: float = 1.0
    """Largest standard deviation of a random blur, pixels; a third of the pictures get one."""
    coarsening: float = 1.0
    """Largest factor by which a random half of the images loses resolution; at least 1."""
    jpeg: float = 0.0
    """Strongest random JPEG noise: 0 for none, 1 for quality 20; half of the pictures get some."""
    seed: int = 0
    """Of the head, the order of cells and the augmentation; 0 to 4294967295."""
    workers: int = 0
    """Processes that decode pictures beside the training process."""
    threads: int = 0
    """Threads of torch; 0 for as many as the machine has cores."""
    log: str = "tensorboard"
    """Where the course of training is logged besides `history.csv`: one of `LOGS`."""
    preprocessing: Preprocessing | None = None
    """How a picture becomes model input; filled in from the network, travels with the bundle."""

    def __post_init__(self) -> None:
        """Check all fields at once.

        Raises:
            SettingsError: one or more fields are out of range; the message lists each.
        """
        wrong = [
            f"{name} must be {allowed}, got {getattr(self, name)!r}"
            for name, (good, allowed) in self._rules().items()
            if not good
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))

    def _rules(self) -> dict[str, tuple[bool, str]]:
        at_least_1 = {
            name: (getattr(self, name) >= 1, "at least 1")
            for name in ("min_images", "epochs", "batch_size", "accumulate", "zoom", "coarsening")
        }
        at_least_0 = {
            name: (getattr(self, name) >= 0, "at least 0")
            for name in (
                *(
                    "size",
                    "field_um",
                    "patience",
                    "weight_decay",
                    "clip_norm",
                    "focal_gamma",
                    "mixup",
                ),
                *("cutmix", "blur", "workers", "threads"),
            )
        }
        below_1 = {
            name: (0 <= getattr(self, name) < 1, "at least 0 and below 1")
            for name in (
                *("label_smoothing", "average", "start_share"),
                *("stain_jitter", "colour_jitter"),
            )
        }
        choices = {
            name: (getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
            for name, allowed in (
                ("balance", BALANCES),
                ("optimizer", OPTIMIZERS),
                ("schedule", SCHEDULES),
                ("precision", PRECISIONS),
                ("log", LOGS),
            )
        }
        others = {
            "unfreeze_blocks": (self.unfreeze_blocks >= -1, "-1 or more"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "head_learning_rate": (self.head_learning_rate > 0, "above 0"),
            "layer_decay": (0 < self.layer_decay <= 1, "above 0 and at most 1"),
            "warmup_share": (0 <= self.warmup_share <= 1, "0 to 1"),
            "rotation": (0 <= self.rotation <= 180, "0 to 180"),
            "shift": (0 <= self.shift <= 0.5, "0 to 0.5"),
            "seed": (0 <= self.seed < 2**32, "0 to 4294967295"),
            "jpeg": (0 <= self.jpeg <= 1, "0 to 1"),
            "stain_swap": (0 <= self.stain_swap <= 1, "0 to 1"),
            "sharpness_swap": (0 <= self.sharpness_swap <= 1, "0 to 1"),
            "teacher_share": (0 <= self.teacher_share <= 1, "0 to 1"),
        }
        return at_least_1 | at_least_0 | below_1 | choices | others


def settings_from(values: Mapping[str, Any]) -> TrainSettings:
    """Build settings from plain values, text or not: `{"epochs": "3"}` asks for 3 epochs.

    Raises:
        SettingsError: a name is unknown, or a value is of another kind than its field or out of
            range.
    """
    kinds = {field.name: type(field.default) for field in fields(TrainSettings)}
    del kinds["preprocessing"]
    unknown = [name for name in values if name not in kinds]
    if unknown:
        raise SettingsError(
            f"no setting is called {', '.join(unknown)}; there are {', '.join(kinds)}"
        )
    return TrainSettings(**{name: _typed(name, kinds[name], v) for name, v in values.items()})


def _typed(name: str, kind: type, value: Any) -> Any:
    read, allowed = KINDS[kind]
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError):
        raise SettingsError(f"{name} must be {allowed}, got {value!r}") from None


def _bool(value: Any) -> bool:
    given = value.lower() if isinstance(value, str) else value
    if given not in ("true", "false") and not isinstance(given, bool):
        raise ValueError
    return given in ("true", True)


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or not (isinstance(value, str) or value == number):
        raise ValueError
    return number


def _finite(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """Read `BLA, PLM`, or a list of texts; a text without any is an empty list."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise TypeError
    return tuple(filter(None, (_text(each).strip() for each in given)))


KINDS: dict[type, tuple[Callable[[Any], Any], str]] = {
    bool: (_bool, "true or false"),
    int: (_whole, "a whole number"),
    float: (_finite, "a finite number"),
    str: (_text, "text"),
    tuple: (_texts, "a list of texts"),
}
"""How a value of each kind is read, and what is allowed, in words."""
