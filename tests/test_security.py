"""What docs/security.md promises of data that strangers made, as far as no other test shows it."""

import ast
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from hypothesis import given
from hypothesis import strategies as st

from marrowscope.differential.options import CountingOptions
from marrowscope.errors import ManifestError
from marrowscope.inference.classify import CellClassifier
from marrowscope.inference.predictor import Predictor
from marrowscope.io.archives import read_inside
from marrowscope.io.csv_safety import as_it_was, harmless
from marrowscope.io.discovery import find_files
from marrowscope.io.tables import CellRows, csv_file, read_csv, read_predictions
from marrowscope.locations import read_object
from marrowscope.model.bundle import Bundle
from marrowscope.rendering import render
from marrowscope.types import Reject

SOURCES = sorted((ROOT / "src" / "marrowscope").rglob("*.py"))
RUNS_DATA = {
    "cloudpickle", "dill", "joblib", "lxml", "marshal", "pickle", "shelve", "xml.dom",
    "xml.dom.minidom", "xml.etree", "xml.etree.ElementTree", "xml.sax", "yaml",
}  # fmt: skip
"""Modules that execute what they read, or follow what it names."""
RUNS_TEXT = {"__import__", "compile", "eval", "exec"}
CELL = SAMPLES / "cells/mll/NGS"


def calls_and_imports(tree: ast.AST) -> Iterator[str]:
    """Name what a module imports, and the plain functions that it calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_no_module_can_execute_what_it_reads() -> None:
    for file in SOURCES:
        used = set(calls_and_imports(ast.parse(file.read_text())))
        assert not used & (RUNS_DATA | RUNS_TEXT | {"torch.load", "os.system"}), file


def test_arrays_and_weights_are_read_without_pickle() -> None:
    text = "\n".join(file.read_text() for file in SOURCES)
    loads = re.findall(r"\bnp\.load\(.*", text)
    assert loads
    assert all("allow_pickle=False" in load for load in loads)
    assert "trust_remote_code" not in text
    models = re.findall(r"AutoModel\w+\.from_pretrained\((.{,200})", text, re.DOTALL)
    assert models
    assert all("use_safetensors=True" in model for model in models)


def test_no_template_and_no_script_takes_text_for_markup() -> None:
    templates = sorted((ROOT / "src" / "marrowscope").rglob("*.j2"))
    assert not [
        template for template in templates if re.search(r"\|\s*safe\b", template.read_text())
    ]
    scripts = sorted((ROOT / "src" / "marrowscope" / "web" / "static").glob("*.js"))
    into = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(")
    assert not [script for script in scripts if into.search(script.read_text())]


def test_templates_escape_by_their_names() -> None:
    ours = [file.name for file in (ROOT / "src" / "marrowscope").rglob("*.j2")]
    assert {name.split(".", 1)[1] for name in ours} == {"html.j2", "svg.j2", "md.j2"}
    with pytest.raises(Exception, match="is undefined"):
        render("curve.svg.j2")


@given(st.text(st.sampled_from("'=+-@\t\r1.a"), max_size=6) | st.text(max_size=8))
def test_a_marked_text_is_no_formula_and_comes_back(text: str) -> None:
    marked = harmless(text)
    assert as_it_was(marked) == text
    if marked[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        float(marked)


def test_numbers_stay_numbers() -> None:
    for number in ("-0.5", "+3", "-1e-3", "0.25", "-inf"):
        assert harmless(number) == number
    for formula in ("=1+1", "@SUM(A1)", "-2+3", "+A1", "\t=1"):
        assert harmless(formula) == f"'{formula}"


def test_tables_hold_no_formula_and_are_read_back(tmp_path: Path) -> None:
    with csv_file(tmp_path / "t.csv", ("path", "n")) as table:
        table.writerow(['=HYPERLINK("http://a.example","b")', "-1"])
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("\"'=HYPERLINK(")
    (row,) = read_csv(tmp_path / "t.csv", ("path",), ManifestError)
    assert row == {"path": '=HYPERLINK("http://a.example","b")', "n": "-1"}


def test_a_cell_named_like_a_formula_is_classified_and_gone_on_with(
    toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = min(CELL.iterdir())
    shutil.copy(first, "=1+1.jpg")
    Path("@no.jpg").write_text("no picture")
    predictor = Predictor(toy_bundle, threads=1)
    paths: list[str] = []
    inputs = ["=1+1.jpg", "@no.jpg"]
    Path("results").mkdir()
    for _ in range(2):  # the second time, all is there already
        paths.clear()
        CellClassifier(predictor, CountingOptions()).run(
            find_files(inputs),
            Path("results"),
            CellRows(toy_bundle.classes),
            lambda each: paths.append(each.path),
        )
        assert paths == inputs
    assert [
        prediction.path for prediction in read_predictions(Path("results/predictions.csv"))
    ] == inputs[:1]
    text = Path("results/predictions.csv").read_text() + Path("results/rejects.csv").read_text()
    assert "\n'=1+1.jpg," in text
    assert "\n'@no.jpg," in text


@pytest.mark.parametrize("url", ["http://169.254.169.254/a.jpg", "file:///etc/passwd", "ftp://a/b"])
def test_a_manifest_cannot_make_this_machine_ask_elsewhere(url: str) -> None:
    with pytest.raises(OSError, match="no such kind of store"):
        read_object(url, 1000)
    (refused,) = find_files([url])
    assert isinstance(refused, Reject)


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_member_of_a_zip_that_is_damaged_is_an_error_of_this_file(
    tmp_path: Path, packed: int
) -> None:
    file = tmp_path / "cells.zip"
    with zipfile.ZipFile(file, "w", packed) as archive:
        archive.write(min(CELL.iterdir()), "a.jpg")
        begin = archive.getinfo("a.jpg").header_offset + 30 + len("a.jpg")
    content = bytearray(file.read_bytes())
    content[begin : begin + 200] = b"\xff" * 200
    file.write_bytes(content)
    with pytest.raises(OSError, match=r".") as caught:
        read_inside(file, "a.jpg")
    assert "cannot be unpacked" in str(caught.value) or "Invalid data" in str(caught.value)
