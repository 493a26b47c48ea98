"""Write a bundle's model card."""

from marrowscope.files.results import write_text
from marrowscope.labels import CLASSES, FOURTEEN
from marrowscope.model.bundle import Bundle
from marrowscope.model.description import CARD
from marrowscope.pages import render


def write_card(bundle: Bundle) -> None:
    """Write `MODEL_CARD.md` from what the bundle says of itself."""
    text = render(
        "model_card.md.j2",
        bundle=bundle,
        classes=[CLASSES[code] for code in bundle.classes],
        left_out_of_fourteen=[
            (CLASSES[code], bundle.left_out.get(code, "not in the data"))
            for code in FOURTEEN
            if code not in bundle.classes
        ],
        others_left_out=[CLASSES[code] for code in bundle.left_out if code not in FOURTEEN],
    )
    write_text(bundle.folder / CARD, text)
