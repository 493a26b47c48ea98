"""Options are checked together; classifying in memory gives the figures of the command."""

from pathlib import Path

import pytest
from conftest import ROOT

import marrowscope as ms
from marrowscope.differential.options import CountingOptions
from marrowscope.errors import SettingsError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import InferenceOptions, OutputOptions, check_options
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle

CELLS = ROOT / "samples/cells/mll/BLA"
UM = 0.086


def test_the_figures_are_those_of_the_command(toy_bundle: Bundle, tmp_path: Path) -> None:
    inference, counting = InferenceOptions(um_per_px=UM, threads=1), CountingOptions(coverage=0.9)
    files = find_files([str(CELLS)], UM)
    written = classify(files, toy_bundle, tmp_path / "out", inference=inference, counting=counting)
    result = ms.classify(CELLS, toy_bundle, inference=inference, counting=counting)
    assert len(result.predictions) == written.cells > 0
    assert result.differential == written.differential
    assert result.adjusted == written.adjusted
    assert result.review == written.review
    assert result.novel == written.novel


def test_fields_are_classified_without_a_folder(toy_bundle: Bundle) -> None:
    options = InferenceOptions(fields=True, keep_flagged=True, threads=1)
    result = ms.classify([ROOT / "samples/fields"], toy_bundle, inference=options)
    assert result.predictions
    assert all(cell.place for cell in result.predictions)


def test_all_problems_of_the_options_come_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        check_options(
            InferenceOptions(um_per_px=-1, threads=-2),
            CountingOptions(coverage=2),
            OutputOptions(overwrite=True, resume=True),
        )
    assert str(error.value) == (
        "--um-per-px must be above 0, got -1; --threads must be 0 or more, got -2; "
        "--coverage must lie between 0 and 1 (0.9: in 9 of 10 cells the set holds the true "
        "class), got 2; --overwrite starts anew and --resume goes on with what is there; give "
        "one of them"
    )
