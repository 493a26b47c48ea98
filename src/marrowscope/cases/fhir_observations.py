"""The Observations of a FHIR R4 report: what was counted, as percentages with counts and limits.

Codes of LOINC are used only where they were confirmed and fit; docs/fhir.md says which and where.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marrowscope.differential.count import Differential, DifferentialRow, LineageRow
from marrowscope.differential.error_correction import Adjusted, AdjustedShare
from marrowscope.differential.me_ratio import Ratio
from marrowscope.differential.thresholds import Finding

Element = dict[str, Any]
"""A part of a resource, as JSON has it."""

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
CELL_CLASS = "urn:x-marrowscope:cell-class"
"""Our class codes, such as BLA; `marrowscope.taxonomy` has them all."""
FIGURE = "urn:x-marrowscope:figure"
"""Our codes of figures that no confirmed code fits."""
CELLS_COUNTED = ("38257-2", "Cells Counted Total [#] in Bone marrow")
ME_RATIO = ("11138-5", "Myeloid cells/Erythroid cells [# Ratio] in Bone marrow")
METHOD = "Classification of single-cell pictures by a model, then counting; limits exact binomial"
STANDINGS = {"below": ("L", "Low"), "within": ("N", "Normal"), "above": ("H", "High")}
"""Interpretation where the whole interval lies on one side of, or in, the reference range."""
DECIMALS = 2
"""Of percentages and ratios."""


@dataclass(frozen=True)
class Share:
    """A percentage of the nucleated cells, as a class, a sum or a finding has it."""

    slug: str
    """Names the Observation within its report."""
    code: Element
    cells: int
    percent: float
    low: float
    high: float
    """All 0..100."""
    known: bool
    """Whether the percentage means anything."""
    reference: tuple[float, float] | None = None
    standing: str = ""
    note: str = ""


def observations(
    differential: Differential, adjusted: Adjusted | None = None
) -> Iterator[tuple[str, Element]]:
    """Give each Observation with its name within the report; the report adds what all share.

    In order: cells counted, findings (blasts, plasma cells), the same corrected for the model's
    errors, M:E ratio, classes, sums, cells that were not counted.
    """
    counted = differential.counted
    source = differential.reference_note
    yield "counted", _counted(counted)
    for finding in differential.findings:
        yield _of_share(_finding(finding), source)
    if adjusted:
        yield from (_adjusted(share, adjusted) for share in adjusted.shares)
    yield "me-ratio", _ratio(differential.ratio)
    for row in differential.rows:
        yield _of_share(_class(row, counted), source)
    for line in differential.lineages:
        yield _of_share(_sum(line, counted), source)
    if differential.excluded:
        yield "not-counted", _not_counted(differential)


def concept(text: str, *codings: Element) -> Element:
    """Give a CodeableConcept: a text, and codings where there are any."""
    return {"coding": list(codings), "text": text} if codings else {"text": text}


def coding(system: str, code: str, display: str) -> Element:
    """Give a Coding."""
    return {"system": system, "code": code, "display": display}


def _counted(cells: int) -> Element:
    text = "Nucleated cells of the differential"
    return {"code": concept(text, coding(LOINC, *CELLS_COUNTED)), "valueQuantity": _cells(cells)}


def _class(row: DifferentialRow, counted: int) -> Share:
    code = _class_code(row.code, row.name, f"{row.name}, share of the nucleated cells")
    return _share(f"class-{row.code}", code, row, counted)


def _sum(row: LineageRow, counted: int) -> Share:
    code = row.lineage.replace(" ", "-")
    text = f"{row.lineage}: {' + '.join(row.codes)}, share of the nucleated cells"
    named = concept(text, coding(FIGURE, f"sum-{code}", f"Sum: {row.lineage}"))
    return _share(f"sum-{code}", named, row, counted)


def _share(slug: str, code: Element, row: DifferentialRow | LineageRow, counted: int) -> Share:
    return Share(
        slug,
        code,
        row.cells,
        row.percent,
        row.low,
        row.high,
        counted > 0,
        row.reference,
        row.standing,
    )


def _finding(finding: Finding) -> Share:
    code = _slug(finding.name)
    text = f"{finding.name}, share of the nucleated cells, against its thresholds"
    return Share(
        f"finding-{code}",
        concept(text, coding(FIGURE, code, finding.name)),
        finding.cells,
        finding.percent,
        finding.low,
        finding.high,
        finding.known,
        note=finding.in_words,
    )


def _of_share(share: Share, source: str) -> tuple[str, Element]:
    observation: Element = {"code": share.code}
    if share.known:
        limits = _range(share.low, share.high, "%", "%")
        observation |= {"valueQuantity": _quantity(share.percent, "%", "%")}
        observation |= _interpretation(share.standing)
        observation |= {"component": [_component_of_cells(share.cells), _limits(limits)]}
    else:
        observation |= {"dataAbsentReason": _absent("the share is not known")}
        observation |= {"component": [_component_of_cells(share.cells)]}
    if share.reference:
        usual = _range(*share.reference, "%", "%")
        observation["referenceRange"] = [usual | {"text": source}]
    if share.note:
        observation["note"] = [{"text": share.note}]
    return share.slug, observation


def _adjusted(share: AdjustedShare, adjusted: Adjusted) -> tuple[str, Element]:
    """Put a corrected share beside the plain one, with what it rests on."""
    code = f"{_slug(share.name)}-adjusted"
    text = f"{share.name}, share of the nucleated cells, corrected for the model's errors"
    observation: Element = {
        "code": concept(text, coding(FIGURE, code, f"{share.name}, adjusted")),
        "method": concept(f"Correction for the model's errors: {adjusted.method}"),
        "note": [{"text": words} for words in (share.note, *adjusted.notes) if words],
    }
    if share.percent is None:
        observation["dataAbsentReason"] = _absent(share.note)
        return code, observation
    observation["valueQuantity"] = _quantity(share.percent, "%", "%")
    limits = _range(share.low, share.high, "%", "%")
    interval = _component("interval-95-adjusted", "95% interval, corrected", valueRange=limits)
    return code, observation | {"component": [interval]}


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def _ratio(ratio: Ratio) -> Element:
    observation: Element = {
        "code": concept("Myeloid to erythroid cells", coding(LOINC, *ME_RATIO)),
        "note": [{"text": f"{ratio.in_words} Formula: {ratio.formula}"}],
        "component": [
            _component("myeloid-cells", "Myeloid cells", valueQuantity=_cells(ratio.myeloid)),
            _component("erythroid-cells", "Erythroid cells", valueQuantity=_cells(ratio.erythroid)),
        ],
    }
    if ratio.value is None:
        observation["dataAbsentReason"] = _absent(ratio.note)
    else:
        observation["valueQuantity"] = _quantity(ratio.value, "ratio", "{ratio}")
    if limits := _range(ratio.low, ratio.high, "ratio", "{ratio}"):
        observation["component"].append(_limits(limits))
    if ratio.reference:
        observation["referenceRange"] = [_range(*ratio.reference, "ratio", "{ratio}")]
    return observation


def _not_counted(differential: Differential) -> Element:
    """Name the cells that are part of no percentage, class by class."""
    text = "Cells that are not part of the nucleated differential"
    return {
        "code": concept(text, coding(FIGURE, "not-counted", text)),
        "valueQuantity": _cells(sum(row.cells for row in differential.excluded)),
        "component": [
            {"code": _class_code(row.code, row.name, row.name), "valueQuantity": _cells(row.cells)}
            for row in differential.excluded
        ],
    }


def _class_code(code: str, name: str, text: str) -> Element:
    return concept(text, coding(CELL_CLASS, code, name))


def _component_of_cells(cells: int) -> Element:
    return _component("cells", "Cells", valueQuantity=_cells(cells))


def _limits(limits: Mapping[str, Element]) -> Element:
    return _component("interval-95", "95% interval of the count", valueRange=dict(limits))


def _component(code: str, text: str, **value: Element) -> Element:
    return {"code": concept(text, coding(FIGURE, code, text)), **value}


def _cells(number: int) -> Element:
    return _quantity(number, "cells", "{cells}")


def _quantity(value: float, unit: str, code: str) -> Element:
    return {"value": round(value, DECIMALS), "unit": unit, "system": UCUM, "code": code}


def _range(low: float | None, high: float | None, unit: str, code: str) -> Element:
    """Give a Range of the limits that there are."""
    ends: Iterable[tuple[str, float | None]] = (("low", low), ("high", high))
    return {name: _quantity(value, unit, code) for name, value in ends if value is not None}


def _interpretation(standing: str) -> Element:
    if standing not in STANDINGS:
        return {}
    code, display = STANDINGS[standing]
    system = f"{TERMINOLOGY}/v3-ObservationInterpretation"
    text = f"The whole interval lies {standing} the reference range"
    return {"interpretation": [concept(text, coding(system, code, display))]}


def _absent(why: str) -> Element:
    return concept(why, coding(f"{TERMINOLOGY}/data-absent-reason", "unknown", "Unknown"))
