"""What 1.0.0 wrote is read, and gives the figures that 1.0.0 gave.

`tools/make_fixtures_1_0.py` made the files, by 1.0.0 itself. Texts for people may change; numbers,
codes, dates and names must not, and a JSON answer may have more in it, but nothing less.
"""

import csv
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SAMPLES
from fastapi import FastAPI
from starlette.testclient import TestClient
from test_classify import run
from web_fixtures import API, NAME, wait_until_read

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, read_split
from marrowscope.inference.predictor import Predictor
from marrowscope.model.bundle import load_bundle
from marrowscope.model.signature import TRUSTED
from marrowscope.train.export import export
from marrowscope.train.run import read_run
from marrowscope.web.app import create_app
from marrowscope.web.settings import Settings

RELATIVE = Path("tests/fixtures_1_0")
"""From the repository root, as the paths in the files are."""
FIXTURES = ROOT / RELATIVE
OF_THIS_RUN = {"folder", "marrowscope", "speed", "images_per_second", "machine", "use"}
"""Keys of values that differ from run to run."""


def read_json(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def changes(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Name what 1.0.0 said and the present does not say."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key not in new:
                yield f"{at}/{key}: is gone"
            elif key not in OF_THIS_RUN:
                yield from changes(value, new[key], f"{at}/{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if not any(map(is_prose, [*old, *new])):
            if len(old) != len(new):
                yield f"{at}: {len(old)} items, now {len(new)}"
            for number, (value, other) in enumerate(zip(old, new, strict=False)):
                yield from changes(value, other, f"{at}/{number}")
    elif not is_same(old, new):
        yield f"{at}: {old!r}, now {new!r}"


def is_prose(value: Any) -> bool:
    """Tell whether a value is a text for people."""
    return isinstance(value, str) and " " in value


def is_same(old: Any, new: Any) -> bool:
    if is_prose(old):
        return isinstance(new, str)
    if isinstance(old, float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=1e-4, abs_tol=1e-5)
    return bool(old == new)


def test_a_change_is_told() -> None:
    old = {"a": [1, {"b": 0.25}], "text": "1 cell", "c": "BLA"}
    assert not list(changes(old, old | {"more": 1, "text": "one cell alone"}))
    new = {"a": [1, {"b": 0.26}], "c": "MYB"}
    expected = ["/a/1/b: 0.25, now 0.26", "/text: is gone", "/c: 'BLA', now 'MYB'"]
    assert list(changes(old, new)) == expected
    assert list(changes([1, 2], [1])) == [": 2 items, now 1"]


def test_a_bundle_is_whole_signed_and_classifies_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED, str(FIXTURES / "keys/public.pem"))
    done = run(
        *("classify", "samples/cells/mll/BLA", "samples/cells/pbc/SNE", "--um-per-px", 0.086),
        *("--bundle", RELATIVE / "bundle", "--engine", "onnxruntime", "--threads", 1),
        *("--coverage", 0.8, "--keep-novel", "--output", tmp_path / "results", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert not list(changes(read_json("classify.json"), json.loads(done.stdout)))
    old = read_rows(FIXTURES / "classify-predictions.csv")
    new = read_rows(tmp_path / "results/predictions.csv")
    assert len(old) == len(new) == 19
    for before, now in zip(old, new, strict=True):
        assert not list(changes(numbers(before), numbers(now)))


def numbers(row: dict[str, str]) -> dict[str, Any]:
    """Give a row with its numbers as numbers."""
    return {name: float(text) if "." in text[:2] else text for name, text in row.items()}


def test_a_bundle_is_evaluated_as_it_was(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "bundle", tmp_path / "bundle")
    done = run(
        *("evaluate", tmp_path / "bundle", "--data", SAMPLES / "cells.csv"),
        *("--split", FIXTURES / "split", "--output", tmp_path / "figures"),
    )
    assert done.returncode == 0, done.stderr
    new = json.loads((tmp_path / "figures/metrics.json").read_text(encoding="utf-8"))
    assert not list(changes(read_json("metrics.json"), new))


def test_a_split_is_what_it_was_and_would_be_made_again(manifest: Manifest, split: Split) -> None:
    old, summary = read_split(FIXTURES / "split"), read_json("split.json")
    assert old.hash == split.hash == read_split(FIXTURES / "run").hash
    assert {part: len(old.part(part)) for part in ("train", "val", "test")} == {
        "train": 80,
        "val": 16,
        "test": 105,
    }
    assert summary["hash"] == {"": old.hash}
    assert len(old.rows) == len(manifest.cells)


def test_a_run_is_exported_to_a_model_that_answers_alike(
    manifest: Manifest, tmp_path: Path
) -> None:
    trained = read_run(FIXTURES / "run")
    old = load_bundle(str(FIXTURES / "bundle"))
    assert trained.classes == old.classes
    assert trained.settings.unfreeze_blocks == 2
    new = export(trained, manifest, tmp_path / "again", "again").bundle
    size = old.preprocessing.size
    assert (new.classes, new.preprocessing) == (old.classes, old.preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, size, size), dtype=np.uint8)
    logits = Predictor(old).logits(pixels)
    assert np.ptp(logits, axis=0).max() > 0.01
    assert np.allclose(Predictor(new).logits(pixels), logits, atol=1e-4)
    assert new.novelty is not None
    assert old.novelty is not None
    assert new.novelty.threshold == pytest.approx(old.novelty.threshold, abs=1e-4)


def test_a_case_is_reported_as_it_was(tmp_path: Path) -> None:
    options = "--bundle", RELATIVE / "bundle", "--engine", "onnxruntime", "--threads", 1
    output = "--keep-novel", "--output", tmp_path / "report", "--json"
    done = run("report", RELATIVE / "case", *options, *output)
    assert done.returncode == 0, done.stderr
    assert not list(changes(read_json("report.json"), json.loads(done.stdout)))
    old = json.loads((FIXTURES / "report/differential.json").read_text(encoding="utf-8"))
    new = json.loads((tmp_path / "report/differential.json").read_text(encoding="utf-8"))
    assert not list(changes(old, new))
    rows = read_rows(FIXTURES / "report/cells.csv")
    for before, now in zip(rows, read_rows(tmp_path / "report/cells.csv"), strict=True):
        assert not list(changes(numbers(before), numbers(now)))


def test_the_folder_of_a_report_is_compared_and_resumed(tmp_path: Path) -> None:
    readers = "--reader-a", "machine", "--reader-b", "ada", "--json"
    done = run("agree", RELATIVE / "report", RELATIVE / "report", *readers)
    assert done.returncode == 0, done.stderr
    assert not list(changes(read_json("agree.json"), json.loads(done.stdout)))
    again = tmp_path / "report"
    shutil.copytree(FIXTURES / "report", again)
    options = "--bundle", RELATIVE / "bundle", "--engine", "onnxruntime", "--threads", 1
    done = run("report", RELATIVE / "case", *options, "--keep-novel", "--output", again, "--resume")
    assert done.returncode == 0, done.stderr
    table = "slides/A/predictions.csv"
    assert (again / table).read_bytes() == (FIXTURES / "report" / table).read_bytes()
    assert (again / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.fixture
def application(tmp_path: Path) -> FastAPI:
    """The server on a copy of the workspace; no worker runs before it is entered."""
    shutil.copytree(FIXTURES / "room", tmp_path / "room")
    bundle = str(FIXTURES / "bundle")
    return create_app(Settings(tmp_path / "room", bundle=bundle, names=(NAME,), threads=1))


@pytest.fixture
def client(application: FastAPI) -> TestClient:
    """An administrator, by the token that 1.0.0 gave."""
    headers = {"Authorization": f"Bearer {read_json('login.json')['token']}"}
    return TestClient(application, base_url=f"http://{NAME}", headers=headers)


def test_a_store_answers_as_it_did(client: TestClient) -> None:
    answers = read_json("answers.json")
    assert sum("/seal" in path for path in answers) == 1
    for path, old in answers.items():
        answer = client.get(f"{API}{path}")
        assert answer.status_code == 200, answer.text
        assert not list(changes(old, answer.json(), path))


def test_the_log_of_a_store_is_whole(client: TestClient) -> None:
    log = (FIXTURES / "audit.jsonl").read_text(encoding="utf-8")
    assert client.get(f"{API}/audit/export").text == log
    lines = len(log.splitlines())
    assert lines == 50
    assert client.get(f"{API}/audit/verify").json() == {"lines": lines, "broken": None}


def test_a_signed_case_is_exported_and_no_cell_of_it_is_decided_on(client: TestClient) -> None:
    (seal,) = (path for path in read_json("answers.json") if path.endswith("/seal"))
    case = seal.removesuffix("/seal")
    decision = {"cells": [1], "label": "MYB"}
    assert client.post(f"{API}{case}/decisions", json=decision).status_code == 409
    reviewed = read_rows(FIXTURES / "reviewed.csv")
    rows = list(csv.DictReader(client.get(f"{API}/reviewed/manifest.csv").text.splitlines()))
    columns = "sha256", "label", "patient"
    expected = [[row[name] for name in columns] for row in reviewed]
    assert [[row[name] for name in columns] for row in rows] == expected
    assert [row["label"] for row in reviewed] == ["BLA", "BLA", "MYB"]


def test_a_user_logs_in_and_cells_that_waited_are_read(application: FastAPI) -> None:
    login = read_json("login.json")
    with TestClient(application, base_url=f"http://{NAME}") as ada:
        credentials = {"name": login["name"], "password": login["password"]}
        answer = ada.post(f"{API}/session", json=credentials)
        assert answer.status_code == 200, answer.text
        ada.headers["X-CSRF-Token"] = answer.json()["csrf"]
        cases = ada.get(f"{API}/cases?search=waiting").json()["rows"]
        case = wait_until_read(ada, cases[0]["id"])
        assert (case["progress"]["read"], case["progress"]["waiting"]) == (2, 0)
        cell = ada.get(f"{API}/cases/{case['id']}/cells").json()["rows"][0]
        decided = {"cells": [cell["id"]], "label": "PMO"}
        assert ada.post(f"{API}/cases/{case['id']}/decisions", json=decided).status_code == 200
