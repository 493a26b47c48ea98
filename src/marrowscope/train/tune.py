"""Try settings within ranges, one training after another; keep the best by the validation part."""

import gc
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from time import monotonic
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from marrowscope.data.manifest import Manifest
from marrowscope.data.pack import Pack
from marrowscope.data.split import Split
from marrowscope.errors import DivergedError, OutputError, SettingsError, TrainingError
from marrowscope.io.locks import holds_something
from marrowscope.io.tables import write_json
from marrowscope.train.fit import Watch, fit
from marrowscope.train.run import CHECKPOINTS, MAY_CHANGE, WEIGHTS
from marrowscope.train.search_space import Ranges
from marrowscope.train.settings import TrainSettings
from marrowscope.train.sweep_report import TRIALS, Ended, best_of, folder_of, write_sweep

PLAN, STUDY, NAME = "sweep.json", "study.db", "marrowscope"
SECONDS, REASON = "seconds", "reason"
"""What a trial is told beside its figures: time spent so far, and why it failed."""
ENDS = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
LEAST_TRIALS, LEAST_EPOCHS = 5, 2
"""Trials to compare with, and epochs of its own, before a trial may be given up."""


@dataclass(frozen=True)
class Tuned:
    """A sweep's folder, what the best trial changed, its figure, and how many trials there were."""

    folder: Path
    best: dict[str, Any]
    best_macro_f1: float
    best_trial: int
    done: int
    """Trials in all, with those pruned and failed."""
    pruned: int
    failed: int


@dataclass(frozen=True)
class _Sweep:
    """All that the trials of a sweep have in common."""

    manifest: Manifest
    split: Split
    settings: TrainSettings
    ranges: Ranges
    folder: Path
    trials: int
    watch: Watch
    pack: Pack | None


def tune(
    manifest: Manifest,
    split: Split,
    settings: TrainSettings,
    ranges: Ranges,
    folder: Path,
    *,
    trials: int = 20,
    watch: Watch = lambda *_: None,
    pack: Pack | None = None,
) -> Tuned:
    """Train `trials` times with settings out of `ranges`, and keep the best by macro-F1 on `val`.

    Each trial is a run in `folder/trial-NNN`; a sweep in `folder` that was interrupted goes on
    where it stopped and ends as if nothing had happened. Trials below the median of earlier ones
    are given up early. The part `test` is not read.

    Raises:
        SettingsError: the folder holds a sweep of something else, or there are several processes.
        OutputError: the folder holds something that is no sweep, or its study cannot be read or
            written.
        TrainingError: no trial ended well, or a checkpoint cannot be written.
        MarrowscopeError: as for `fit`; but a loss that is no number fails its trial alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("a sweep is one process; start it without `accelerate launch`")
    sweep = _Sweep(manifest, split, settings, ranges, folder, trials, watch, pack)
    _start(sweep)
    with _opened(folder / STUDY) as storage:
        study = _study(storage)
        ended = _keep(sweep, study)
        while len(ended) < trials:
            _run(sweep, study, _next_trial(sweep, study, storage))
            ended = _keep(sweep, study)
    return _tuned(folder, ended)


def _start(sweep: _Sweep) -> None:
    """Write what the sweep is about, or check that the folder is about the same."""
    plan = json.loads(
        json.dumps(
            {
                "settings": asdict(sweep.settings),
                "ranges": {
                    name: json.loads(distribution_to_json(range_))
                    for name, range_ in sweep.ranges.items()
                },
                "split": sweep.split.hash,
            }
        )
    )
    file = sweep.folder / PLAN
    if file.is_file():
        _check_same_plan(sweep.folder, json.loads(file.read_text(encoding="utf-8")), plan)
        return
    sweep.folder.mkdir(parents=True, exist_ok=True)
    if holds_something(sweep.folder):
        raise OutputError(f"{sweep.folder} holds something that is no sweep; give another folder")
    write_json(file, plan)


def _check_same_plan(folder: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changed = [
        name
        for name, value in after["settings"].items()
        if name not in MAY_CHANGE and before["settings"].get(name) != value
    ]
    names = [*after["ranges"], *(name for name in before["ranges"] if name not in after["ranges"])]
    changed += [
        f"the range of {name}"
        for name in names
        if before["ranges"].get(name) != after["ranges"].get(name)
    ]
    if before["split"] != after["split"]:
        changed.append("the cells or their split")
    if changed:
        raise SettingsError(
            f"{folder} was started with something else ({', '.join(changed)}); go on with the "
            "same, or start another sweep in another folder"
        )


@contextmanager
def _opened(file: Path) -> Iterator[RDBStorage]:
    """Open the file of a study, made where it is missing.

    Raises:
        OutputError: its file cannot be read or written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = RDBStorage(f"sqlite:///{file}")
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        why = str(error).partition("\n")[0]  # what follows is SQL
        raise OutputError(f"{file} cannot be read or written: {why}") from None


def _study(storage: RDBStorage) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name=NAME,
        direction="maximize",
        load_if_exists=True,
        pruner=MedianPruner(n_startup_trials=LEAST_TRIALS, n_warmup_steps=LEAST_EPOCHS),
    )


def _next_trial(sweep: _Sweep, study: optuna.Study, storage: RDBStorage) -> Trial:
    """Go on with the trial that was interrupted, or begin another."""
    trials = study.get_trials(deepcopy=False)
    running = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
    if not running:
        study.add_trial(_proposed(sweep, trials))
    of_study = storage.get_study_id_from_name(NAME)
    number = running[0] if running else len(trials)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(of_study, number))


def _proposed(sweep: _Sweep, before: Sequence[FrozenTrial]) -> FrozenTrial:
    """Choose settings by the seed and the trials before alone.

    They are chosen in memory, so that a kill leaves a trial in the file with all or none.
    """
    seed = np.random.SeedSequence((sweep.settings.seed, len(before))).generate_state(1)
    draft = optuna.create_study(direction="maximize", sampler=TPESampler(seed=int(seed[0])))
    draft.add_trials(before)
    ranges = dict(sweep.ranges)
    params = draft.ask(ranges).params
    return create_trial(state=TrialState.RUNNING, params=params, distributions=ranges)


def _run(sweep: _Sweep, study: optuna.Study, trial: Trial) -> None:
    """Train once and note how it ended; what stops the whole sweep leaves the trial open."""
    try:
        score = _train(sweep, study, trial)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (DivergedError, torch.OutOfMemoryError) as error:
        trial.set_user_attr(REASON, str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, score)
    gc.collect()  # a Trainer refers to itself; its memory is needed for the next one


def _train(sweep: _Sweep, study: optuna.Study, trial: Trial) -> float:
    """Train with the settings of a trial, and give the best validation macro-F1."""
    trials = study.get_trials(deepcopy=False)
    reported = set(trials[trial.number].intermediate_values)
    others = sum(trial.state.is_finished() for trial in trials)
    name = folder_of(trial.number)
    settings = replace(sweep.settings, **trial.params)

    def each_epoch(epoch: int, macro_f1: float) -> None:
        if epoch not in reported:
            trial.report(macro_f1, epoch)
        if epoch < settings.epochs and trial.should_prune():
            raise optuna.TrialPruned

    def watch(step: int, steps: int, words: str) -> None:
        sweep.watch(step, steps, f"{name} ({others} of {sweep.trials} done), {words}")

    before, start = trial.user_attrs.get(SECONDS, 0.0), monotonic()
    try:
        result = fit(
            sweep.manifest,
            sweep.split,
            settings,
            sweep.folder / name,
            watch=watch,
            pack=sweep.pack,
            resume=True,
            each_epoch=each_epoch,
        )
    finally:
        trial.set_user_attr(SECONDS, before + monotonic() - start)
    return result.best_macro_f1


def _keep(sweep: _Sweep, study: optuna.Study) -> list[Ended]:
    """Write the results so far, and remove the weights of all trials but the best."""
    ended = [_ended(trial) for trial in study.get_trials(deepcopy=False) if trial.state in ENDS]
    best = best_of(ended)
    for trial in ended:
        if trial is not best:
            folder = sweep.folder / folder_of(trial.number)
            rmtree(folder / CHECKPOINTS, ignore_errors=True)
            (folder / WEIGHTS).unlink(missing_ok=True)
    write_sweep(ended, sweep.settings, sweep.ranges, sweep.split.hash, sweep.folder)
    return ended


def _ended(trial: FrozenTrial) -> Ended:
    state = ENDS[trial.state]
    scores = trial.intermediate_values.values()
    best = {"done": trial.value, "pruned": max(scores, default=None)}
    return Ended(
        number=trial.number,
        state=state,
        macro_f1=best.get(state),
        epochs=len(scores),
        seconds=trial.user_attrs.get(SECONDS, 0.0),
        values=trial.params,
        reason=trial.user_attrs.get(REASON, ""),
    )


def _tuned(folder: Path, ended: list[Ended]) -> Tuned:
    """Sum up the sweep.

    Raises:
        TrainingError: no trial ended well.
    """
    best = best_of(ended)
    states = [trial.state for trial in ended]
    if best is None or best.macro_f1 is None:
        raise TrainingError(
            f"none of {len(ended)} trials ended well, the last one because: {ended[-1].reason}; "
            f"see {folder / TRIALS}, and start another sweep with other ranges"
        )
    return Tuned(
        folder,
        best.values,
        best.macro_f1,
        best.number,
        len(ended),
        states.count("pruned"),
        states.count("failed"),
    )
