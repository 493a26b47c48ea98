"""The wheel and the sdist: all that is needed at run time, nothing else, and it runs on its own."""

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT, SAMPLES
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from installed import PROJECT, needed_by
from packaging.utils import canonicalize_name

from marrowscope import __version__
from marrowscope.io.hashes import file_hash

WHEEL = f"marrowscope-{__version__}-py3-none-any.whl"
SDIST = f"marrowscope-{__version__}.tar.gz"
LARGEST_WHEEL = 50e6
"""Bytes; PyPI takes 100 MB."""


def hatch(source: Path, target: str, into: Path) -> None:
    """Build from a source tree as pip would, without the network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this tree and the wheel of this sdist."""
    folder = tmp_path_factory.mktemp("dist")
    hatch(ROOT, "sdist", folder)
    with tarfile.open(folder / SDIST) as sdist:
        sdist.extractall(folder / "source", filter="data")
    hatch(folder / "source" / f"marrowscope-{__version__}", "wheel", folder)
    return folder


@dataclass(frozen=True)
class Place:
    """An environment that has Python's own modules, the wheel, and what the wheel asks for."""

    bin: Path

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one of its programs from a folder, with nothing of this environment."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        program = [str(self.bin / command[0]), *command[1:]]
        return subprocess.run(
            program, cwd=cwd, env=clean, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def place(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An environment with the wheel, and links to the libraries that its metadata asks for."""
    folder = tmp_path_factory.mktemp("place") / "env"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name, library in needed_by(PROJECT["dependencies"]).items():
        for part in tops(library.files or ()):
            source = Path(str(library.locate_file(part)))
            assert source.exists(), f"{name} has no {part}"
            if not (site / part).exists():
                (site / part).symlink_to(source)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    quiet = ["--quiet", "--no-deps", "--no-index", "--no-compile", str(built / WHEEL)]
    subprocess.run([*pip, *quiet], check=True, capture_output=True)
    return Place(folder / "bin")


def tops(files: Iterable[object]) -> set[str]:
    """The files and folders of a library that lie directly in site-packages."""
    firsts = {str(file).split("/")[0] for file in files}
    return {first for first in firsts if first not in {"..", "__pycache__"}}


def files_in(tree: Path) -> set[str]:
    found = (path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(each.relative_to(tree.parent)) for each in found}


def test_the_wheel_has_each_file_of_the_package_and_no_other(built: Path) -> None:
    with ZipFile(built / WHEEL) as wheel:
        names = set(wheel.namelist())
        about = f"marrowscope-{__version__}.dist-info/"
        ours = {name for name in names if not name.startswith(about)}
        metadata = wheel.read(f"{about}METADATA").decode()
        assert {f"{about}licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names
    assert ours == files_in(ROOT / "src" / "marrowscope")
    for kind in ("model.onnx", "html.j2", ".js", ".css", ".toml", ".mako", "py.typed"):
        assert any(name.endswith(kind) for name in ours), kind
    asked = re.findall(r"^Requires-Dist: ([\w.-]+)[^;\n]*$", metadata, re.MULTILINE)
    assert len(asked) == len(PROJECT["dependencies"])
    assert (built / WHEEL).stat().st_size < LARGEST_WHEEL


def test_tree_and_sdist_build_the_same_wheel(built: Path, tmp_path: Path) -> None:
    hatch(ROOT, "wheel", tmp_path)
    assert (tmp_path / WHEEL).read_bytes() == (built / WHEEL).read_bytes()


def test_the_index_would_take_both(built: Path) -> None:
    files = [str(built / WHEEL), str(built / SDIST)]
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("PASSED") == 2


def test_the_wheel_alone_classifies_cells_and_fields(place: Place, tmp_path: Path) -> None:
    cells = str(SAMPLES / "cells" / "mll" / "NGS")
    given = ("marrowscope", "classify", cells, "--um-per-px", "0.086", "--output", "results")
    done = place.run(*given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "<html" in (tmp_path / "results" / "report.html").read_text()
    (field, *_) = sorted((SAMPLES / "fields").glob("*.jpg"))
    found = place.run("marrowscope", "find-cells", str(field), "--output", "found", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "found" / "boxes.csv").read_text().count("\n") > 1


def test_nothing_but_the_base_install_is_there(place: Place, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    tried = place.run("marrowscope", "serve", cwd=tmp_path)
    assert tried.returncode == 1
    assert "pip install 'marrowscope[web]'" in tried.stderr
    for module in ("torch", "fastapi", "pytest", "cv2"):
        assert place.run("python", "-c", f"import {module}", cwd=tmp_path).returncode == 1


def test_the_bill_of_materials_names_libraries_and_models(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "sbom.cdx.json"
    command = [sys.executable, str(ROOT / "tools" / "sbom.py"), str(place.bin / "python")]
    subprocess.run([*command, str(file)], cwd=ROOT, check=True, capture_output=True)
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == "marrowscope"
    components = {each["name"]: each for each in bill["components"]}
    assert needed_by(PROJECT["dependencies"]).keys() <= {*map(canonicalize_name, components)}
    for name, weights in (
        ("marrowscope bundle default", "bundles/default/model.onnx"),
        ("marrowscope bundle fast", "bundles/fast/model.onnx"),
        ("marrowscope finder default", "finders/default/model.onnx"),
    ):
        model = components[name]
        assert model["type"] == "machine-learning-model"
        assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
        found = file_hash(ROOT / "src" / "marrowscope" / weights)
        assert model["hashes"] == [{"alg": "SHA-256", "content": found}]
