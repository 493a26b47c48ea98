"""What a sweep leaves behind: a table, the best settings as a recipe, and a page of plots."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from marrowscope import __version__
from marrowscope.io.tables import csv_file, write_text
from marrowscope.rendering import render
from marrowscope.train.run import MAY_CHANGE
from marrowscope.train.search_space import Ranges
from marrowscope.train.settings import TrainSettings

TRIALS, BEST, PAGE = "trials.csv", "best.toml", "sweep.html"
WIDTH, HEIGHT = 320, 170
"""Of a plotted area, in pixels."""
MARGIN = 16
"""Between a plotted area's sides and the ends of a range, in pixels."""
STEPS, LEVELS = 4, 5
"""Between the ends of the axis of a setting, and of macro-F1."""
GOLDEN = 0.618
"""Shifts the dots of one choice aside, each by another amount."""


@dataclass(frozen=True)
class Ended:
    """A trial that is over; its macro-F1 is its best epoch's, on the validation part."""

    number: int
    state: str
    """done, pruned or failed."""
    macro_f1: float | None
    """0..1; None where it failed."""
    epochs: int
    seconds: float
    values: dict[str, Any]
    reason: str = ""
    """Why it failed."""


class Dot(NamedTuple):
    """A trial's place in a plot; without a figure it lies on the ground line."""

    x: float
    y: float
    trial: Ended


@dataclass(frozen=True)
class Plot:
    """The macro-F1 of all trials over one setting."""

    name: str
    scale: str
    dots: list[Dot]
    ticks: list[tuple[float, str]]


def folder_of(number: int) -> str:
    """Name the folder of a trial."""
    return f"trial-{number:03d}"


def best_of(ended: Sequence[Ended]) -> Ended | None:
    """Give the trial with the highest macro-F1 of those that were neither given up nor failed."""
    done = [trial for trial in ended if trial.state == "done"]
    return max(done, key=lambda trial: trial.macro_f1 or 0.0, default=None)


def write_sweep(
    ended: Sequence[Ended], settings: TrainSettings, ranges: Ranges, split: str, folder: Path
) -> None:
    """Write `trials.csv`, `sweep.html` and, once there is a best trial, `best.toml`."""
    with csv_file(
        folder / TRIALS, ["number", "state", "macro_f1", "epochs", "seconds", *ranges]
    ) as table:
        for trial in ended:
            table.writerow(_row(trial, ranges))
    best = best_of(ended)
    page = render(
        "sweep.html.j2",
        trials=sorted(ended, key=lambda trial: trial.macro_f1 or -1, reverse=True),
        best=best,
        names=list(ranges),
        plots=_plots(ended, ranges),
        heights=_heights(ended),
        width=WIDTH,
        height=HEIGHT,
        split=split,
        version=__version__,
    )
    write_text(folder / PAGE, page)
    if best:
        write_text(folder / BEST, _recipe(best, len(ended), settings, ranges, split))


def _row(trial: Ended, ranges: Ranges) -> list[str]:
    score = "" if trial.macro_f1 is None else str(trial.macro_f1)
    values = (str(trial.values.get(name, "")) for name in ranges)
    numbers = (str(trial.epochs), f"{trial.seconds:.1f}")
    return [str(trial.number), trial.state, score, *numbers, *values]


def _recipe(best: Ended, trials: int, settings: TrainSettings, ranges: Ranges, split: str) -> str:
    """Write settings as TOML, without those of the machine."""
    values = asdict(replace(settings, **best.values))
    del values["preprocessing"]
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if name not in MAY_CHANGE
    ]
    head = (
        f"# The best of {trials} trials: trial {best.number}, macro-F1 {best.macro_f1:.4f} on the "
        f"validation part of split {split[:12]}.\n"
        f"# Tried: {', '.join(ranges)}.\n"
        "#\n"
        f"#   marrowscope train --data cells.csv --split split --recipe {BEST} --output runs/best\n"
    )
    return "\n".join([head, *lines, ""])


def _plots(ended: Sequence[Ended], ranges: Ranges) -> list[Plot]:
    last = max(1, len(ended) - 1)
    course = IntDistribution(0, last)
    plots = [_plot("trial", course, [(trial.number, trial) for trial in ended], ended)]
    for name, range_ in ranges.items():
        values = [(trial.values[name], trial) for trial in ended if name in trial.values]
        plots.append(_plot(name, range_, values, ended))
    return plots


def _plot(
    name: str, range_: Any, values: Sequence[tuple[Any, Ended]], ended: Sequence[Ended]
) -> Plot:
    low, high = _ends(ended)
    dots = [
        Dot(_x(value, range_, trial), _y(trial.macro_f1, low, high), trial)
        for value, trial in values
    ]
    scale = "logarithmic" if getattr(range_, "log", False) else ""
    return Plot(name, scale, dots, _ticks(range_))


def _x(value: Any, range_: Any, trial: Ended) -> float:
    if isinstance(range_, CategoricalDistribution):
        room = WIDTH / len(range_.choices)
        aside = (trial.number * GOLDEN) % 1 - 0.5
        return room * (range_.choices.index(value) + 0.5 + 0.6 * aside)
    return _along(value, range_)


def _along(value: float, range_: FloatDistribution | IntDistribution) -> float:
    scaled = math.log if range_.log else float
    low, high = scaled(range_.low), scaled(range_.high)
    return MARGIN + (WIDTH - 2 * MARGIN) * (scaled(value) - low) / (high - low)


def _y(macro_f1: float | None, low: float, high: float) -> float:
    return HEIGHT if macro_f1 is None else HEIGHT * (1 - (macro_f1 - low) / (high - low))


def _ticks(range_: Any) -> list[tuple[float, str]]:
    """Place words under a plot: each choice, or some numbers from one end to the other."""
    if isinstance(range_, CategoricalDistribution):
        room = WIDTH / len(range_.choices)
        words = [Path(str(choice)).name for choice in range_.choices]
        return [(room * (at + 0.5), word) for at, word in enumerate(words)]
    whole = isinstance(range_, IntDistribution)
    steps = min(STEPS, range_.high - range_.low) if whole else STEPS
    numbers = dict.fromkeys(_between(range_, step / steps) for step in range(steps + 1))
    return [
        (_along(number, range_), f"{number:,}" if whole else f"{number:.2g}") for number in numbers
    ]


def _between(range_: FloatDistribution | IntDistribution, share: float) -> float:
    if range_.log:
        number: float = range_.low * (range_.high / range_.low) ** share
    else:
        number = range_.low + share * (range_.high - range_.low)
    return round(number) if isinstance(range_, IntDistribution) else number


def _ends(ended: Sequence[Ended]) -> tuple[float, float]:
    """Give the ends of the axis of macro-F1: multiples of 0.05 around all that was reached."""
    scores = [trial.macro_f1 for trial in ended if trial.macro_f1 is not None] or [0.0, 1.0]
    low, high = math.floor(min(scores) * 20), math.ceil(max(scores) * 20)
    return low / 20, max(high, low + 1) / 20


def _heights(ended: Sequence[Ended]) -> list[tuple[float, str]]:
    low, high = _ends(ended)
    scores = [low + (high - low) * level / LEVELS for level in range(LEVELS + 1)]
    return [(_y(score, low, high), f"{score:.2f}") for score in scores]
