"""FHIR: what a Bundle says, and that it is valid by the published R4 schema and a FHIR library."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SAMPLES
from fhir.resources.R4B.bundle import Bundle as ReferenceBundle
from jsonschema import Draft6Validator
from pydantic import ValidationError
from test_classify import run

from marrowscope.cases.fhir import Facts, fhir_bundle, write_fhir
from marrowscope.differential.count import Differential, count
from marrowscope.differential.error_correction import Adjusted, AdjustedShare
from marrowscope.errors import SettingsError
from marrowscope.model.bundle import Bundle, load_bundle

SCHEMA = json.loads((ROOT / "tests/fhir-r4.schema.json").read_text(encoding="utf-8"))
R4 = Draft6Validator(SCHEMA)
FACTS = Facts(
    id="K-0815",
    issued=datetime(2026, 3, 2, 14, 30, tzinfo=UTC),
    date="2026-03-01",
    material="bone marrow aspirate",
    stain="May-Grünwald-Giemsa",
    slides=("A", "B"),
    remarks=("Anna reviewed 12 of 500 cells.",),
)
MARROW = {"BLA": 45, "NGS": 255, "EBO": 100, "LYT": 80, "PLM": 20, "ART": 31, "NIF": 4}


@pytest.fixture(scope="module")
def model() -> Bundle:
    return load_bundle("default")


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = (entry["resource"] for entry in bundle["entry"])
    return [each for each in found if each["resourceType"] == kind]


def observation(bundle: dict[str, Any], code: str) -> dict[str, Any]:
    found = (
        resource
        for resource in resources(bundle, "Observation")
        if code in {coded["code"] for coded in resource["code"]["coding"]}
    )
    return next(found)


def component(of: dict[str, Any], code: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = of["component"]
    return next(each for each in found if each["code"]["coding"][0]["code"] == code)


def in_text(bundle: dict[str, Any]) -> dict[str, Any]:
    """Give it as a receiver reads it."""
    return dict(json.loads(json.dumps(bundle, allow_nan=False)))


CASES: dict[str, Differential] = {
    "a marrow": count(MARROW, MARROW),
    "no erythroid cells": count({"BLA": 3, "NGS": 300}, ("BLA", "NGS", "EBO")),
    "no myeloid cells": count({"EBO": 20, "LYT": 5}, ("BLA", "EBO", "LYT")),
    "no cells": count({}, ("BLA", "NGS", "ART")),
    "one class": count({"LYT": 10}),
    "ten cells": count({"BLA": 1, "NGS": 9}, ("BLA", "NGS")),
    "artefacts alone": count({"ART": 7}, ("BLA", "ART")),
    "a class without a reference": count({"HAC": 30, "OTH": 2}, ("HAC", "OTH")),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("facts", [FACTS, Facts("1")], ids=["all", "bare"])
def test_the_published_schema_and_a_fhir_library_accept_it(
    name: str, facts: Facts, model: Bundle
) -> None:
    bundle = in_text(fhir_bundle(facts, CASES[name], model))
    assert [error.message for error in R4.iter_errors(bundle)] == []
    read = ReferenceBundle.model_validate(bundle)
    assert len(read.entry) == len(bundle["entry"])


@pytest.mark.parametrize("name", CASES)
def test_every_reference_leads_to_a_resource_of_the_bundle(name: str, model: Bundle) -> None:
    bundle = fhir_bundle(FACTS, CASES[name], model)
    urls = {entry["fullUrl"]: entry["resource"]["resourceType"] for entry in bundle["entry"]}
    assert len(urls) == len(bundle["entry"])
    found = list(references(bundle))
    assert len(found) > len(bundle["entry"])
    for reference in found:
        assert urls[reference["reference"]] == reference["type"]
    (report,) = resources(bundle, "DiagnosticReport")
    assert len(report["result"]) == len(resources(bundle, "Observation"))


def references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "reference" in value:
            yield value
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_schema_of_the_tests_refuses_what_is_wrong(model: Bundle) -> None:
    def errors(of: str, **changes: Any) -> bool:
        bundle = in_text(fhir_bundle(FACTS, CASES["a marrow"], model))
        resources(bundle, of)[0].update(changes)
        return not R4.is_valid(bundle)

    assert not errors("Observation")
    assert errors("Observation", status="done")
    assert errors("Observation", colour="blue")
    assert errors("Observation", code={"coding": "38257-2"})
    assert errors("DiagnosticReport", issued="2026-03-02")
    assert errors("Device", deviceName=[{"name": "x", "type": "nickname"}])
    assert errors("Specimen", resourceType="Patient")


def test_the_library_refuses_what_the_schema_lets_pass(model: Bundle) -> None:
    """The published schema asks no object for a code, and takes several values at once."""
    for changes in ({"code": "38257-2"}, {"valueString": "many"}):
        bundle = in_text(fhir_bundle(FACTS, CASES["a marrow"], model))
        resources(bundle, "Observation")[0].update(changes)
        assert R4.is_valid(bundle)
        with pytest.raises(ValidationError):
            ReferenceBundle.model_validate(bundle)


def test_a_class_has_its_share_cells_limits_and_usual_range(model: Bundle) -> None:
    """45 of 500 cells: 9.0% with exact limits 6.64 and 11.86; blasts are usually 0.1 to 3.5%."""
    blasts = observation(fhir_bundle(FACTS, CASES["a marrow"], model), "BLA")
    percent = {"unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    assert blasts["valueQuantity"] == {"value": 9.0, **percent}
    assert component(blasts, "cells")["valueQuantity"]["value"] == 45
    limits = component(blasts, "interval-95")["valueRange"]
    assert (limits["low"]["value"], limits["high"]["value"]) == (6.64, 11.86)
    (usual,) = blasts["referenceRange"]
    assert (usual["low"]["value"], usual["high"]["value"]) == (0.1, 3.5)
    assert "Reference ranges:" in usual["text"]
    assert blasts["interpretation"][0]["coding"][0]["code"] == "H"
    assert blasts["code"]["coding"] == [
        {"system": "urn:x-marrowscope:cell-class", "code": "BLA", "display": "Blast"}
    ]


def test_findings_say_which_thresholds_are_straddled(model: Bundle) -> None:
    bundle = fhir_bundle(FACTS, CASES["a marrow"], model)
    found = observation(bundle, "blasts")
    assert found["valueQuantity"]["value"] == 9.0
    assert found["note"][0]["text"].startswith("Blasts: 9.0% (95% interval 6.6 to 11.9; 45 of 500")
    assert "straddles 10%" in found["note"][0]["text"]
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["conclusion"].startswith(found["note"][0]["text"])
    assert FACTS.remarks[0] in report["conclusion"]


ADJUSTED = Adjusted(
    "probabilistic adjusted count",
    500,
    (
        AdjustedShare("Blasts", ("BLA",), 7.23, 4.1, 10.9, ""),
        AdjustedShare("Plasma cells", ("PLM",), None, None, None, "No adjusted share, as ..."),
    ),
    ("Model-dependent.",),
)


def test_a_corrected_share_stands_beside_the_plain_one(model: Bundle) -> None:
    bundle = in_text(fhir_bundle(FACTS, CASES["a marrow"], model, ADJUSTED))
    assert R4.is_valid(bundle)
    ReferenceBundle.model_validate(bundle)
    assert observation(bundle, "blasts")["valueQuantity"]["value"] == 9.0
    found = observation(bundle, "blasts-adjusted")
    assert found["valueQuantity"]["value"] == 7.23
    limits = component(found, "interval-95-adjusted")["valueRange"]
    assert (limits["low"]["value"], limits["high"]["value"]) == (4.1, 10.9)
    assert found["method"]["text"].endswith("probabilistic adjusted count")
    assert found["note"] == [{"text": "Model-dependent."}]
    unknown = observation(bundle, "plasma-cells-adjusted")
    assert "valueQuantity" not in unknown
    assert unknown["dataAbsentReason"]["text"] == "No adjusted share, as ..."


def test_the_report_on_a_case_has_it(tmp_path: Path) -> None:
    """Facts of the case, its reviewers and the counts of differential.json, on real cells."""
    case, out = tmp_path / "case", tmp_path / "report"
    for code in ("LYT", "NGS"):
        shutil.copytree(SAMPLES / "cells/mll" / code, case / "cells" / code)
    first = next((case / "cells/LYT").iterdir()).name
    (case / "case.toml").write_text(
        'id = "K-9"\ndate = 2026-03-01\nmaterial = "aspirate"\nstain = "MGG"\n'
        'um_per_px = 0.086\n[[slides]]\nname = "A"\ncells = "cells"\n'
    )
    (case / "reviews.csv").write_text(
        f"path,label,reviewer,time\ncells/LYT/{first},BLA,anna,2026-03-02T10:00\n"
    )
    told = run("report", case, "--output", out, "--engine", "onnxruntime")
    assert told.returncode == 0, told.stderr
    bundle = json.loads((out / "fhir.json").read_text(encoding="utf-8"))
    assert [error.message for error in R4.iter_errors(bundle)] == []
    ReferenceBundle.model_validate(bundle)
    figures = json.loads((out / "differential.json").read_text())["differential"]
    counted = observation(bundle, "38257-2")["valueQuantity"]["value"]
    assert counted == figures["counted"] > 0
    assert component(observation(bundle, "BLA"), "cells")["valueQuantity"]["value"] >= 1
    (specimen,) = resources(bundle, "Specimen")
    assert specimen["type"]["text"] == "aspirate"
    assert specimen["processing"] == [{"description": "Stain: MGG"}]
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert "issued" not in report
    assert "reviewed by anna" in report["conclusion"]


def test_the_ratio_has_its_cells_and_its_formula(model: Bundle) -> None:
    """300 myeloid to 100 erythroid cells: 3.0; 45 + 255 blasts and neutrophils are myeloid."""
    ratio = observation(fhir_bundle(FACTS, CASES["a marrow"], model), "11138-5")
    assert ratio["valueQuantity"]["value"] == 3.0
    assert component(ratio, "myeloid-cells")["valueQuantity"]["value"] == 300
    assert component(ratio, "erythroid-cells")["valueQuantity"]["value"] == 100
    limits = component(ratio, "interval-95")["valueRange"]
    assert limits["low"]["value"] < 3 < limits["high"]["value"]
    assert "/ (PEB + EBO)" in ratio["note"][0]["text"]


def test_what_is_not_known_has_a_reason_and_no_value(model: Bundle) -> None:
    ratio = observation(fhir_bundle(FACTS, CASES["no erythroid cells"], model), "11138-5")
    assert "valueQuantity" not in ratio
    assert ratio["dataAbsentReason"]["text"] == CASES["no erythroid cells"].ratio.note
    empty = fhir_bundle(FACTS, CASES["no cells"], model)
    blasts = observation(empty, "BLA")
    assert "valueQuantity" not in blasts
    assert "dataAbsentReason" in blasts
    assert observation(empty, "38257-2")["valueQuantity"]["value"] == 0
    unknown = fhir_bundle(FACTS, count({"NGS": 300}, ["NGS"]), model)
    assert "valueQuantity" not in observation(unknown, "blasts")


def test_cells_that_are_not_counted_are_named(model: Bundle) -> None:
    left_out = observation(fhir_bundle(FACTS, CASES["a marrow"], model), "not-counted")
    assert left_out["valueQuantity"]["value"] == 35
    assert component(left_out, "ART")["valueQuantity"]["value"] == 31
    assert component(left_out, "NIF")["valueQuantity"]["value"] == 4


def test_a_report_is_preliminary_until_someone_signs(model: Bundle) -> None:
    bundle = fhir_bundle(FACTS, CASES["a marrow"], model)
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert "resultsInterpreter" not in report
    assert {resource["status"] for resource in resources(bundle, "Observation")} == {"preliminary"}
    signed = fhir_bundle(replace(FACTS, signed_by="Dr. B"), CASES["a marrow"], model)
    (report,) = resources(signed, "DiagnosticReport")
    assert (report["status"], report["resultsInterpreter"]) == ("final", [{"display": "Dr. B"}])
    assert {resource["status"] for resource in resources(signed, "Observation")} == {"final"}


def test_the_model_and_the_sample_are_named_and_no_patient_is(model: Bundle) -> None:
    bundle = fhir_bundle(FACTS, CASES["a marrow"], model)
    (device,) = resources(bundle, "Device")
    assert device["identifier"][0]["value"] == model.model_sha256
    assert device["deviceName"] == [{"name": "default", "type": "model-name"}]
    assert device["note"][0]["text"] == model.evaluation_in_words
    (specimen,) = resources(bundle, "Specimen")
    assert specimen["identifier"][0]["value"] == "K-0815"
    assert specimen["collection"] == {"collectedDateTime": "2026-03-01"}
    assert [each["identifier"][0]["value"] for each in specimen["container"]] == ["A", "B"]
    assert "subject" not in json.dumps(bundle)
    assert not resources(bundle, "Patient")


def test_the_same_case_has_the_same_ids(model: Bundle) -> None:
    first, again = (fhir_bundle(FACTS, CASES["a marrow"], model) for _ in range(2))
    assert first == again
    other = fhir_bundle(replace(FACTS, id="K-0816"), CASES["a marrow"], model)
    ids, others = ({entry["fullUrl"] for entry in each["entry"]} for each in (first, other))
    assert ids & others == {f"urn:uuid:{resources(first, 'Device')[0]['id']}"}


def test_the_text_of_a_case_is_text(model: Bundle) -> None:
    facts = replace(FACTS, remarks=("Anna <b>& Ben</b> disagree.",))
    bundle = fhir_bundle(facts, CASES["a marrow"], model)
    (report,) = resources(bundle, "DiagnosticReport")
    assert "Anna &lt;b&gt;&amp; Ben&lt;/b&gt; disagree." in report["text"]["div"]
    assert R4.is_valid(in_text(bundle))


def test_codes_of_loinc_are_the_confirmed_ones_alone(model: Bundle) -> None:
    codes = {
        coded["code"]
        for coded in codings(fhir_bundle(FACTS, CASES["a marrow"], model))
        if coded["system"] == "http://loinc.org"
    }
    assert codes == {"47286-0", "38257-2", "11138-5"}
    page = (ROOT / "docs/fhir.md").read_text(encoding="utf-8")
    assert all(code in page for code in codes)


def codings(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        yield from value.get("coding", ())
        for each in value.values():
            yield from codings(each)
    elif isinstance(value, list):
        for each in value:
            yield from codings(each)


def test_a_report_needs_an_id_and_a_time_zone(model: Bundle) -> None:
    with pytest.raises(SettingsError, match=r"^a case without an id cannot be written as FHIR"):
        fhir_bundle(replace(FACTS, id=" "), CASES["a marrow"], model)
    naive = datetime(2026, 3, 2, 14, 30)  # noqa: DTZ001 - what is refused
    with pytest.raises(SettingsError, match=r"^2026-03-02T14:30:00 has no time zone"):
        fhir_bundle(replace(FACTS, issued=naive), CASES["a marrow"], model)
    signed = replace(FACTS, issued=None, signed_by="Dr. B")
    with pytest.raises(SettingsError, match=r"^the report that Dr. B signed does not say when"):
        fhir_bundle(signed, CASES["a marrow"], model)


def test_it_is_written_beside_the_other_files(tmp_path: Path, model: Bundle) -> None:
    file = tmp_path / "fhir.json"
    write_fhir(file, FACTS, CASES["a marrow"], model)
    assert [path.name for path in tmp_path.iterdir()] == ["fhir.json"]
    assert json.loads(file.read_text(encoding="utf-8")) == fhir_bundle(
        FACTS, CASES["a marrow"], model
    )
