"""Novelty: worked examples, the reference library, what a bundle refuses, and what is set aside."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from sklearn.covariance import shrunk_covariance

from marrowscope.differential.accumulator import Strangers
from marrowscope.differential.options import CountingOptions
from marrowscope.errors import BundleError, OutputError
from marrowscope.inference.classify import Classified, classify
from marrowscope.inference.options import OutputOptions
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.io.tables import CellRows, prediction_row
from marrowscope.model.bundle import Bundle, load_bundle, write_description
from marrowscope.model.novelty import Novelty, Strangeness, novel_in_words, threshold_of
from marrowscope.model.reference_embeddings import (
    MOST_BYTES,
    References,
    Similar,
    cells_that_fit,
    known_cells,
    read_references,
    write_references,
)
from marrowscope.train.fit_novelty import choose
from marrowscope.types import Picture, Prediction

CELLS = sorted((SAMPLES / "cells/mll/NGS").iterdir())


def some_known(cells: int = 60, width: int = 6) -> References:
    random = np.random.default_rng(0)
    labels = ["BLA", "LYT", "EOS"] * (cells // 3)
    middle = {"BLA": 0, "LYT": 1, "EOS": 2}
    values = random.normal(0, 0.2, (cells, width))
    values[np.arange(cells), [middle[label] for label in labels]] += 1
    return known_cells(values, labels, [f"{n}.jpg" for n in range(cells)])


def test_the_nearest_known_cells_by_hand() -> None:
    known = known_cells(np.array([[2.0, 0], [0, 3], [3, 4]]), ["BLA", "LYT", "EOS"], list("abc"))
    best, second = known.nearest(np.array([[30.0, 40]]), 2)[0]
    assert (best.path, best.label, best.row) == ("c", "EOS", 2)
    assert second == Similar("b", "LYT", second.similarity, row=1)
    assert [best.similarity, second.similarity] == pytest.approx([1.0, 0.8], abs=1e-3)


def test_the_distance_is_mahalanobis_with_a_shrunk_covariance() -> None:
    known = some_known()
    values = known.embeddings.astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    labels = np.array(known.labels)
    means = {code: values[labels == code].mean(axis=0) for code in set(labels)}
    residuals = values - np.stack([means[code] for code in labels])
    inverse = np.linalg.inv(shrunk_covariance(residuals.T @ residuals / len(values), 0.1))
    cells = np.random.default_rng(1).normal(size=(5, values.shape[1]))
    lengths = np.linalg.norm(cells, axis=1, keepdims=True)
    expected = [
        min(math.sqrt((cell - mean) @ inverse @ (cell - mean) / 6) for mean in means.values())
        for cell in cells / lengths
    ]
    assert Strangeness(known, 0.1)(cells) == pytest.approx(expected, rel=1e-4)


def test_strange_cells_score_higher_even_where_cells_are_few() -> None:
    known = some_known(cells=9, width=64)
    score = Strangeness(known)
    away = np.zeros((1, 64))
    away[0, 40] = 1.0
    assert score(away)[0] > 1.5 * score(known.embeddings).max()


def test_the_threshold_leaves_the_stated_share_above_it() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 101))
    assert threshold_of(scores, 0.02) == 98
    assert threshold_of(scores, 0.0) == 100
    assert threshold_of(scores[:16], 0.02) == scores[:16].max()


def test_the_file_stays_small_for_any_width() -> None:
    assert [cells_that_fit(width) for width in (32, 768, 2048)] == [2000, 2000, 854]
    assert 2 * 2048 * cells_that_fit(2048) <= MOST_BYTES


def test_references_are_chosen_evenly_and_the_same_each_time() -> None:
    cells = [(Picture(Path(f"{n}.jpg")), "BLA" if n < 50 else "LYT") for n in range(60)]
    chosen = choose(cells, 20)
    assert [label for _, label in chosen].count("LYT") == 10
    assert choose(cells[::-1], 20) == chosen
    assert len(choose(cells, 100)) == 60


def test_references_come_back_from_their_file(tmp_path: Path) -> None:
    known = some_known()
    back = read_references(write_references(known, tmp_path))
    assert (back.labels, back.paths) == (known.labels, known.paths)
    assert (back.embeddings == known.embeddings).all()


@pytest.mark.parametrize("damage", ["text", "pickle", "short", "infinite", "numbers"])
def test_a_damaged_file_of_references_is_refused(damage: str, tmp_path: Path) -> None:
    known, file = some_known(), tmp_path / "references.npz"
    values: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "embeddings": known.embeddings.copy(),
        "labels": np.array(known.labels),
        "paths": np.array(known.paths),
    }
    if damage == "pickle":
        values["labels"] = np.array([{}] * len(known.labels), dtype=object)
    elif damage == "short":
        values["paths"] = values["paths"][:-1]
    elif damage == "infinite":
        values["embeddings"] = np.full((60, 6), np.nan, dtype=np.float16)
    elif damage == "numbers":
        values["labels"] = np.arange(60)
    with file.open("wb") as content:
        np.savez(content, **values)  # type: ignore[arg-type]
    if damage == "text":
        file.write_text("hello")
    message = {
        "text": "cannot be read as reference cells",
        "pickle": "cannot be read as reference cells",
        "short": "got (60, 6), 60 and 59",
        "infinite": "must be finite and of length 1",
        "numbers": "must be floats, text and text; got the kinds f, i, U",
    }[damage]
    with pytest.raises(BundleError) as refused:
        read_references(file)
    assert message in str(refused.value)


def test_export_seals_what_the_bundle_knows(toy_bundle: Bundle) -> None:
    novelty = toy_bundle.novelty
    assert novelty is not None
    assert (novelty.method, novelty.cells, novelty.false_alarms) == ("mahalanobis", 16, 0.0)
    known = read_references(toy_bundle.folder / "references.npz")
    assert sorted(known.labels) == sorted(10 * toy_bundle.classes)
    assert all((SAMPLES / path).is_file() for path in known.paths)
    assert any("of 16 validation cells" in line for line in toy_bundle.origin["agreement"])


def test_changed_or_missing_references_are_refused(toy_bundle: Bundle) -> None:
    file = toy_bundle.folder / "references.npz"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(BundleError, match=r"is not what bundle\.json describes"):
        load_bundle(str(toy_bundle.folder))
    file.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(str(toy_bundle.folder))


def test_an_unknown_method_is_refused(toy_bundle: Bundle) -> None:
    file = toy_bundle.folder / "bundle.json"
    values = json.loads(file.read_text())
    values["novelty"]["method"] = "guess"
    file.write_text(json.dumps(values))
    with pytest.raises(BundleError, match="novelty by 'guess' is not known"):
        load_bundle(str(toy_bundle.folder))


def test_a_known_cell_is_its_own_nearest_and_novelty_is_that_of_its_embedding(
    toy_bundle: Bundle,
) -> None:
    predictor = Predictor(toy_bundle, threads=1)
    known = read_references(toy_bundle.folder / "references.npz")
    pictures = [SAMPLES / path for path in known.paths[:6]]
    pixels = np.stack([toy_bundle.preprocessing.resize(read_image(file)) for file in pictures])
    for own, nearest in zip(known.paths, predictor.similar(pixels, 3), strict=False):
        assert nearest[0].similarity == pytest.approx(1, abs=2e-3)
        assert own in {each.path for each in nearest}
    predictions = list(predictor.classify(map(Picture, pictures)))
    one_by_one = Strangeness(known)(predictor.embeddings(pixels))
    for prediction, expected in zip(predictions, one_by_one, strict=True):
        assert isinstance(prediction, Prediction)
        assert prediction.novelty == pytest.approx(expected, rel=1e-3)


def with_threshold(bundle: Bundle, threshold: float) -> Bundle:
    """The bundle with another threshold."""
    assert bundle.novelty
    changed = replace(bundle, novelty=replace(bundle.novelty, threshold=threshold))
    write_description(changed)
    return changed


def read(bundle: Bundle, folder: Path, *, keep_novel: bool = False) -> Classified:
    return classify(
        map(Picture, CELLS), bundle, folder, counting=CountingOptions(keep_novel=keep_novel)
    )


def novelty_in(folder: Path) -> list[float]:
    with (folder / "predictions.csv").open(newline="") as lines:
        return [float(row["novelty"]) for row in csv.DictReader(lines)]


def test_novel_cells_are_set_aside_listed_and_told(toy_bundle: Bundle, tmp_path: Path) -> None:
    read(with_threshold(toy_bundle, 1e6), tmp_path / "all")
    values = sorted(novelty_in(tmp_path / "all"))
    bundle = with_threshold(toy_bundle, (values[-4] + values[-3]) / 2)
    result = read(bundle, tmp_path / "out")
    differential = result.differential
    excluded = sum(row.cells for row in differential.excluded)
    assert (result.cells, result.novel) == (len(CELLS), 3)
    assert differential.counted + excluded == len(CELLS) - 3
    outcome = json.loads((tmp_path / "out/differential.json").read_text())
    assert outcome["novel"]["cells"] == 3
    assert not outcome["novel"]["counted"]
    note = "3 cells are unlike the cells the model knows: to be looked at (not counted;"
    assert outcome["novel"]["note"].startswith(note)
    page = (tmp_path / "out/report.html").read_text()
    assert note in page
    assert page.split('id="unlike"')[1].count("<figure") == 3


def test_novel_cells_are_counted_if_that_is_asked_for(toy_bundle: Bundle, tmp_path: Path) -> None:
    result = read(with_threshold(toy_bundle, 0.0), tmp_path / "out", keep_novel=True)
    excluded = sum(row.cells for row in result.differential.excluded)
    assert result.differential.counted + excluded == result.novel == len(CELLS)
    assert "counted all the same" in (tmp_path / "out/report.html").read_text()
    with pytest.raises(OutputError, match="novel_cells was counted, now it is set aside"):
        classify(
            map(Picture, CELLS), toy_bundle, tmp_path / "out", output=OutputOptions(resume=True)
        )


def test_a_bundle_without_known_cells_works_and_says_so(toy_bundle: Bundle, tmp_path: Path) -> None:
    old = replace(toy_bundle, novelty=None)
    for name in ("references.npz", "known-cells.zip"):
        (old.folder / name).unlink()
    write_description(old)
    old = load_bundle(str(old.folder))
    result = read(old, tmp_path / "out")
    with (tmp_path / "out/predictions.csv").open(newline="") as lines:
        assert {row["novelty"] for row in csv.DictReader(lines)} == {""}
    assert result.novel == 0
    assert "the bundle has no reference cells" in (tmp_path / "out/report.html").read_text()
    pixels = np.zeros((1, 3, 56, 56), dtype=np.uint8)
    assert np.isnan(Predictor(old, threads=1).novelty(pixels)).all()
    with pytest.raises(BundleError, match="has no known cells to compare with"):
        Predictor(old, threads=1).similar(pixels)


def test_a_prediction_of_known_and_unknown_novelty_comes_back_from_its_row() -> None:
    for novelty, text in ((1.25, "1.250000"), (math.nan, "")):
        prediction = Prediction("a.jpg", "BLA", 0.75, (0.75, 0.25), novelty=novelty)
        row = prediction_row(prediction)
        assert row[:5] == ["a.jpg", "BLA", "0.750000", "", text]
        assert str(CellRows(()).parse(row)) == str(prediction)


def test_what_is_said_of_one_cell_and_of_none() -> None:
    novelty = Novelty("mahalanobis", 0.1, 1.0, 0.02, 100, "")
    assert not novel_in_words(novelty, 0, counted=False)
    assert novel_in_words(novelty, 1, counted=False) == (
        "1 cell is unlike the cells the model knows: to be looked at (not counted; about 2% of "
        "known cells are taken for such too)."
    )


def test_the_strangest_cells_are_kept() -> None:
    strangers = Strangers(limit=2)
    for value in (1.0, 3.0, 2.0, 0.5):
        strangers.add(Prediction(f"{value}", "BLA", 1.0, (1.0,), novelty=value))
    assert [each.path for each in strangers.strangest()] == ["3.0", "2.0"]
    assert strangers.cells == 4


def test_noise_is_stranger_than_every_cell_to_a_trained_network(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    noise = tmp_path / "noise.png"
    Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(noise)
    found = list(Predictor(toy_bundle, threads=1).classify(map(Picture, [noise, *CELLS])))
    first, *cells = (each.novelty for each in found if isinstance(each, Prediction))
    assert first > max(cells)
