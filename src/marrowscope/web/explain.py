"""Why the model reads a cell as it does: heatmaps of the likeliest classes, known cells alike."""

from marrowscope.errors import ImageError, NotThereError
from marrowscope.inference.explain import look
from marrowscope.inference.predictor import Predictor
from marrowscope.model.reference_embeddings import Similar
from marrowscope.types import Picture, Reject
from marrowscope.web.explain_schema import Explanation, MapOut, SimilarOut
from marrowscope.web.state import Room

SIDE = 448
"""Pixels of the pictures, at most."""
SEAL = 16
"""Digits of the hash by which addresses name the pictures of known cells."""


def explanation(room: Room, sha256: str, um_per_px: float | None) -> Explanation:
    """Explain a picture.

    Raises:
        NotReadyError: the model is not loaded yet.
        BundleError: the bundle's model does not say where it sees a class.
        ImageError: the picture cannot be read.
    """
    predictor = room.predictor()
    key = (sha256, um_per_px)
    return room.explanations.get(key, lambda: _explain(room, sha256, um_per_px, predictor))


def _explain(room: Room, sha256: str, um_per_px: float | None, predictor: Predictor) -> Explanation:
    picture = Picture(room.blobs.path(sha256), um_per_px)
    explained = next(look([picture], predictor, SIDE))
    if isinstance(explained, Reject):
        raise ImageError(explained.reason)
    told = room.bundle.novelty and room.bundle.novelty.pictures
    return Explanation(
        picture=f"data:image/jpeg;base64,{explained.picture}",
        maps=[
            MapOut(
                code=map_.guess.code,
                probability=map_.guess.probability,
                strongest=map_.strongest,
                layer=f"data:image/png;base64,{map_.layer}",
            )
            for map_ in explained.maps
        ],
        similar=[_similar(room, neighbour) for neighbour in explained.similar],
        credit=told.credit if told else "",
    )


def _similar(room: Room, neighbour: Similar) -> SimilarOut:
    pictures = room.known_pictures
    return SimilarOut(
        label=neighbour.label,
        similarity=neighbour.similarity,
        path=neighbour.path,
        row=neighbour.row,
        source=pictures[neighbour.row].source if pictures else "",
        picture=f"{seal_of(room)}/{neighbour.row}" if pictures else "",
    )


def seal_of(room: Room) -> str:
    """Name the pictures of the known cells by their content; empty where there are none."""
    told = room.bundle.novelty and room.bundle.novelty.pictures
    return told.sha256[:SEAL] if told else ""


def known_cell(room: Room, seal: str, row: int) -> bytes:
    """Give the picture of a known cell, a JPEG.

    Raises:
        NotThereError: there is none, or the pictures are of another bundle.
        BundleError: the bundle's pictures cannot be read.
    """
    pictures = room.known_pictures
    if seal != seal_of(room) or row >= len(pictures):
        raise NotThereError(
            f"no picture {row} among the known cells {seal}: this server's model keeps "
            f"{len(pictures):,}; ask for the explanation of the cell again"
        )
    return pictures[row].jpeg
