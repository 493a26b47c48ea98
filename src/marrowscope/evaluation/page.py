"""The page of an evaluation: its figures, its limits, and the cells behind its mistakes."""

import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from marrowscope import __version__
from marrowscope.data.manifest import Manifest
from marrowscope.errors import BundleError, ComparisonError
from marrowscope.evaluation import curves
from marrowscope.evaluation.evaluate import METRICS, NO_LIST, VOUCHED
from marrowscope.evaluation.mistakes import Mistake, Mistakes, read_mistakes
from marrowscope.inference.explain import Seen, look
from marrowscope.inference.heatmap import gradient
from marrowscope.inference.predictor import Predictor
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import PREDICTIONS, write_text
from marrowscope.locations import within
from marrowscope.metrics.scores import STRICT
from marrowscope.model.bundle import Bundle
from marrowscope.rendering import render, thumbnail
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Picture, Reject

PAGE = "report.html"
MOST_PICTURES = 600
"""On the page."""
WORST = 4
"""Surest mistakes of a class, shown with a heatmap."""
SIDE = 96
"""Of a picture, in pixels."""
LIBRARIES = ("numpy", "onnxruntime", "pillow", "scipy")
NO_PATIENT = "no patient is known"
OF_SHARED_PIXELS = "Left out for sharing pixels"
"""What `evaluate` begins its sentence on shared pixels with."""
NO_PAIRS = "by a list of 0 pairs"
"""How 1.0 said that it was given no list, or one without pairs."""


@dataclass(frozen=True)
class Shown:
    """A mistake as the page shows it."""

    mistake: Mistake
    picture: str
    """JPEG in base64; empty where the file can no longer be read."""
    layer: str = ""
    """Heatmap of the predicted class, PNG in base64; empty without one."""


@dataclass(frozen=True)
class Square:
    """The cells of one class that were taken for another."""

    predicted: str
    cells: int
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Kind:
    """One class as the page shows it."""

    code: str
    name: str
    row: Mapping[str, Any]
    """Of `per_class` in the metrics."""
    figures: Mapping[str, Any]
    """Strict figures at the test's mix, each with an interval; empty if not measured."""
    drawn_from: tuple[tuple[str, int], ...]
    """Classes whose cells are taken for this one, most cells first."""
    squares: tuple[Square, ...]
    """Classes that its cells are taken for, most cells first."""
    worst: tuple[Shown, ...]


def write_page(
    folder: Path,
    bundle: Bundle,
    manifest: Manifest,
    *,
    command: str = "",
    advance: Callable[[], object] = lambda: None,
) -> Path:
    """Write `report.html` into the folder of an evaluation, from the files that are in it.

    At most `MOST_PICTURES` small pictures are on it, of the surest mistakes; memory holds these
    alone.

    Raises:
        ComparisonError: the folder holds no evaluation that can be read, or one of another bundle.
        BundleError: the model or the known cells cannot be loaded.
    """
    metrics = _read(folder, bundle)
    whole = list(metrics["sets"].values())[-1]
    mistakes = read_mistakes(folder, bundle.classes)
    predictor = Predictor(bundle)
    gallery = _Gallery(manifest, predictor, advance)
    kinds = _kinds(whole, bundle, mistakes, gallery)
    page = render(
        "evaluation.html.j2",
        bundle=bundle,
        metrics=metrics,
        whole=whole,
        kinds=kinds,
        wrong=mistakes.wrong,
        shown=sum(len(square.shown) for kind in kinds for square in kind.squares),
        gallery=gallery,
        kept_apart=_kept_apart(metrics),
        cautions=_cautions(metrics),
        trusted={
            name: advance["trust"]
            for name, advance in metrics["sets"].items()
            if "trust" in advance
        },
        names={code: kind.name for code, kind in CLASSES.items()},
        gradient=gradient(),
        curves=curves,
        repeat=_repeat(folder, metrics, bundle, command),
        settings=json.dumps(bundle.origin.get("settings", {}), indent=1),
        version=__version__,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _read(folder: Path, bundle: Bundle) -> dict[str, Any]:
    try:
        metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        if metrics["model_sha256"] == bundle.model_sha256 and metrics["sets"]:
            return metrics
    except (OSError, ValueError, KeyError) as error:
        raise ComparisonError(
            f"{folder / METRICS} cannot be read: {error!r}; evaluate the bundle again"
        ) from None
    raise ComparisonError(
        f"{folder} is the evaluation of another model than that of {bundle.folder}; give the "
        "bundle that was evaluated"
    )


class _Gallery:
    """Reads and draws the pictures of mistakes, and counts what could not be read."""

    def __init__(
        self, manifest: Manifest, predictor: Predictor, advance: Callable[[], object]
    ) -> None:
        self._root = manifest.root
        self._scale = {cell.path: cell.um_per_px for cell in manifest.cells}
        self._predictor = predictor
        self._each = advance
        self.unreadable = 0
        self.why_no_heatmaps = ""

    def pictures(self, mistakes: Iterable[Mistake]) -> tuple[Shown, ...]:
        """Show mistakes as the network saw them."""
        return tuple(self._shown(mistake) for mistake in mistakes)

    def heatmaps(self, mistakes: Sequence[Mistake]) -> tuple[Shown, ...]:
        """Show mistakes as the network saw them, with the places that spoke for its answer."""
        if self.why_no_heatmaps:
            return self.pictures(mistakes)
        try:
            explained = list(look(map(self._picture, mistakes), self._predictor, SIDE))
        except BundleError as error:
            self.why_no_heatmaps = str(error)
            return self.pictures(mistakes)
        pairs = zip(mistakes, explained, strict=True)
        return tuple(self._explained(mistake, outcome) for mistake, outcome in pairs)

    def _picture(self, mistake: Mistake) -> Picture:
        return Picture(within(self._root, mistake.path), self._scale.get(mistake.path))

    def _shown(self, mistake: Mistake) -> Shown:
        pixels = self._predictor.read(self._picture(mistake))
        self._each()
        if isinstance(pixels, Reject):
            self.unreadable += 1
            return Shown(mistake, "")
        return Shown(mistake, thumbnail(Image.fromarray(pixels.transpose(1, 2, 0)), SIDE))

    def _explained(self, mistake: Mistake, outcome: Seen | Reject) -> Shown:
        self._each()
        if isinstance(outcome, Reject):
            self.unreadable += 1
            return Shown(mistake, "")
        layers = (map_.layer for map_ in outcome.maps if map_.guess.code == mistake.predicted)
        return Shown(mistake, outcome.picture, next(layers, ""))


def _kinds(
    whole: Mapping[str, Any], bundle: Bundle, mistakes: Mistakes, gallery: _Gallery
) -> list[Kind]:
    """Lay out the classes with their mistakes; the pictures of all stay within the limit."""
    rows = {row["code"]: row for row in whole["per_class"]}
    shown_mistakes = mistakes.within(MOST_PICTURES - WORST * len(bundle.classes))
    scores: list[dict[str, Any]] = whole.get("scores", [])
    strict = (score["per_class"] for score in scores if score["scoring"] == STRICT)
    figures: dict[str, Any] = next(strict, {})
    return [
        Kind(
            code=code,
            name=CLASSES[code].name,
            row=rows[code],
            figures=figures.get(code, {}),
            drawn_from=_drawn_from(code, mistakes),
            squares=tuple(
                Square(taken, cells, gallery.pictures(shown_mistakes.get((code, taken), ())))
                for taken, cells in _taken_for(code, mistakes)
            ),
            worst=gallery.heatmaps(mistakes.of_class(code, WORST)),
        )
        for code in bundle.classes
    ]


def _taken_for(code: str, mistakes: Mistakes) -> list[tuple[str, int]]:
    row = {taken: n for (truth, taken), n in mistakes.cells.items() if truth == code != taken}
    return sorted(row.items(), key=lambda item: (-item[1], item[0]))


def _drawn_from(code: str, mistakes: Mistakes) -> tuple[tuple[str, int], ...]:
    column = {truth: n for (truth, taken), n in mistakes.cells.items() if taken == code != truth}
    return tuple(sorted(column.items(), key=lambda item: (-item[1], item[0])))


def _kept_apart(metrics: Mapping[str, Any]) -> list[str]:
    """Say how the cells were kept apart from those of the training."""
    method = metrics["method"]
    words = f"The split kept together what has: {metrics['grouped_by']}."
    if NO_LIST in method:
        return [words, "The evaluation was given no list of pairs that share pixels (--audit)."]
    if OF_SHARED_PIXELS not in method:
        return [words, "Whether cells share pixels with cells of other parts was not recorded."]
    if NO_PAIRS in method:
        none = (
            "The evaluation was given no list of pairs that share pixels (--audit), or none in it."
        )
        return [words, none]
    return [words, method[method.index(OF_SHARED_PIXELS) :]]


def _cautions(metrics: Mapping[str, Any]) -> list[str]:
    """Say why new cells would give lower figures."""
    words = [VOUCHED] if VOUCHED in metrics["method"] else []
    if NO_PATIENT in metrics["grouped_by"]:
        words.append(
            "No patient is known: cells of one patient may be in training and here, so all figures "
            "are upper estimates of what new patients would give."
        )
    if metrics["part"] != "test":
        words.append(
            f"These are cells of the part {metrics['part']}, not of the sealed test: choices were "
            "made on them, which flatters the figures."
        )
    return words


def _repeat(
    folder: Path, metrics: Mapping[str, Any], bundle: Bundle, command: str
) -> dict[str, str]:
    """Give what is needed to make the same figures again, by what it is."""
    trained = bundle.origin.get("environment", {})
    return {
        "Command": command or "not recorded",
        "marrowscope": metrics["marrowscope"],
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "Machine": metrics["machine"],
        "Model (SHA-256)": metrics["model_sha256"],
        "Split (hash)": metrics["split_hash"],
        f"{PREDICTIONS} (SHA-256)": file_hash(folder / PREDICTIONS),
        "Trained with": ", ".join(f"{name} {value}" for name, value in trained.items()),
        "Seed of the training": str(bundle.origin.get("settings", {}).get("seed", "not recorded")),
    }
