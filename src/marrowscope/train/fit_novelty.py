"""Give a bundle its known cells, and the limit from which on a cell is unlike them."""

import hashlib
import posixpath
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from marrowscope.io.hashes import file_hash
from marrowscope.locations import Location, name_of
from marrowscope.model.novelty import METHOD, SHRINKAGE, Novelty, Strangeness, threshold_of
from marrowscope.model.reference_embeddings import (
    Embeddings,
    cells_that_fit,
    known_cells,
    write_references,
)
from marrowscope.model.reference_images import KnownPictures
from marrowscope.types import Picture

Labelled = tuple[Picture, str]
"""A picture and the code of its class."""


def learn_known(
    folder: Path,
    root: Path,
    training: Sequence[Labelled],
    validation: Sequence[Labelled],
    embed: Callable[[Sequence[Labelled]], Embeddings],
    *,
    draw: Callable[[Sequence[Labelled]], KnownPictures | None],
    false_alarms: float,
) -> Novelty:
    """Write `references.npz` into a bundle's folder; set the limit on the validation cells.

    At most a share `false_alarms` (0..1) of these lies above it. `embed` gives the embeddings
    (N, D) of cells by the very model in the folder, `draw` writes the pictures of known cells
    beside it or gives None; `root` is where the paths of the manifest start.
    """
    embeddings = embed(validation)
    chosen = choose(training, cells_that_fit(embeddings.shape[1]))
    labels = [label for _, label in chosen]
    paths = _without_way_out([_named(picture.path, root) for picture, _ in chosen])
    references = known_cells(embed(chosen), labels, paths)
    file = write_references(references, folder)
    scores = Strangeness(references)(embeddings)
    threshold = threshold_of(scores, false_alarms)
    return Novelty(
        method=METHOD,
        shrinkage=SHRINKAGE,
        threshold=threshold,
        false_alarms=float((scores > threshold).mean()),
        cells=len(scores),
        references_sha256=file_hash(file),
        pictures=draw(chosen),
    )


def _named(location: Location, root: Path) -> str:
    """Name a cell as the manifest does: from the root on, or by what leads elsewhere."""
    if isinstance(location, Path) and location.is_relative_to(root):
        return location.relative_to(root).as_posix()
    return str(location)


def _without_way_out(names: list[str]) -> list[str]:
    """Leave out the folders that all names share, if they lead out of the manifest's folder.

    `../scans/a/1.jpg` and `../scans/b/2.jpg` become `a/1.jpg` and `b/2.jpg`: a bundle goes to
    people who have no business with the folders of the machine that it was made on.
    """
    if not any(name.startswith("../") for name in names):
        return names
    shared = posixpath.commonpath([posixpath.dirname(name) for name in names])
    return [posixpath.relpath(name, shared) for name in names]


def choose(cells: Sequence[Labelled], limit: int) -> list[Labelled]:
    """Choose `limit` cells at most, of each class in turn, by the hash of their names.

    They are the same each time.
    """
    cells_of: dict[str, list[Labelled]] = {}
    for cell in sorted(cells, key=_lot):
        cells_of.setdefault(cell[1], []).append(cell)
    in_turn = chain.from_iterable(zip_longest(*(cells_of[code] for code in sorted(cells_of))))
    return [cell for cell in in_turn if cell is not None][:limit]


def _lot(cell: Labelled) -> tuple[str, str]:
    name = name_of(cell[0].path)
    return hashlib.sha256(name.encode()).hexdigest(), str(cell[0].path)
