"""What `bundle.json` may hold: each value's kind and range, checked before any is used.

Pydantic takes a tenth of a second to import, so that `metadata` imports this module as it reads.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_PIXELS = 4096
"""Largest side of a network's input, in pixels."""
LONGEST_SHOWN = 60
"""Characters of a value that an error shows; the rest is left out."""
MOST_SHOWN = 10
"""Faults that an error names; the others are counted."""

Number = Annotated[float, Field(gt=-1e300, lt=1e300)]
Share = Annotated[float, Field(ge=0, le=1)]
Micrometres = Annotated[float, Field(ge=0, le=1e6)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Triple = Annotated[list[Number], Field(min_length=3, max_length=3)]
Deviation = Annotated[float, Field(ge=1e-6, le=1e6)]


class _Strict(BaseModel):
    """Takes no text for a number, no NaN; leaves what a later version may have added alone."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Preprocessing(_Strict):
    size: Annotated[int, Field(ge=1, le=MOST_PIXELS)]
    resample: str
    mean: Triple
    std: Annotated[list[Deviation], Field(min_length=3, max_length=3)]
    field_um: Micrometres = 0.0


class _Calibration(_Strict):
    method: str
    factor: list[Number]
    shift: list[Number]
    cells: Count
    bend: Micrometres = 0.0


class _Abstention(_Strict):
    method: str
    scores: list[list[Share]]
    cells: list[Count]


class _Pictures(_Strict):
    cells: Count
    credit: str
    sha256: str


class _Novelty(_Strict):
    method: str
    shrinkage: Share
    threshold: Number
    false_alarms: Share
    cells: Count
    references_sha256: str
    pictures: _Pictures | None = None


class _Adjustment(_Strict):
    reference: str
    rows: dict[str, dict[str, Count]]
    set_aside: Count
    tested_sha256: str


class _Accuracy(_Strict):
    value: Share


class _Figures(_Strict):
    cells: Count
    accuracy: _Accuracy


class _Failures(_Strict):
    wrong: Count
    shown: Count
    sha256: str


class _Evaluation(_Strict):
    sets: dict[str, _Figures]
    grouped_by: str
    failures: _Failures | None = None


class _Threshold(_Strict):
    error_rate: Share
    threshold: Share | None


class _Model(_Strict):
    sha256: str
    precision: str


class _Origin(_Strict):
    images: dict[str, dict[str, Count]]


class _Description(_Strict):
    """The whole file; format 1. What has a default is not in older bundles."""

    format: Count
    name: str
    licence: str
    model: _Model
    classes: list[str]
    classes_sha256: str
    left_out: dict[str, str]
    preprocessing: _Preprocessing
    split_hash: str
    origin: _Origin
    evaluation: _Evaluation | None
    calibration: _Calibration | None = None
    abstention: _Abstention | None = None
    review: list[_Threshold] = []
    novelty: _Novelty | None = None
    adjustment: _Adjustment | None = None


def check_description(values: object) -> None:
    """Check the kinds and ranges of all that `bundle.json` must hold, and of what it may.

    Unknown names are left alone, as a later version may have added them.

    Raises:
        ValueError: values are missing, of another kind, or out of their range; all are named by
            their places, such as `calibration.factor.3`.
    """
    try:
        _Description.model_validate(values)
    except ValidationError as error:
        raise ValueError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    """Name every fault: where it is, what must be there, and what came."""
    faults = error.errors(include_url=False, include_context=False)
    words = [_fault(fault["type"], fault["loc"], fault["msg"], fault["input"]) for fault in faults]
    more = len(words) - MOST_SHOWN
    return "; ".join(words[:MOST_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")


def _fault(kind: str, place: tuple[int | str, ...], message: str, value: Any) -> str:
    """Word one fault: `calibration.cells must be a valid integer, got 'many'`."""
    if kind == "missing":
        *outer, name = map(str, place)
        return f"{'.'.join(outer) or 'it'} has no {name}"
    shown = repr(value)
    shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
    if kind in {"model_type", "dict_type"}:
        message = "Input should be a table of names and values"
    allowed = message.replace("Input should", "must").replace("List should", "must")
    return f"{'.'.join(map(str, place)) or 'it'} {allowed}, got {shown}"
