"""What a reader of a differential must bear in mind, in sentences."""

from collections.abc import Iterator

from marrowscope.counting.differential import Differential
from marrowscope.counting.review import Review
from marrowscope.counting.tally import Tally
from marrowscope.labels import CLASSES
from marrowscope.model.bundle import Bundle
from marrowscope.model.novelty import novel_in_words

SCHEME = (
    "Blasts (BLA) are myeloblasts, lymphoblasts and monoblasts together; the scheme has no "
    "promonocyte, mast cell or megakaryocyte."
)
HAEMODILUTION = "Haemodilution changes the picture and cannot be seen from single cells."
SAMPLING = (
    "Percent of the nucleated cells of the differential. The interval is exact binomial: it covers "
    "the drawing of cells, not the errors of the model."
)


def caveats(
    bundle: Bundle, differential: Differential, tally: Tally, review: Review | None
) -> tuple[str, ...]:
    """Say what limits this differential: too few cells, cells set aside, classes not covered."""
    return (
        *differential.notes,
        *_of_cells(bundle, tally, review),
        *_of_model(bundle),
    )


def _of_cells(bundle: Bundle, tally: Tally, review: Review | None) -> Iterator[str]:
    if novel := novel_in_words(bundle.novelty, tally.novel, counted=tally.keep_novel):
        yield novel
    if review and review.cells:
        yield (
            f"{review.in_words}. They are not in the percentages. A class that is hard to tell "
            "loses more cells than others, so the percentages shift until a person has added them."
        )
    if review and review.note:
        yield review.note


def _of_model(bundle: Bundle) -> Iterator[str]:
    left_out = [CLASSES[code] for code in bundle.left_out if code in CLASSES]
    if left_out:
        named = ", ".join(f"{kind.name.lower()}s ({kind.code})" for kind in left_out)
        yield (
            f"This model does not cover {named}. Such a cell is "
            f"{'mostly ' if bundle.novelty else ''}taken for one of the classes below: look "
            "through the pictures."
        )
    if alone := bundle.learnt_from_one_source:
        named = "; ".join(f"{', '.join(codes)} ({source})" for source, codes in alone.items())
        yield (
            f"Learnt from one source alone: {named}. In cells of another source such a class may "
            "be missed."
        )
