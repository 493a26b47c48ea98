"""Show what a network saw in pictures: the likeliest classes, and where it sees them."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marrowscope import __version__
from marrowscope.errors import SettingsError
from marrowscope.inference.backends import Pixels
from marrowscope.inference.heatmap import evidence, gradient, heat_layer
from marrowscope.inference.predictor import Predictor
from marrowscope.io.tables import prepare_folder, write_json
from marrowscope.model.bundle import Bundle, load_pictures
from marrowscope.model.reference_embeddings import Similar
from marrowscope.model.reference_images import KnownPicture
from marrowscope.rendering import render_to, thumbnail
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Found, Reject

PAGE, DATA = "explain.html", "explain.json"
MOST_PICTURES = 500
"""On one page."""
AT_ONCE = 8
"""Pictures that are in memory."""
CLASSES_NAMED, CLASSES_DRAWN = 3, 2


@dataclass(frozen=True)
class Guess:
    """A class and its probability, 0..1."""

    code: str
    probability: float


@dataclass(frozen=True)
class Map:
    """A heatmap of one class, and how strong its strongest place is (logit per place)."""

    guess: Guess
    strongest: float
    layer: str
    """See-through PNG in base64."""


@dataclass(frozen=True)
class Seen:
    """One picture as the network saw it, and what it made of it."""

    path: str
    guesses: tuple[Guess, ...]
    """The likeliest classes, the most probable first."""
    picture: str
    """JPEG in base64."""
    maps: tuple[Map, ...]
    """Of the likeliest class and the runner-up, in one scale."""
    similar: tuple[Similar, ...]
    """The known cells most alike, the most alike first; none where the bundle keeps none."""


@dataclass(frozen=True)
class Known:
    """The picture of a known cell."""

    source: str
    picture: str
    """JPEG in base64."""


@dataclass(frozen=True)
class Explained:
    """What was explained, and what could not be read."""

    folder: Path
    guesses: dict[str, tuple[Guess, ...]]
    """By path, the likeliest classes."""
    similar: dict[str, tuple[Similar, ...]]
    """By path, the known cells most alike."""
    rejects: tuple[Reject, ...]

    def as_dict(self, bundle: Bundle) -> dict[str, Any]:
        """Give the outcome for machines, with the model that it rests on."""
        return {
            "marrowscope": __version__,
            "bundle": bundle.identity,
            "folder": str(self.folder),
            "pictures": [
                {
                    "path": path,
                    "classes": [asdict(guess) for guess in guesses],
                    "similar": [asdict(cell) for cell in self.similar[path]],
                }
                for path, guesses in self.guesses.items()
            ],
            "rejects": [asdict(reject) for reject in self.rejects],
            "warning": bundle.evaluation_in_words,
            "use": "research use only; figures, not a diagnosis",
        }


def explain(
    inputs: Iterable[Found],
    bundle: Bundle,
    folder: Path,
    *,
    overwrite: bool = False,
    threads: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Explained:
    """Write a page that shows, for each picture, where the bundle sees the two likeliest classes.

    The page is written as the pictures are read; a few of them are in memory at a time. `advance`
    is called for every picture.

    Raises:
        SettingsError: there are more pictures than a page can hold.
        OutputError: the folder cannot be used.
        BundleError: the bundle's model cannot be loaded or does not say where it sees a class, or
            its known cells or their pictures cannot be read.
        MissingExtraError: a picture cannot be opened without a library that is not installed.
    """
    pictures = list(islice(inputs, MOST_PICTURES + 1))
    if len(pictures) > MOST_PICTURES:
        raise SettingsError(
            f"more than {MOST_PICTURES} pictures for one page; give fewer: `marrowscope classify` "
            "finds those that are worth a look"
        )
    size = bundle.preprocessing.size
    references = [_shown(picture) for picture in load_pictures(bundle)]
    predictor = Predictor(bundle, threads)
    predictor.explain(np.zeros((1, 3, size, size), dtype=np.uint8))
    prepare_folder(folder, overwrite)
    guesses: dict[str, tuple[Guess, ...]] = {}
    similar: dict[str, tuple[Similar, ...]] = {}
    rejects: list[Reject] = []

    def shown() -> Iterator[Seen]:
        for outcome in look(pictures, predictor, size):
            if isinstance(outcome, Reject):
                rejects.append(outcome)
            else:
                guesses[outcome.path] = outcome.guesses
                similar[outcome.path] = outcome.similar
                yield outcome
            advance()

    _write_page(folder / PAGE, bundle, shown(), rejects, references)
    result = Explained(folder, guesses, similar, tuple(rejects))
    write_json(folder / DATA, result.as_dict(bundle))
    return result


def look(inputs: Iterable[Found], predictor: Predictor, side: int) -> Iterator[Seen | Reject]:
    """Explain pictures, in order, drawn with `side` pixels a side at most.

    What cannot be read comes back as a reject.

    Raises:
        BundleError: the bundle's model does not say where it sees a class.
        MissingExtraError: a picture cannot be opened without a library that is not installed.
    """
    pictures = iter(inputs)
    while batch := list(islice(pictures, AT_ONCE)):
        rows = [predictor.read(item) for item in batch]
        pixels = [row for row in rows if not isinstance(row, Reject)]
        explained = _look_at(np.stack(pixels), predictor, side) if pixels else iter(())
        for item, row in zip(batch, rows, strict=True):
            yield row if isinstance(row, Reject) else replace(next(explained), path=str(item.path))


def _look_at(pixels: Pixels, predictor: Predictor, side: int) -> Iterator[Seen]:
    """Explain pictures (N, 3, S, S) that have no path yet."""
    probabilities = predictor.probabilities(pixels)
    activation = predictor.explain(pixels).activation
    similar = predictor.similar(pixels) if predictor.bundle.novelty else [()] * len(pixels)
    for square, scores, places, alike in zip(
        pixels, probabilities, activation, similar, strict=True
    ):
        best = np.argsort(-scores, kind="stable")[:CLASSES_NAMED].tolist()
        codes = predictor.bundle.classes
        guesses = tuple(Guess(codes[index], float(scores[index])) for index in best)
        yield Seen(
            path="",
            guesses=guesses,
            picture=thumbnail(Image.fromarray(square.transpose(1, 2, 0)), side),
            maps=_maps(guesses, evidence(places)[best], min(side, square.shape[-1])),
            similar=alike,
        )


def _maps(guesses: Sequence[Guess], strengths: NDArray[np.float32], side: int) -> tuple[Map, ...]:
    """Draw the first classes of several (K, H, W) in one scale."""
    full = float(strengths[:CLASSES_DRAWN].max())
    return tuple(
        Map(guess, float(strength.max()), _text(heat_layer(strength, full, side)))
        for guess, strength in zip(guesses[:CLASSES_DRAWN], strengths, strict=False)
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _shown(reference: KnownPicture) -> Known:
    return Known(reference.source, _text(reference.jpeg))


def _write_page(
    file: Path,
    bundle: Bundle,
    pictures: Iterator[Seen],
    rejects: Sequence[Reject],
    references: Sequence[Known],
) -> None:
    render_to(
        file,
        "explain.html.j2",
        bundle=bundle,
        pictures=pictures,
        rejects=rejects,
        known=references,
        names={code: kind.name for code, kind in CLASSES.items()},
        gradient=gradient(),
        version=__version__,
    )
