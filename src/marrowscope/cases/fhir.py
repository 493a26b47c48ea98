"""A case as a FHIR R4 Bundle: the report, its Observations, the specimen and the model.

It holds no patient: the only identifiers are those of the case, its slides and the model.

Source: HL7 FHIR 4.0.1.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

from marrowscope import __version__
from marrowscope.cases.fhir_observations import (
    LOINC,
    METHOD,
    TERMINOLOGY,
    Element,
    coding,
    concept,
    observations,
)
from marrowscope.cases.report_content import Sheet
from marrowscope.differential.count import Differential
from marrowscope.differential.error_correction import Adjusted
from marrowscope.errors import SettingsError
from marrowscope.io.tables import write_json
from marrowscope.model.bundle import Bundle

FHIR = "fhir.json"
CASE_ID = "urn:x-marrowscope:case"
MODEL_SHA256 = "urn:x-marrowscope:model-sha256"
NAMESPACE = uuid.UUID("5b1ad0f4-6b0c-4f39-9f0e-5a2a6f0f7f61")
"""Of the names that make up the ids of resources; drawn once, it must never change."""
DIFFERENTIAL_PANEL = ("47286-0", "Differential panel - Bone marrow")
XHTML = "http://www.w3.org/1999/xhtml"
RESEARCH = "Research use only: figures for a person to review, never a diagnosis."


@dataclass(frozen=True)
class Facts:
    """What a report says of a case besides the figures; what is not known is empty."""

    id: str
    """Of the case; it must not name the patient."""
    issued: datetime | None = None
    """When the report was issued, with a time zone; None while it is not."""
    date: str = ""
    """Of the sample, such as 2026-03-02."""
    material: str = ""
    stain: str = ""
    slides: tuple[str, ...] = ()
    """Their names."""
    remarks: tuple[str, ...] = ()
    """Sentences that a reader must bear in mind, such as who reviewed how many cells."""
    signed_by: str = ""
    """Who answers for the report; empty while it is preliminary."""


def fhir_bundle(
    facts: Facts, differential: Differential, model: Bundle, adjusted: Adjusted | None = None
) -> Element:
    """Give a case as a Bundle of the type `collection`, with the same ids for the same case.

    The report and its Observations are `preliminary` unless the facts name who signed.

    Raises:
        SettingsError: the case has no id, or its time no zone, or it is signed without a time.
    """
    _check(facts)
    device, specimen = _device(model), _specimen(facts)
    results = [
        _observation(facts, name, resource, specimen, device)
        for name, resource in observations(differential, adjusted)
    ]
    report = _report(facts, differential, specimen, results)
    return {
        "resourceType": "Bundle",
        "id": _id(facts, "Bundle", ""),
        "identifier": {"system": CASE_ID, "value": facts.id},
        "type": "collection",
        **_at("timestamp", facts.issued),
        "entry": [_entry(resource) for resource in (report, *results, specimen, device)],
    }


def write_fhir(
    file: Path,
    facts: Facts,
    differential: Differential,
    model: Bundle,
    adjusted: Adjusted | None = None,
) -> None:
    """Write a case as JSON, such as into `fhir.json`.

    Raises:
        SettingsError: as for `fhir_bundle`.
    """
    write_json(file, fhir_bundle(facts, differential, model, adjusted))


def _check(facts: Facts) -> None:
    if not facts.id.strip():
        raise SettingsError("a case without an id cannot be written as FHIR; give it one")
    if facts.signed_by and facts.issued is None:
        raise SettingsError(
            f"the report that {facts.signed_by} signed does not say when; give its time, `issued`"
        )
    if facts.issued and facts.issued.tzinfo is None:
        raise SettingsError(
            f"{facts.issued.isoformat()} has no time zone, which FHIR asks for; give one, such as "
            "2026-03-02T14:30:00+01:00"
        )


def _report(
    facts: Facts, differential: Differential, specimen: Element, results: Iterable[Element]
) -> Element:
    text = "Differential count of bone marrow cells"
    words = (
        *(finding.in_words for finding in differential.findings),
        differential.ratio.in_words,
        *differential.notes,
        *facts.remarks,
        RESEARCH,
    )
    report = {
        "resourceType": "DiagnosticReport",
        "id": _id(facts, "DiagnosticReport", ""),
        "text": _narrative(text, words),
        "identifier": [{"system": CASE_ID, "value": facts.id}],
        "status": _status(facts),
        "category": [concept("Laboratory", coding(f"{TERMINOLOGY}/v2-0074", "LAB", "Laboratory"))],
        "code": concept(text, coding(LOINC, *DIFFERENTIAL_PANEL)),
        **_at("issued", facts.issued),
        "specimen": [_reference(specimen)],
        "result": [_reference(result) for result in results],
        "conclusion": " ".join(words),
    }
    if facts.date:
        report["effectiveDateTime"] = facts.date
    if facts.signed_by:
        report["resultsInterpreter"] = [{"display": facts.signed_by}]
    return report


def _observation(
    facts: Facts, name: str, figures: Element, specimen: Element, device: Element
) -> Element:
    laboratory = coding(f"{TERMINOLOGY}/observation-category", "laboratory", "Laboratory")
    observation = {
        "resourceType": "Observation",
        "id": _id(facts, "Observation", name),
        "status": _status(facts),
        "category": [concept("Laboratory", laboratory)],
        **_at("issued", facts.issued),
        "method": concept(METHOD),
        **figures,
        "specimen": _reference(specimen),
        "device": _reference(device),
    }
    if facts.date:
        observation["effectiveDateTime"] = facts.date
    return observation


def _specimen(facts: Facts) -> Element:
    specimen: Element = {
        "resourceType": "Specimen",
        "id": _id(facts, "Specimen", ""),
        "identifier": [{"system": CASE_ID, "value": facts.id}],
        "status": "available",
        "type": concept(facts.material or "Bone marrow"),
    }
    if facts.date:
        specimen["collection"] = {"collectedDateTime": facts.date}
    if facts.stain:
        specimen["processing"] = [{"description": f"Stain: {facts.stain}"}]
    if facts.slides:
        specimen["container"] = [
            {"identifier": [{"value": name}], "type": concept("Slide")} for name in facts.slides
        ]
    return specimen


def _device(model: Bundle) -> Element:
    """Describe the model; the same model has the same id in every report."""
    name = f"Device/{model.name}/{model.sha256}/{__version__}"
    versions = (
        ("marrowscope", __version__),
        ("model file, SHA-256", model.model_sha256),
        ("bundle, SHA-256", model.sha256),
        ("precision", model.precision),
    )
    return {
        "resourceType": "Device",
        "id": str(uuid.uuid5(NAMESPACE, name)),
        "identifier": [{"system": MODEL_SHA256, "value": model.model_sha256}],
        "status": "active",
        "deviceName": [{"name": model.name, "type": "model-name"}],
        "type": concept("Software: classifier of bone marrow cell pictures"),
        "version": [{"type": concept(kind), "value": value} for kind, value in versions if value],
        "note": [{"text": model.evaluation_in_words}, {"text": RESEARCH}],
    }


def _status(facts: Facts) -> str:
    return "final" if facts.signed_by else "preliminary"


def _id(facts: Facts, kind: str, name: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{facts.id}/{kind}/{name}"))


def _url(resource: Element) -> str:
    return f"urn:uuid:{resource['id']}"


def _reference(resource: Element) -> Element:
    return {"reference": _url(resource), "type": resource["resourceType"]}


def _entry(resource: Element) -> Element:
    return {"fullUrl": _url(resource), "resource": resource}


def _at(name: str, time: datetime | None) -> Element:
    """Give a time where there is one."""
    return {name: time.isoformat(timespec="seconds")} if time else {}


def _narrative(title: str, sentences: Iterable[str]) -> Element:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    div = f'<div xmlns="{XHTML}"><h2>{escape(title)}</h2>{paragraphs}</div>'
    return {"status": "generated", "div": div}


def write_case_fhir(sheet: Sheet, file: Path) -> None:
    """Write `fhir.json`: preliminary and without a time, as who reads the report issues it.

    Raises:
        SettingsError: the case has no id.
    """
    reading = sheet.reading
    facts = facts_of(sheet)
    write_fhir(file, facts, reading.differential, reading.bundle, reading.adjusted)


def facts_of(sheet: Sheet) -> Facts:
    """Give what the FHIR report says of a case besides the figures."""
    case = sheet.reading.case
    stains = dict.fromkeys(slide.stain for slide in case.slides if slide.stain)
    remarks = (sheet.status, *sheet.caveats)
    return Facts(
        id=case.id,
        date=case.date,
        material=case.material,
        stain=", ".join(stains),
        slides=tuple(slide.name for slide in case.slides),
        remarks=tuple(words for words in remarks if words not in sheet.differential.notes),
    )
