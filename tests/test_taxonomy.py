import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import SAMPLES

import marrowscope
from marrowscope.errors import UnknownClassError
from marrowscope.taxonomy import (
    CLASSES,
    FOURTEEN,
    PBC_PREFIXES,
    cell_class,
    class_of_name,
    in_order,
)


def test_the_scheme_has_the_classes_of_the_published_set_and_platelets() -> None:
    assert len(CLASSES) == 22
    assert len(FOURTEEN) == 14
    excluded = {code for code, kind in CLASSES.items() if not kind.counted}
    assert excluded == {"ART", "KSC", "NIF", "OTH", "PLT"}
    assert set(FOURTEEN) < set(CLASSES)


def test_lineages_follow_the_clinical_definitions() -> None:
    erythroid = {code for code, kind in CLASSES.items() if kind.lineage == "erythroid"}
    assert erythroid == {"PEB", "EBO"}
    assert cell_class("PEB").name == "Proerythroblast"
    assert cell_class("PMO").name == "Promyelocyte"


@pytest.mark.parametrize(("prefix", "code"), PBC_PREFIXES.items())
def test_prefixes_of_the_barcelona_set_name_a_class(prefix: str, code: str) -> None:
    assert class_of_name(prefix) is CLASSES[code]


def test_an_unknown_code_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownClassError) as caught:
        cell_class("XYZ")
    assert str(caught.value) == f"unknown class 'XYZ'; known classes are {', '.join(CLASSES)}"


def test_an_unknown_name_is_told_with_the_known_prefixes_too() -> None:
    with pytest.raises(UnknownClassError, match=r"unknown class 'bla'.* BLA.*ERB, LY"):
        class_of_name("bla")


def test_codes_are_put_in_the_order_of_the_differential() -> None:
    assert in_order(["NIF", "BLA", "EBO", "BLA"]) == ("BLA", "EBO", "NIF")


def test_each_row_names_a_key_of_its_own_and_steps_that_exist() -> None:
    assert set(Counter(row.key for row in CLASSES.values()).values()) == {1}
    steps = {row.matures_into for row in CLASSES.values() if row.matures_into}
    assert steps <= set(CLASSES)
    prefixes = [row.pbc for row in CLASSES.values() if row.pbc]
    assert len(prefixes) == len(PBC_PREFIXES)


@pytest.mark.parametrize("counted", [True, False])
def test_a_class_in_a_share_or_ratio_is_counted(counted: bool) -> None:
    rows = [row for row in CLASSES.values() if row.counted is counted]
    entered = [row.code for row in rows if row.ratio or row.share or row.usual or row.percent]
    assert bool(entered) is counted


MEGAKARYOCYTE = """
    CellClass(
        code="MEG", name="Megakaryocyte", lineage="other myeloid", counted=True, key="j",
        ratio="granulocytes", share="blasts", usual=(0.0, 0.5), percent=0.2, matures_into="PLT",
        caveat="Megakaryocytes (MEG) are seldom seen at this magnification.",
    ),
"""
"""A row with each field filled, whatever its sense, to see who reads it."""

WHO_READS_IT = """
from marrowscope.cases.fhir_observations import observations
from marrowscope.cases.report_content import DECIDING
from marrowscope.differential.count import count
from marrowscope.metrics.prevalence import ADULT_MARROW
from marrowscope.metrics.tolerance import TOLERATED
from marrowscope.web.shortcuts import keyed

differential = count({"MEG": 1, "BLA": 4, "NGS": 85, "EBO": 10})
row = next(row for row in differential.rows if row.code == "MEG")
assert (row.name, row.cells, row.percent, row.reference) == ("Megakaryocyte", 1, 1.0, (0.0, 0.5))
assert "Megakaryocytes (MEG) are seldom seen at this magnification." in differential.notes
assert differential.ratio.myeloid == 90
blasts = differential.findings[0]
assert (blasts.codes, blasts.cells) == (("BLA", "MEG"), 5)
assert any("Megakaryocyte" in str(resource) for _, resource in observations(differential))
assert "MEG" in DECIDING
assert ADULT_MARROW.percent["MEG"] == 0.2
assert ("MEG", "PLT") in TOLERATED
keys = {known.key: (known.name, known.covered) for known in keyed(frozenset({"MEG"}))}
assert keys["j"] == ("Megakaryocyte", True)
"""


@pytest.fixture
def with_megakaryocyte(tmp_path: Path) -> dict[str, str]:
    """Environment in which the package has one more row in `taxonomy.py`; the rest is linked."""
    package = Path(marrowscope.__file__).parent
    copy = tmp_path / "src" / "marrowscope"
    copy.mkdir(parents=True)
    for entry in package.iterdir():
        if entry.name not in ("taxonomy.py", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    table = (package / "taxonomy.py").read_text()
    more = table.replace("\n)\n# fmt: on", f"{MEGAKARYOCYTE})\n# fmt: on")
    assert more.count('code="MEG"') == 1
    (copy / "taxonomy.py").write_text(more)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "src")}


def test_a_new_class_is_one_row_for_counts_fhir_report_and_keys(
    with_megakaryocyte: dict[str, str],
) -> None:
    command = [sys.executable, "-c", WHO_READS_IT]
    answer = subprocess.run(
        command, env=with_megakaryocyte, check=False, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr


def test_a_new_class_is_one_row_for_reading_and_splitting_cells(
    with_megakaryocyte: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(SAMPLES / "cells/mll/EOS", tmp_path / "cells/MEG")
    shutil.copytree(SAMPLES / "cells/mll/BLA", tmp_path / "cells/BLA")
    for verb in (
        ["read", "cells", "--output", "cells.csv"],
        ["split", "cells.csv", "--classes", "MEG,BLA", "--output", "split"],
    ):
        command = [sys.executable, "-m", "marrowscope", "data", *verb]
        answer = subprocess.run(
            command,
            cwd=tmp_path,
            env=with_megakaryocyte,
            check=False,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
    images = len(list((tmp_path / "cells/MEG").iterdir()))
    assert (tmp_path / "cells.csv").read_text().count(",MEG,") == images > 0
