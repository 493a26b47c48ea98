"""The page of an evaluation: its numbers are those of the metrics, its links lead somewhere."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import onnx
import pytest
from test_classify import run

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, write_split
from marrowscope.errors import ComparisonError
from marrowscope.evaluation import curves
from marrowscope.evaluation import page as evaluation_page
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.evaluation.mistakes import MOST_OF_A_SQUARE, Mistake, Mistakes, read_mistakes
from marrowscope.evaluation.page import PAGE, WORST, write_page
from marrowscope.io.hashes import file_hash
from marrowscope.model.bundle import Bundle


class Page(HTMLParser):
    """What a page refers to, and its confusion matrices cell by cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.ids = Counter[str]()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.squares: list[str] = []
        self._in_square = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids[given["id"]] += 1
        if "href" in given:
            self.links.append(given["href"])
        if "src" in given:
            self.sources.append(given["src"])
        if tag == "td" and "taken for" in given.get("title", ""):
            self.squares.append("")
            self._in_square = True

    def handle_endtag(self, tag: str) -> None:
        self._in_square = self._in_square and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_square:
            self.squares[-1] += data.strip()

    def matrices(self, size: int) -> Iterator[list[list[int]]]:
        numbers = [int(text or 0) for text in self.squares]
        for start in range(0, len(numbers), size * size):
            one = numbers[start : start + size * size]
            yield [one[row : row + size] for row in range(0, size * size, size)]


@pytest.fixture
def figures(toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path) -> Path:
    evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100)
    return tmp_path / "e"


def metrics_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return values


def test_the_page_stands_alone_and_every_link_leads_to_its_cells(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    page = Page(write_page(figures, toy_bundle, manifest).read_text())
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") for link in page.links)
    assert max(page.ids.values()) == 1
    assert {link[1:] for link in page.links} <= page.ids.keys()
    sets = metrics_of(figures)["sets"]
    size = len(toy_bundle.classes)
    drawn = list(page.matrices(size))
    assert drawn == [sets[name]["confusion"] for name in ("all", "mll", "pbc")]
    for truth, row in zip(toy_bundle.classes, sets["all"]["confusion"], strict=True):
        for taken, cells in zip(toy_bundle.classes, row, strict=True):
            assert (f"{truth}-{taken}" in page.ids) == (cells > 0 and truth != taken)
            if cells and truth != taken:
                assert f"#{truth}-{taken}" in page.links
                assert f"{truth} taken for {taken}: {cells}</summary>" in page.text


def test_the_pictures_are_those_of_the_mistakes(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    page = Page(write_page(figures, toy_bundle, manifest).read_text())
    with (figures / "predictions.csv").open(newline="") as file:
        wrong = [
            row
            for row in csv.DictReader(file)
            if row["truth"] in toy_bundle.classes and row["truth"] != row["label"]
        ]
    of_class = Counter(row["truth"] for row in wrong)
    worst = sum(min(WORST, cells) for cells in of_class.values())
    pictures = [source for source in page.sources if source.startswith("data:image/jpeg")]
    heatmaps = [source for source in page.sources if source.startswith("data:image/png")]
    assert len(pictures) == len(wrong) + worst
    assert len(heatmaps) == worst
    assert f"{len(wrong)} cells were taken for another class; {len(wrong)} of them" in page.text
    for row in wrong:
        shown = f"{row['truth']} as <strong>{row['label']}</strong> {float(row['probability']):.0%}"
        assert re.search(rf'title="{re.escape(row["path"])}">{shown}', page.text)


def test_the_limits_stand_at_the_top(toy_bundle: Bundle, manifest: Manifest, figures: Path) -> None:
    text = write_page(figures, toy_bundle, manifest, command="marrowscope evaluate x").read_text()
    head = text[: text.index('<section id="summary">')]
    assert "(no patient is known)" in head
    assert "upper estimates of what new patients would give" in head
    assert "was given no list of pairs that share pixels (--audit)." in head
    assert "not of the sealed test" not in head
    accuracy = metrics_of(figures)["sets"]["all"]["accuracy"]
    shown = '{value:.3f} <span class="limits soft">({low:.3f} to {high:.3f})'.format(**accuracy)
    assert shown in text
    for code, why in toy_bundle.left_out.items():
        assert re.search(rf'class="code">{code}</td>.*{re.escape(why)}', text)
    for value in ("marrowscope evaluate x", toy_bundle.model_sha256, toy_bundle.split_hash):
        assert f"<code>{value}</code>" in text
    assert file_hash(figures / "predictions.csv") in text


def test_cells_left_out_for_sharing_pixels_are_counted_at_the_top(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    test, train = (split.part(part)[0].cell.path for part in ("test", "train"))
    evaluate(toy_bundle, manifest, split, tmp_path / "e", pairs=[(test, train)], rounds=100)
    text = write_page(tmp_path / "e", toy_bundle, manifest).read_text()
    words = "Left out for sharing pixels with cells of other parts, by a list of 1 pairs: 1 cells."
    assert f"<p>{words}</p>" in text


def test_a_list_without_pairs_is_not_taken_for_none(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    metrics = metrics_of(figures)
    given = "Left out for sharing pixels with cells of other parts, by a list {}: 0 cells."
    for method, words in (
        (given.format("without pairs"), given.format("without pairs")),
        (given.format("of 0 pairs"), "no list of pairs that share pixels (--audit), or none in it"),
    ):
        changed = metrics | {"method": method}
        (figures / "metrics.json").write_text(json.dumps(changed), encoding="utf-8")
        assert words in write_page(figures, toy_bundle, manifest).read_text(encoding="utf-8")


def test_the_evaluation_tells_a_list_without_pairs_from_none(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "e", pairs=[], rounds=100)
    assert "by a list without pairs: 0 cells." in metrics_of(tmp_path / "e")["method"]


def test_pictures_are_bounded_and_what_is_left_out_is_said(
    toy_bundle: Bundle, manifest: Manifest, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_page, "MOST_PICTURES", 60)
    page = Page(write_page(figures, toy_bundle, manifest).read_text())
    pictures = [source for source in page.sources if source.startswith("data:image/jpeg")]
    assert len(pictures) <= 60
    found = re.search(r"(\d+) of them are shown.*?, (\d+) are left out", page.text, re.DOTALL)
    assert found is not None
    confusion = metrics_of(figures)["sets"]["all"]["confusion"]
    wrong = sum(map(sum, confusion)) - sum(row[index] for index, row in enumerate(confusion))
    assert sum(map(int, found.groups())) == wrong
    assert {link[1:] for link in page.links} <= page.ids.keys()


def test_trust_and_domains_are_shown_where_they_were_measured(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    measured = write_page(figures, toy_bundle, manifest).read_text()
    assert 'id="trust"' in measured
    assert 'id="domains"' in measured  # of the two sources
    bins = [{"cells": 30, "confidence": 0.55, "accuracy": 0.5}]
    interval = {"value": 0.125, "low": 0.1, "high": 0.2}
    metrics = metrics_of(figures)
    for metric in metrics["sets"].values():
        del metric["trust"]
    (figures / "metrics.json").write_text(json.dumps(metrics))
    assert 'id="trust"' not in write_page(figures, toy_bundle, manifest).read_text()
    metrics["sets"]["all"]["trust"] = {
        "ece": 0.0421,
        "ece_before": 0.0593,
        "reliability": bins,
        "reliability_before": bins,
        "risk_coverage": [[0.1, 0.0], [1.0, 0.2]],
        "error_full": interval,
        "error_at_80": {"value": 0.0625, "low": None, "high": None},
        "review": [
            {"error_rate": 0.05, "threshold": 0.7, "share": 0.3, "error": 0.04, "cells": 25},
            {"error_rate": 0.01, "threshold": None, "share": None, "error": None, "cells": 0},
        ],
        "conformal": [
            {
                "coverage": 0.9,
                "covered": 0.92,
                "mean_set_size": 1.4,
                "per_class": [
                    {"code": "BLA", "cells": 3, "covered": 1.0, "low": 0.29, "high": 1.0}
                ],
            }
        ],
    }
    metrics["domains"] = [
        {
            "name": "blood", "cells": 100, "classes": 3, "macro_f1": interval,
            "drop": interval, "verdict": "worse",
        }
    ]  # fmt: skip
    (figures / "metrics.json").write_text(json.dumps(metrics))
    page = Page(write_page(figures, toy_bundle, manifest).read_text())
    for words in ("0.042, before calibration 0.059", "12.5%", "(10.0% to 20.0%)", "0.700", "1.40"):
        assert words in page.text
    assert {"trust", "domains"} <= page.ids.keys()
    assert {"#trust", "#domains"} <= set(page.links)
    assert page.text.count("<svg") == 2


def test_what_cannot_be_read_again_is_counted(
    toy_bundle: Bundle, manifest: Manifest, figures: Path, tmp_path: Path
) -> None:
    elsewhere = replace(manifest, root=tmp_path / "moved")
    text = write_page(figures, toy_bundle, elsewhere).read_text()
    missing = text.count('<div class="frame missing">no picture</div>')
    assert missing > 0
    assert f"{missing} pictures could not be read again." in text
    assert "data:image" not in text


def test_a_bundle_without_heatmaps_says_why(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    model = onnx.load(toy_bundle.model_file)
    del model.graph.output[1:]
    onnx.save(model, toy_bundle.model_file)
    changed = replace(toy_bundle, model_sha256=file_hash(toy_bundle.model_file))
    metrics = metrics_of(figures) | {"model_sha256": changed.model_sha256}
    (figures / "metrics.json").write_text(json.dumps(metrics))
    text = write_page(figures, changed, manifest).read_text()
    assert "gives logits alone; export the bundle again" in text
    assert "data:image/png" not in text
    assert "data:image/jpeg" in text


def test_figures_of_an_older_marrowscope_have_a_page(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    metrics = metrics_of(figures)
    for metric in metrics["sets"].values():
        for name in ("scores", "without_cells", "outside_mix", "mix_covered"):
            del metric[name]
    metrics["method"] = "Brackets: 95% intervals."
    del metrics["rejects_of_the_data"]
    (figures / "metrics.json").write_text(json.dumps(metrics))
    text = write_page(figures, toy_bundle, manifest).read_text()
    assert "made by an older marrowscope" in text
    assert "Whether cells share pixels with cells of other parts was not recorded." in text


def test_figures_of_another_model_are_refused(
    toy_bundle: Bundle, manifest: Manifest, figures: Path
) -> None:
    with pytest.raises(ComparisonError, match="is the evaluation of another model than that of"):
        write_page(figures, replace(toy_bundle, model_sha256="0" * 64), manifest)
    (figures / "metrics.json").write_text("{}")
    with pytest.raises(ComparisonError, match=r"KeyError\('model_sha256'\); evaluate the bundle"):
        write_page(figures, toy_bundle, manifest)


def test_the_command_writes_the_page(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    write_split(split, tmp_path / "split")
    done = run(
        "evaluate", toy_bundle.folder, "--data", manifest.root / "cells.csv",
        "--split", tmp_path / "split", "--part", "val", "--output", tmp_path / "e",
        "--rounds", "100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Page: {tmp_path / 'e' / PAGE}" in done.stdout
    text = (tmp_path / "e" / PAGE).read_text()
    assert "cells of the part val, not of the sealed test" in text
    assert "<code>marrowscope evaluate " in text


def mistake(probability: float, truth: str, predicted: str) -> Mistake:
    return Mistake(probability, f"{probability}", truth, predicted, 0.0, "mll")


def test_pictures_are_shared_out_evenly() -> None:
    """Squares of 5, 2 and 1 mistakes: six pictures make three, two and one."""
    sizes = {("BLA", "PMO"): 5, ("PMO", "MYB"): 2, ("NGS", "NGB"): 1}
    kept = {
        square: tuple(mistake(0.9 - at / 10, *square) for at in range(size))
        for square, size in sizes.items()
    }
    found = Mistakes(Counter(sizes), kept)
    assert [len(row) for row in found.within(6).values()] == [3, 2, 1]
    assert [len(row) for row in found.within(5).values()] == [2, 2, 1]
    assert [len(row) for row in found.within(100).values()] == [5, 2, 1]
    assert found.within(2) == {
        ("BLA", "PMO"): kept["BLA", "PMO"][:1],
        ("PMO", "MYB"): kept["PMO", "MYB"][:1],
    }
    assert found.within(0) == {}
    assert found.wrong == 8
    assert [each.probability for each in found.of_class("BLA", 2)] == [0.9, 0.8]


def test_the_surest_mistakes_are_kept_and_all_are_counted(tmp_path: Path) -> None:
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "probability", "BLA", "PMO", "truth", "source", "group"])
        for at in range(100):
            sure = 0.5 + (37 * at % 100) / 250
            writer.writerow([f"{at}.jpg", "PMO", sure, 1 - sure, sure, "BLA", "mll", at])
        writer.writerow(["right.jpg", "BLA", 0.9, 0.9, 0.1, "BLA", "mll", 100])
        writer.writerow(["other.jpg", "BLA", 0.9, 0.9, 0.1, "PLM", "mll", 101])
    found = read_mistakes(tmp_path, ["BLA", "PMO"])
    assert found.cells == {("BLA", "PMO"): 100, ("BLA", "BLA"): 1}
    kept = found.kept["BLA", "PMO"]
    surest = sorted((0.5 + at / 250 for at in range(100)), reverse=True)[:MOST_OF_A_SQUARE]
    assert [each.probability for each in kept] == pytest.approx(surest)
    assert kept[0].of_truth == pytest.approx(1 - surest[0])


def test_a_row_without_a_number_is_named(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(
        "path,label,probability,BLA,truth,source,group\na.jpg,BLA,much,1,BLA,mll,1\n"
    )
    with pytest.raises(ComparisonError, match=r"the row of 'a\.jpg' holds no prediction"):
        read_mistakes(tmp_path, ["BLA"])


def test_curves_by_hand() -> None:
    (dot, small) = curves.dots(
        [
            {"cells": 90, "confidence": 0.5, "accuracy": 0.25},
            {"cells": 1, "confidence": 1.0, "accuracy": 1.0},
            {"cells": 0, "confidence": None, "accuracy": None},
        ]
    )
    assert (dot.x, dot.y, dot.radius) == (120, 180, 9)
    assert (small.x, small.y, small.radius) == (240, 0, 2)
    assert dot.words == "90 cells: promised 0.50, right 0.25"
    assert curves.top_of([[0.5, 0.02], [1.0, 0.13]]) == 0.15
    assert curves.top_of([[1.0, 0.1]]) == 0.1
    assert curves.top_of([]) == 0.05
    assert curves.line([[0, 0], [1, 0.1]], 0.2) == "M0.0,240.0L240.0,120.0L240.0,120.0"
    assert curves.line([[at / 9999, 0.1] for at in range(10_000)], 0.2).count("L") <= 201
