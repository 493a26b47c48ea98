"""The run folder: everything that went into a training and came out of it."""

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from marrowscope.data.split import Split, read_split, write_split
from marrowscope.errors import SettingsError
from marrowscope.preprocess import Preprocessing
from marrowscope.results import write_json
from marrowscope.train.model import CellClassifier, build
from marrowscope.train.settings import TrainSettings

SETTINGS, ENVIRONMENT, HISTORY, WEIGHTS = (
    "settings.json",
    "environment.json",
    "history.csv",
    "model.safetensors",
)
MAY_CHANGE = ("workers", "threads")
"""Settings that an interrupted run may be continued with otherwise."""
LIBRARIES = ("marrowscope", "torch", "transformers", "accelerate", "numpy", "pillow")


@dataclass(frozen=True)
class Run:
    """A finished run, read back from its folder."""

    folder: Path
    settings: TrainSettings
    classes: tuple[str, ...]
    left_out: dict[str, str]
    split: Split
    environment: dict[str, Any]
    network: CellClassifier


def start_run(
    folder: Path,
    settings: TrainSettings,
    classes: Sequence[str],
    left_out: Mapping[str, str],
    split: Split,
) -> None:
    """Write what goes into a run: settings, class list, split, environment.

    Raises:
        SettingsError: the folder holds a run that was started with other settings or cells.
    """
    folder.mkdir(parents=True, exist_ok=True)
    resolved = asdict(settings) | {"classes": list(classes), "left_out": dict(left_out)}
    _check_same_start(folder, resolved, split)
    write_split(split, folder)
    write_json(folder / SETTINGS, resolved)
    environment = {name: version(name) for name in LIBRARIES}
    environment |= {"python": platform.python_version(), "machine": platform.machine()}
    write_json(folder / ENVIRONMENT, environment)


def _check_same_start(folder: Path, resolved: Mapping[str, Any], split: Split) -> None:
    if not (folder / SETTINGS).is_file():
        return
    before = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    after = json.loads(json.dumps(resolved))
    changed = [key for key in after if key not in MAY_CHANGE and after[key] != before.get(key)]
    if read_split(folder).hash != split.hash:
        changed.append("the cells or their split")
    if changed:
        raise SettingsError(
            f"{folder} was started with other settings ({', '.join(changed)}); continue it with "
            "the same, or start another run in another folder"
        )


def finish_run(folder: Path, network: CellClassifier, history: Sequence[Mapping[str, Any]]) -> None:
    """Write what came out of a run: the best weights, the backbone's shape, the history."""
    network.backbone.config.save_pretrained(folder)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    columns = sorted({key for row in history for key in row})
    with (folder / HISTORY).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def read_run(folder: Path) -> Run:
    """Read a finished run and check the seal of its split.

    Raises:
        SettingsError: the folder holds no finished run.
        SplitError: its split was changed.
    """
    missing = [name for name in (SETTINGS, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise SettingsError(
            f"{folder}: not the folder of a finished run (no {', '.join(missing)}); "
            "`marrowscope train` makes one"
        )
    values = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    left_out = values.pop("left_out")
    values["classes"] = tuple(values["classes"])
    values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
    settings = TrainSettings(**values)
    network = build(folder, len(settings.classes))
    network.load_state_dict(load_file(folder / WEIGHTS))
    environment = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    return Run(
        folder,
        settings,
        settings.classes,
        left_out,
        read_split(folder),
        environment,
        network.eval(),
    )
