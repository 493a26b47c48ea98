"""Does a network find more of what it learnt in another source if it may not know the source?

Found: a critic of the source harms the classes more than it hides the source, at strengths 0.1 and 1.

    python experiments/adversarial.py cells.csv split pack112 runs/critic --strengths 0 0.1 1 \
        --recipe mobilenet-v2 --set size=112 --set epochs=6 --set min_images=60

The cells of some classes of one source are taken out, as in `borrowed.py`, which says how they are
counted. A critic of two layers tells the source of a cell by the numbers that the last layer
reads, and its gradient reaches the network turned round, times the strength (Ganin et al., JMLR
2016, arXiv 1505.07818), rising over the training as there. It is asked of cells of those classes
alone that both sources have: of the others, the class tells the source.
The test part is not read. Interrupted, the same command goes on with the next strength.
"""

import argparse
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from borrowed import figures, without
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from marrowscope.commands.common import prepare_training, training_bar
from marrowscope.data.manifest import read_manifest
from marrowscope.data.pack import open_pack
from marrowscope.data.split import read_split
from marrowscope.taxonomy import in_order
from marrowscope.train.fit import fit
from marrowscope.train.onnx_export import last_layer
from marrowscope.train.recipes import read_changes, settings_of
from marrowscope.train.run import WEIGHTS, read_run
from marrowscope.train.trainer import Cells, CellTrainer

HIDDEN = 256
STEEPNESS = 10.0
"""How fast the strength rises. Source: Ganin et al., section 5.2.2."""


class Reversed(torch.autograd.Function):
    """Hands numbers on as they are, and their gradient back turned round."""

    @staticmethod
    def forward(context: Any, given: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return given.view_as(given)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradients[0], None


def shared_classes(labels: Sequence[int], sources: Sequence[str]) -> set[int]:
    """Give the classes of which every source has cells."""
    of = {source: set() for source in sources}  # type: dict[str, set[int]]
    for label, source in zip(labels, sources, strict=True):
        of[source].add(label)
    return set.intersection(*of.values())


class CriticisedTrainer(CellTrainer):
    """Trains a network whose embeddings must not tell a critic the source."""

    def __init__(self, *given: Any, strength: float, **named: Any) -> None:
        super().__init__(*given, **named)
        train: Cells = self.train_dataset  # type: ignore[assignment]
        names = sorted(set(train.sources))
        both = shared_classes(train.labels.tolist(), train.sources)
        self._strength = strength
        self._source = torch.tensor([names.index(source) for source in train.sources])
        self._asked = torch.tensor([label in both for label in train.labels.tolist()])
        last = last_layer(self._network)
        last.register_forward_pre_hook(self._keep)
        self._critic = nn.Sequential(
            nn.Linear(last.in_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(names))
        )
        rate = self._settings.head_learning_rate
        parameters = {"params": self._critic.parameters(), "lr": rate, "weight_decay": 0.0}
        cast("torch.optim.Optimizer", self.optimizer).add_param_group(parameters)

    def _keep(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        self._embeddings = given[0]

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], *more: Any, **named: Any
    ) -> Any:
        loss = super().compute_loss(model, inputs, *more, **named)
        asked = self._asked[inputs["cells"]]
        if not model.training or not asked.any():
            return loss
        progress = self.state.global_step / self.state.max_steps
        strength = self._strength * (2 / (1 + math.exp(-STEEPNESS * progress)) - 1)
        turned = Reversed.apply(self._embeddings[asked], strength)  # type: ignore[no-untyped-call]
        return loss + cross_entropy(self._critic(turned), self._source[inputs["cells"][asked]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cells_csv", "split", "pack", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--strengths", type=float, nargs="+", required=True)
    parser.add_argument("--recipe", default="mobilenet-v2")
    parser.add_argument("--source", default="mll")
    parser.add_argument("--classes", default="NGS,EOS,LYT")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    prepare_training()
    manifest, pack = read_manifest(given.cells_csv), open_pack(given.pack)
    classes = list(in_order(given.classes.split(",")))
    split = without(read_split(given.split), given.source, classes)
    settings = settings_of(given.recipe, {"mixup": 0.0} | read_changes(given.set))
    for strength in given.strengths:
        folder = given.output / f"{strength:g}"
        trainer = partial(CriticisedTrainer, strength=strength)
        if not (folder / WEIGHTS).is_file():
            with training_bar() as watch, patch("marrowscope.train.fit.CellTrainer", trainer):
                fit(manifest, split, settings, folder, watch=watch, pack=pack, resume=True)
        found = figures(read_run(folder), manifest, pack, classes)
        print(f"strength {strength:g}: " + "; ".join(f"{key} {found[key]}" for key in found))


if __name__ == "__main__":
    main()
