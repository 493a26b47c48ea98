"""Why the model reads a cell as it does: heatmaps of the likeliest classes, known cells alike."""

from marrowscope.errors import ImageError
from marrowscope.explain import look
from marrowscope.predictor import Predictor
from marrowscope.records import Picture, Reject
from marrowscope.web.explanations import Explanation, MapOut, SimilarOut
from marrowscope.web.room import Room

SIDE = 448
"""Pixels of the pictures, at most."""


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
    found = Picture(room.blobs.path(sha256), um_per_px)
    seen = next(look([found], predictor, SIDE))
    if isinstance(seen, Reject):
        raise ImageError(seen.reason)
    return Explanation(
        picture=f"data:image/jpeg;base64,{seen.picture}",
        maps=[
            MapOut(
                code=each.guess.code,
                probability=each.guess.probability,
                strongest=each.strongest,
                layer=f"data:image/png;base64,{each.layer}",
            )
            for each in seen.maps
        ],
        similar=[
            SimilarOut(label=each.label, similarity=each.similarity, path=each.path)
            for each in seen.similar
        ],
    )
