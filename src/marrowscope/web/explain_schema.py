"""What is given of why the model reads a cell as it does."""

from pydantic import BaseModel


class MapOut(BaseModel):
    """Where the model sees a class, and its probability, 0..1."""

    code: str
    probability: float
    strongest: float
    """The strongest evidence at one place, in logits."""
    layer: str
    """See-through PNG as a data URL, to be laid over the picture."""


class SimilarOut(BaseModel):
    """A known cell that the model finds alike; `label` is its class code."""

    label: str
    similarity: float
    """Cosine, -1..1."""
    path: str
    """As the training names it."""
    row: int
    """Of the cell among the known ones."""
    source: str = ""
    """Data set or laboratory; empty where the bundle keeps no pictures."""
    picture: str = ""
    """Where its picture is, below `/cases/{id}/known-cells/`; empty for none."""


class Explanation(BaseModel):
    """What the model saw in a cell."""

    picture: str
    """The part that it saw, a JPEG as a data URL."""
    maps: list[MapOut]
    similar: list[SimilarOut]
    credit: str = ""
    """Whose pictures those of the known cells are, and under which licence."""
