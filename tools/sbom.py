"""Write a bill of materials (CycloneDX 1.6): the libraries of an environment, and our models.

    .venv-test/bin/python tools/sbom.py .venv/bin/python dist/sbom.cdx.json

The libraries are those that cyclonedx-py finds in the environment of that Python; to them come the
shipped models, each with its licence, the SHA-256 of its weights, and what it was made from.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from marrowscope.detection.detector import DEFAULT as FINDER
from marrowscope.detection.detector import DESCRIPTION as ABOUT_FINDER
from marrowscope.io.hashes import file_hash
from marrowscope.model.bundle import load_bundle

ROOT = Path(__file__).parents[1]
Component = dict[str, Any]

MOBILENET_V2 = {
    "type": "machine-learning-model",
    "group": "torchvision",
    "name": "mobilenet_v2",
    "description": "MobileNetV2 (Sandler et al. 2018), ImageNet: where a training began",
    "licenses": [{"license": {"id": "BSD-3-Clause"}}],
}
ANCESTORS = {"default": [MOBILENET_V2], "fast": [MOBILENET_V2]}
"""What the networks of each shipped bundle began as."""


def model(name: str, weights: Path, licence: str, description: str) -> Component:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"{name}@{file_hash(weights)}",
        "name": name,
        "description": description,
        "hashes": [{"alg": "SHA-256", "content": file_hash(weights)}],
        "licenses": [{"license": {"id": licence}}],
    }


def models() -> list[Component]:
    about = json.loads((FINDER / ABOUT_FINDER).read_text(encoding="utf-8"))
    finds = f"{about['about']}; trained on {about['trained_on']}"
    finder = model("marrowscope finder default", FINDER / "model.onnx", about["licence"], finds)
    return [*(reader(name, began) for name, began in ANCESTORS.items()), finder]


def reader(name: str, ancestors: list[Component]) -> Component:
    bundle = load_bundle(name)
    reads = f"Classifies single bone marrow cells; {bundle.origin['network']}, {bundle.precision}"
    described = model(f"marrowscope bundle {name}", bundle.model_file, bundle.licence, reads)
    described["pedigree"] = {"ancestors": ancestors}
    described["properties"] = [{"name": "marrowscope:bundle:sha256", "value": bundle.sha256}]
    return described


def libraries(python: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "cyclonedx_py", "environment", python]
    form = [
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--output-format",
        "JSON",
        "--sv",
        "1.6",
        "--no-validate",
    ]
    told = subprocess.run([*command, *form], check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(told.stdout))


def main(python: str, target: Path) -> None:
    bill = libraries(python)
    bill["components"] = [*bill.get("components", []), *models()]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
    print(f"{target}: {len(bill['components'])} components")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
