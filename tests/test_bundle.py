"""Export, and the bundle as a whole: exact files, seals, refusal of what was changed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, SAMPLES

from marrowscope.data.manifest import Manifest
from marrowscope.errors import BundleError, ExportError, OutputError, SplitError
from marrowscope.inference.predictor import Predictor, softmax
from marrowscope.io.images import read_image
from marrowscope.model.bundle import Bundle, load_bundle, seal_evaluation
from marrowscope.model.metadata import FILES, class_list_hash
from marrowscope.train.export import export
from marrowscope.train.fit import Trained
from marrowscope.train.parity import check_close, check_same
from marrowscope.train.run import read_run
from marrowscope.types import Picture, Prediction


def test_a_bundle_is_exactly_five_files(toy_bundle: Bundle) -> None:
    assert {file.name for file in toy_bundle.folder.iterdir()} == set(toy_bundle.files)
    assert set(toy_bundle.files) == {*FILES, "references.npz", "known-cells.zip"}


def test_what_the_bundle_says_is_what_the_run_did(toy_bundle: Bundle, toy_run: Trained) -> None:
    run = read_run(toy_run.folder)
    assert toy_bundle.classes == run.classes
    assert toy_bundle.split_hash == run.split.hash
    assert toy_bundle.preprocessing == run.settings.preprocessing
    assert toy_bundle.origin["images"]["train mll"] == dict.fromkeys(run.classes, 10)
    assert toy_bundle.evaluation_in_words == (
        "The bundle toy has not been evaluated: how often it errs is unknown."
    )


def test_classes_learnt_from_one_source_are_told(toy_bundle: Bundle) -> None:
    assert toy_bundle.learnt_from_one_source == {}
    images = {
        "train mll": {"BLA": 5, "NGS": 5},
        "train pbc": {"NGS": 5, "EOS": 5},
        "test mll": {"EOS": 9},
    }
    two = replace(toy_bundle, origin={"images": images}, classes=("BLA", "NGS", "EOS"))
    assert two.learnt_from_one_source == {"mll": ["BLA"], "pbc": ["EOS"]}
    assert load_bundle("default").learnt_from_one_source == {"pbc": ["PLT"]}
    assert toy_bundle.scarce_in_reference == ()
    scarce = load_bundle("default").scarce_in_reference
    assert scarce == ("MYB", "MMZ", "NGB", "BAS", "EBO", "PLM", "KSC", "PLT")
    assert load_bundle("fast").learnt_from_one_source == {
        "mll": ["BLA", "ART", "NIF"],
        "pbc": ["MYB", "MMZ", "NGB", "BAS", "EBO"],
    }


def test_the_bundle_names_no_folder_of_the_machine_it_was_made_on(toy_bundle: Bundle) -> None:
    for name in ("bundle.json", "MODEL_CARD.md"):
        assert str(Path("/tmp")) not in (toy_bundle.folder / name).read_text()  # noqa: S108


def test_torch_and_the_predictor_agree_on_real_cells(toy_bundle: Bundle, toy_run: Trained) -> None:
    files = sorted((SAMPLES / "cells/mll/NGS").iterdir())
    prepare = toy_bundle.preprocessing
    pixels = np.stack([prepare.resize(read_image(file)) for file in files])
    normalised = torch.from_numpy(prepare.normalise(pixels))
    with torch.inference_mode():
        logits = read_run(toy_run.folder).network(normalised)["logits"].numpy()
    ours = Predictor(toy_bundle, threads=1).probabilities(pixels)
    assert np.abs(softmax(toy_bundle.scaling.apply(logits)) - ours).max() < 1e-5


def test_export_says_how_well_it_agrees(
    toy_run: Trained, manifest: Manifest, tmp_path: Path
) -> None:
    seen: list[int] = []
    run = read_run(toy_run.folder)
    result = export(run, manifest, tmp_path / "b", "toy", advance=lambda: seen.append(1))
    assert result.agreement[0].startswith(
        "fp32 ONNX against torch on 16 validation cells: same class for all, probabilities within"
    )
    known = len(run.classes) * 10
    assert len(seen) == 2 * 16 + 16 + known


def test_export_refuses_a_model_that_does_something_else(
    toy_run: Trained, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exported file gets other weights than the run: the comparison must notice."""
    from marrowscope.train import export as module
    from marrowscope.train.onnx_export import to_onnx as write

    run = read_run(toy_run.folder)

    def write_another(network: Any, *rest: Any) -> None:
        with torch.no_grad():
            network.network.classifier.bias[0] += 0.5
            write(network, *rest)
            network.network.classifier.bias[0] -= 0.5

    monkeypatch.setattr(module, "to_onnx", write_another)
    with pytest.raises(ExportError, match="ONNX and torch disagree"):
        export(run, manifest, tmp_path / "b", "toy")
    assert not any((tmp_path / "b").iterdir())


def test_the_gates_know_their_limits() -> None:
    sure = np.array([[0.9, 0.1]] * 99 + [[0.501, 0.499]])
    other = sure.copy()
    other[-1] = [0.499, 0.501]
    assert check_same(sure, sure).startswith("fp32 ONNX against torch on 100 validation cells")
    with pytest.raises(ExportError, match="1 of 100 cells have another class"):
        check_same(sure, other)
    with pytest.raises(ExportError, match="0 of 100 cells have another class"):
        check_same(sure, sure + 0.002)
    truth = [0] * 99 + [1]
    assert "same class for 99.00%" in check_close(sure, other, truth, "int8")
    with pytest.raises(ExportError, match=r"same class for 98\.00%"):
        check_close(
            np.concatenate([sure[:49], sure[-1:]]),
            np.concatenate([sure[:49], other[-1:]]),
            [0] * 50,
            "int8",
        )
    with pytest.raises(ExportError, match=r"macro-F1 0\.\d+ against 1\.0000"):
        check_close(other, sure, truth, "int8")


def test_probabilities_are_calibrated_on_the_validation_cells(
    toy_bundle: Bundle, toy_run: Trained, manifest: Manifest, tmp_path: Path
) -> None:
    fitted = toy_bundle.scaling
    assert (fitted.method, fitted.cells) == ("temperature", 16)
    assert len(set(fitted.factor)) == 1
    assert fitted.factor[0] != 1
    plain = replace(toy_bundle, calibration=None)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, 3, 56, 56), dtype=np.uint8)
    logits = Predictor(plain, 1).logits(pixels)
    scaled = softmax(logits * fitted.factor[0])
    assert Predictor(toy_bundle, 1).probabilities(pixels) == pytest.approx(scaled)
    assert Predictor(plain, 1).probabilities(pixels) == pytest.approx(softmax(logits))
    line = toy_bundle.origin["agreement"][-3]
    assert line.startswith("calibration (temperature) on 16 validation cells: expected calibration")
    assert line in (toy_bundle.folder / "MODEL_CARD.md").read_text()
    run = read_run(toy_run.folder)
    with pytest.raises(ExportError) as caught:
        export(run, manifest, tmp_path / "b", "toy", calibration="platt")
    assert str(caught.value) == (
        "calibration 'platt' is not one of temperature, curved, class-wise, none"
    )


def test_a_calibration_of_other_classes_is_refused(toy_bundle: Bundle) -> None:
    assert "its calibration is for 7 classes, not 8" in change(
        toy_bundle, lambda values: values["calibration"].update(factor=[1.0] * 7, shift=[0.0] * 7)
    )


def test_an_unknown_precision(toy_run: Trained, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match="precision 'fp8' is not one of fp32, fp16, int8, int8-weights"
    ):
        export(read_run(toy_run.folder), manifest, tmp_path / "b", "toy", precision="fp8")


def test_other_data_than_the_run_had(toy_run: Trained, tmp_path: Path) -> None:
    from marrowscope.data.manifest import read_manifest

    with pytest.raises(SplitError, match=r"cells of the part .val. are not in the data given"):
        export(
            read_run(toy_run.folder), read_manifest(SAMPLES / "cells/pbc"), tmp_path / "b", "toy"
        )


def test_a_folder_that_holds_something_is_not_overwritten(
    toy_run: Trained, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(OutputError, match="already holds something"):
        export(read_run(toy_run.folder), manifest, tmp_path, "toy")


def change(bundle: Bundle, edit: Callable[[dict[str, Any]], object]) -> str:
    """Edit bundle.json and give the refusal."""
    file = bundle.folder / "bundle.json"
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values))
    with pytest.raises(BundleError) as caught:
        load_bundle(str(bundle.folder))
    return str(caught.value)


def test_a_changed_class_order_is_refused(toy_bundle: Bundle) -> None:
    assert "its class list was changed after export" in change(
        toy_bundle, lambda values: values["classes"].reverse()
    )


def test_a_class_order_changed_with_its_hash_is_refused_by_the_model(toy_bundle: Bundle) -> None:
    classes = tuple(reversed(toy_bundle.classes))
    with pytest.raises(BundleError, match="was made for the classes"):
        Predictor(replace(toy_bundle, classes=classes))
    assert class_list_hash(classes) != class_list_hash(toy_bundle.classes)


def test_a_changed_model_is_refused(toy_bundle: Bundle) -> None:
    model = onnx.load(str(toy_bundle.model_file))
    model.doc_string = "changed"
    onnx.save(model, str(toy_bundle.model_file))
    with pytest.raises(BundleError, match=r"is not what bundle\.json describes"):
        load_bundle(str(toy_bundle.folder))


def test_another_format_is_refused(toy_bundle: Bundle) -> None:
    assert "this marrowscope reads 1" in change(toy_bundle, lambda values: values.update(format=2))


def test_an_unknown_class_is_refused(toy_bundle: Bundle) -> None:
    assert "unknown class 'XYZ'" in change(
        toy_bundle, lambda values: values["classes"].append("XYZ")
    )


def test_a_missing_field_is_refused(toy_bundle: Bundle) -> None:
    assert "cannot be read: it has no licence" in change(
        toy_bundle, lambda values: values.pop("licence")
    )


def test_every_wrong_value_of_a_description_is_named(toy_bundle: Bundle) -> None:
    def spoil(values: dict[str, Any]) -> None:
        del values["model"]["precision"]
        values["preprocessing"]["size"] = "224"
        values["preprocessing"]["mean"] = [0.5, True]
        values["calibration"]["factor"][0] = None
        values["novelty"]["false_alarms"] = 2

    message = change(toy_bundle, spoil)
    assert "model has no precision" in message
    assert "preprocessing.size must be a valid integer, got '224'" in message
    assert "preprocessing.mean.1 must be a valid number, got True" in message
    assert "calibration.factor.0 must be a valid number, got None" in message
    assert "novelty.false_alarms must be less than or equal to 1, got 2" in message


def test_help_and_a_bare_import_leave_pydantic_out() -> None:
    code = "import marrowscope, marrowscope.cli, sys; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_that_is_no_onnx_file(toy_bundle: Bundle) -> None:
    toy_bundle.model_file.write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="cannot be loaded"):
        Predictor(toy_bundle)


def test_no_bundle_of_that_name() -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle("defualt")
    assert str(caught.value) == (
        "defualt: not a bundle (no MODEL_CARD.md, bundle.json, model.onnx); give the folder that "
        "`marrowscope export` wrote, or one of the names default, fast"
    )


def test_a_sealed_evaluation_is_read_back(toy_bundle: Bundle) -> None:
    figures = {
        "grouped_by": "patient",
        "sets": {"mll": {"cells": 1234, "accuracy": {"value": 0.5}}},
    }
    seal_evaluation(toy_bundle, figures)
    read = load_bundle(str(toy_bundle.folder))
    assert read.evaluation == figures
    assert read.evaluation_in_words == (
        "The bundle toy on its test cells: accuracy 0.500 on 1,234 cells of mll. "
        "Split by groups of: patient."
    )


@pytest.mark.parametrize(("name", "least"), [(str(ROOT / "bundles/resnet50"), 22), ("fast", 25)])
def test_the_networks_of_1_0_stand_beside_the_default(name: str, least: int) -> None:
    """They learnt from one split, were evaluated, and read the samples as their cards promise."""
    other, vit = load_bundle(name), load_bundle(str(ROOT / "bundles/vit-1.0"))
    assert other.classes == vit.classes
    assert other.split_hash == vit.split_hash
    assert "has not been evaluated" not in other.evaluation_in_words
    files = [file for code in ("NGS", "EOS") for file in (SAMPLES / "cells/mll" / code).iterdir()]
    read = Predictor(other).classify(Picture(file, 0.086) for file in sorted(files))
    found = [each for each in read if isinstance(each, Prediction)]
    assert len(found) == len(files) == 28
    assert sum(each.label == Path(each.path).parent.name for each in found) >= least
