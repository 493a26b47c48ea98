"""Small pictures of cells with what is written below them, as pages show them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from PIL import Image

from marrowscope.detection.crops import read_cell
from marrowscope.differential.accumulator import Gallery
from marrowscope.errors import ImageError
from marrowscope.io.tables import set_in_words
from marrowscope.locations import location_of, name_of
from marrowscope.model.bundle import Bundle
from marrowscope.rendering import thumbnail
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Picture as Given
from marrowscope.types import Prediction

THUMBNAIL_PIXELS = 144

ImageLoader = Callable[[Prediction], Image.Image]
"""Loads the image of a classified cell; raises an ImageError where that fails."""


@dataclass(frozen=True)
class Picture:
    """A cell as the page shows it."""

    name: str
    data: str
    label: str
    percent: float
    """Probability of the most probable class, 0..100."""
    second: str
    """Code of the runner-up; empty where the bundle knows one class alone."""
    second_percent: float
    set: str
    """Classes that it may be of, in words; empty where no coverage was asked for."""
    reviewer: str = ""
    """Who gave the label; empty for the machine."""
    machine: str = ""
    """The most probable class."""
    field: str = ""
    """The field that it was cut from and where; empty for a picture of its own."""

    @property
    def runner_up(self) -> str:
        """Say which class is second and how probable: `LYT 12%`."""
        return f"{self.second} {self.second_percent:.0f}%" if self.second else ""


@dataclass(frozen=True)
class Group:
    """The cells of one class as the page shows them."""

    code: str
    name: str
    counted: bool
    cells: int
    pictures: list[Picture]


def load_image(prediction: Prediction, field_um: float) -> Image.Image:
    """Load the image of a cell from its path, or cut it from its field, `field_um` wide.

    Raises:
        ImageError: it cannot be read.
    """
    source = Given(location_of(prediction.path), None, prediction.place)
    return read_cell(source, field_um)


def groups_of(gallery: Gallery, bundle: Bundle, load: ImageLoader | None = None) -> list[Group]:
    """Give the kept cells of each class that has any, in the order of the differential.

    `load` loads their images; without it, each is read from the path of its prediction.

    Raises:
        ImageError: a picture cannot be read any more.
    """
    return [
        Group(
            code,
            kind.name,
            kind.counted,
            gallery.cells[code],
            pictures_of(gallery.least_certain(code), bundle, load),
        )
        for code, kind in CLASSES.items()
        if gallery.cells.get(code)
    ]


def pictures_of(
    predictions: Iterable[Prediction], bundle: Bundle, load: ImageLoader | None = None
) -> list[Picture]:
    """Give cells as pages show them; they are read side by side, those of one field together.

    `load` is as in `groups_of`.

    Raises:
        ImageError: a picture cannot be read any more.
    """
    rows = list(predictions)
    order = sorted(range(len(rows)), key=lambda number: rows[number].path)
    with ThreadPoolExecutor() as pool:
        drawn = pool.map(
            partial(picture_of, bundle=bundle, load=load), (rows[number] for number in order)
        )
        of = dict(zip(order, drawn, strict=True))
    return [of[number] for number in range(len(rows))]


def picture_of(prediction: Prediction, bundle: Bundle, load: ImageLoader | None = None) -> Picture:
    """Give one cell as pages show it; `load` is as in `groups_of`.

    Raises:
        ImageError: its picture cannot be read any more.
    """
    try:
        image = (load or partial(load_image, field_um=bundle.preprocessing.field_um))(prediction)
    except ImageError as error:
        raise ImageError(f"{prediction.path}, to be shown in the report: {error}") from None
    ranked = sorted(
        zip(prediction.probabilities, bundle.classes, strict=True), key=lambda pair: -pair[0]
    )
    (_, machine), (second_probability, second) = (*ranked, (0.0, ""))[:2]
    return Picture(
        name=prediction.place.in_words
        if prediction.place
        else name_of(location_of(prediction.path)),
        data=thumbnail(image, THUMBNAIL_PIXELS),
        label=prediction.label,
        percent=100 * prediction.probability,
        second=second,
        second_percent=100 * second_probability,
        set="" if prediction.set is None else set_in_words(prediction.set),
        reviewer=prediction.reviewer,
        machine=machine,
        field=prediction.place.in_words if prediction.place else "",
    )
