"""Everything that a training run can be told, checked as a whole."""

from dataclasses import dataclass, field

from marrowscope.errors import SettingsError
from marrowscope.preprocess import Preprocessing


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run; they are saved beside its weights."""

    backbone: str = "facebook/dinov2-small"
    """DINOv2 backbone: a local folder or a hub name."""
    classes: tuple[str, ...] = ()
    """Class codes to learn; empty for every class with enough images."""
    min_images: int = 100
    """Training images a class needs to be learnt, at least 1."""
    unfreeze_blocks: int = 2
    """Number of last transformer blocks that are trained with the head; 0 for the head alone."""
    epochs: int = 8
    """Passes over the training part."""
    batch_size: int = 32
    """Cells in a step."""
    head_learning_rate: float = 1e-3
    """Peak learning rate of the linear head (AdamW)."""
    backbone_learning_rate: float = 5e-5
    """Peak learning rate of the unfrozen blocks (AdamW)."""
    weight_decay: float = 0.05
    """AdamW weight decay of matrices; biases, norms and scales have none."""
    warmup_share: float = 0.1
    """Share of all steps over which the learning rate rises, 0..1; a cosine to 0 follows."""
    label_smoothing: float = 0.05
    """Probability mass spread over the other classes, 0..1."""
    zoom: float = 1.5
    """Pictures are scaled by a random factor between 1/zoom and zoom; at least 1."""
    stain_jitter: float = 0.2
    """Largest relative change of each stain's strength, 0..1; 0 switches it off."""
    seed: int = 0
    """Seed of the split, the head, the order of cells and the augmentation."""
    workers: int = 0
    """Processes that decode pictures beside the training process."""
    threads: int = 0
    """Threads of torch; 0 for as many as the machine has cores."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    """How a picture becomes model input; travels with the bundle."""

    def __post_init__(self) -> None:
        """Check all fields at once.

        Raises:
            SettingsError: one or more fields are out of range; the message lists each.
        """
        rules = {
            "--min-images": (self.min_images >= 1, "at least 1", self.min_images),
            "--unfreeze-blocks": (self.unfreeze_blocks >= 0, "at least 0", self.unfreeze_blocks),
            "--epochs": (self.epochs >= 1, "at least 1", self.epochs),
            "--batch-size": (self.batch_size >= 1, "at least 1", self.batch_size),
            "--head-lr": (
                self.head_learning_rate > 0,
                "above 0",
                self.head_learning_rate,
            ),
            "--backbone-lr": (
                self.backbone_learning_rate > 0,
                "above 0",
                self.backbone_learning_rate,
            ),
            "--label-smoothing": (0 <= self.label_smoothing < 1, "0 to 1", self.label_smoothing),
            "--zoom": (self.zoom >= 1, "at least 1", self.zoom),
            "--stain-jitter": (0 <= self.stain_jitter < 1, "0 to 1", self.stain_jitter),
            "--workers": (self.workers >= 0, "at least 0", self.workers),
            "--threads": (self.threads >= 0, "at least 0", self.threads),
        }
        wrong = [
            f"{flag} must be {allowed}, got {came}"
            for flag, (good, allowed, came) in rules.items()
            if not good
        ]
        if wrong:
            raise SettingsError("; ".join(wrong))
