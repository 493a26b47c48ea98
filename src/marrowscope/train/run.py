"""The run folder: everything that went into a training and came out of it."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from transformers import PreTrainedModel

from marrowscope.data.split import Split, read_split, write_split
from marrowscope.errors import SettingsError
from marrowscope.io.tables import CONTINUE, prepare_folder, write_json
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.history import write_history
from marrowscope.train.models import trained_network
from marrowscope.train.settings import TrainSettings, settings_from

SETTINGS, ENVIRONMENT, WEIGHTS = "settings.json", "environment.json", "model.safetensors"
CHECKPOINTS, LOGS = "checkpoints", "logs"
MAY_CHANGE = ("workers", "threads", "log")
"""Settings that may differ when an interrupted run is continued."""
LIBRARIES = ("marrowscope", "torch", "transformers", "accelerate", "numpy", "pillow")


@dataclass(frozen=True)
class Run:
    """A finished run, read back from its folder."""

    folder: Path
    settings: TrainSettings
    classes: tuple[str, ...]
    left_out: dict[str, str]
    """Why each other class was not learnt, by its code."""
    split: Split
    environment: dict[str, Any]
    preprocessing: Preprocessing
    network: PreTrainedModel


def start_run(
    folder: Path,
    settings: TrainSettings,
    classes: Sequence[str],
    left_out: Mapping[str, str],
    split: Split,
    *,
    resume: bool = False,
) -> None:
    """Write what goes into a run: settings, class list, split, environment.

    Raises:
        OutputError: the folder cannot be used, or holds something and is not to be resumed.
        SettingsError: the folder holds a run that was started with other settings or cells, or
            whose settings cannot be read.
        SplitError: the split of that run is missing or was changed.
    """
    prepare_folder(folder, overwrite=resume, otherwise=CONTINUE)
    resolved = asdict(settings) | {"classes": list(classes), "left_out": dict(left_out)}
    _check_same_start(folder, resolved, split)
    write_split(split, folder)
    write_json(folder / SETTINGS, resolved)
    environment: dict[str, Any] = {name: version(name) for name in LIBRARIES}
    environment |= {"python": platform.python_version(), "machine": platform.machine()}
    environment |= {"device": _device(), "processes": PartialState().num_processes}
    write_json(folder / ENVIRONMENT, environment)


def _device() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"processor, {torch.get_num_threads()} threads"


def _check_same_start(folder: Path, resolved: Mapping[str, Any], split: Split) -> None:
    if not (folder / SETTINGS).is_file():
        return
    before = _written(folder / SETTINGS)
    after = json.loads(json.dumps(resolved))
    changed = [key for key in after if key not in MAY_CHANGE and after[key] != before.get(key)]
    if read_split(folder).hash != split.hash:
        changed.append("the cells or their split")
    if changed:
        raise SettingsError(
            f"{folder} was started with other settings ({', '.join(changed)}); continue it with "
            "the same, or start another run in another folder"
        )


def _written(file: Path) -> dict[str, Any]:
    """Read a file of a run, one object of JSON."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{file}: cannot be read as an object of JSON ({error}); train again in another folder"
        ) from None


def finish_run(
    folder: Path, network: PreTrainedModel, history: Sequence[Mapping[str, Any]]
) -> None:
    """Write what came out of a run: the best weights, as transformers saves them, and the history.

    The folder is then itself a checkpoint that transformers loads.
    """
    network.save_pretrained(folder)
    write_history(history, folder)


def read_run(folder: Path) -> Run:
    """Read a finished run and check the seal of its split.

    Raises:
        SettingsError: the folder holds no finished run, its files name different classes, or they
            cannot be read, such as settings of another version.
        BackboneError: its network cannot be loaded, or lacks weights.
        SplitError: its split is missing or was changed.
        BundleError: its preprocessing is not one that is known.
    """
    missing = [name for name in (SETTINGS, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise SettingsError(
            f"{folder}: not the folder of a finished run (no {', '.join(missing)}); "
            "`marrowscope train` makes one"
        )
    settings, left_out = _settings_of(folder / SETTINGS)
    network = trained_network(folder)
    named = tuple((network.config.id2label or {}).values())
    if named != settings.classes:
        raise SettingsError(
            f"{folder}: config.json names the classes {', '.join(named)}, settings.json "
            f"{', '.join(settings.classes)}; the folder was changed: train again"
        )
    return Run(
        folder,
        settings,
        settings.classes,
        left_out,
        read_split(folder),
        _written(folder / ENVIRONMENT),
        cast("Preprocessing", settings.preprocessing),
        network,
    )


def _settings_of(file: Path) -> tuple[TrainSettings, dict[str, str]]:
    """Give the settings of a run, and why each class that it left out was not learnt."""
    values = _written(file)
    try:
        left_out = dict(values.pop("left_out"))
        preprocessing = Preprocessing.from_dict(dict(values.pop("preprocessing")))
        return replace(settings_from(values), preprocessing=preprocessing), left_out
    except (KeyError, ValueError, TypeError) as error:
        raise SettingsError(f"{file}: cannot be used ({error!r}); train again") from None
    except SettingsError as error:
        raise SettingsError(
            f"{file}: {error}; export with the version that trained, or train again"
        ) from None
