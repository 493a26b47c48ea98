"""A desk on which everything lies that README and docs name in their commands."""

import re
import shlex
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from conftest import ROOT, SAMPLES
from PIL import Image
from signing_keys import make_key
from typer.testing import CliRunner

from marrowscope.cli import app

CODES = {"BLA": "BLA", "EOS": "EOS", "LYT": "LYT", "NGS": "NGS"}
CODES |= {"EO": "EOS", "LY": "LYT", "SNE": "NGS"}
"""The folders of samples on the desk, and the classes in them."""
MLL, PBC, FIELDS = SAMPLES / "cells/mll", SAMPLES / "cells/pbc", SAMPLES / "fields"
FIELD_PAGES = ("fields.md", "store.md")
"""Pages whose folder `scan` holds whole fields; on the others it holds single cells."""
TOY_SETTINGS = {
    "min_images": "5",
    "size": "56",
    "unfreeze_blocks": "1",
    "batch_size": "12",
    "precision": "fp32",
    "log": "none",
}
"""Settings of trainings here: a network with two narrow blocks."""
BUNDLE = Path("bundles/first")
"""What the README trains and exports, on the desk."""
SMALL = {
    "data pack": ("--size", "56"),
    "data read": ("--um-per-px", "0.086"),
    "data split": ("--min-stratum", "5"),
    "train": ("--epochs", "1", "--threads", "1"),
    "train-detector": ("--steps", "2", "--batch-size", "2", "--threads", "1"),
    "tune": ("--epochs", "1", "--threads", "1", "--trials", "1"),
    "evaluate": ("--rounds", "100"),
    "compare": ("--rounds", "100", "--least-support", "1"),
}
"""What makes a command of the docs small enough for a few cells and seconds."""
PREPARED = """
data pack cells.csv --output pack --size 56
user add ada --role reviewer
classify cells --bundle bundles/first --um-per-px 0.086 --output monday
classify scan --bundle bundles/first --um-per-px 0.086 --output friday
report case-117 --bundle bundles/first --output report-117
"""
"""What the pages build on besides what the README makes."""


def carry_out(words: Iterable[str]) -> None:
    """Run a command in this process; an exit code other than 0 is an error that shows all."""
    asked = list(words)
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, f"marrowscope {shlex.join(asked)}\n{done.output}"


def made_small(words: list[str], network: Path) -> list[str]:
    """Add the options that make a command small; they come last, so they win.

    Once the README has made a bundle, that one reads cells in place of the shipped one.
    """
    if words[0] in ("classify", "report") and "--bundle" not in words and BUNDLE.is_dir():
        return [*words, "--bundle", str(BUNDLE)]
    more = SMALL.get(" ".join(words[:2]), SMALL.get(words[0], ()))
    if words[0] not in ("train", "tune"):
        return [*words, *more]
    settings = TOY_SETTINGS if "--model" in words else TOY_SETTINGS | {"model": str(network)}
    changes = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return [*words, *changes, *more]


def lay_out(folder: Path, network: Path) -> None:
    """Lay out pictures, tables and folders as the README starts from them."""
    _pictures(folder)
    _cases(folder)
    _tables(folder)
    make_key(folder / "key.pem", folder / "public.pem")
    for name in ("path/to/checkpoint", "backbones/dinov2-small", "backbones/mobilenet-v2"):
        shutil.copytree(network, folder / name)


def prepare(folder: Path) -> None:
    """Run, after the README, what the other pages start from."""
    for line in PREPARED.strip().splitlines():
        carry_out(line.split())
    for name in ("bundles/second", "mine"):
        shutil.copytree(folder / "bundles/first", folder / name)


def copied(desk: Path, folder: Path, page: Path) -> Path:
    """Give a page a desk of its own."""
    shutil.copytree(desk, folder / "desk")
    if page.name in FIELD_PAGES:
        shutil.rmtree(folder / "desk/scan")
        shutil.copytree(desk / "fields", folder / "desk/scan")
    return folder / "desk"


def _pictures(folder: Path) -> None:
    _copy(_cells(MLL, 14), folder / "path/to/labelled_cells")
    _copy(_cells(MLL, 14), folder / "data/mll")
    _copy(_cells(PBC, 3), folder / "PBC_dataset_normal_DIB")
    _copy(_cells(PBC, 2), folder / "data/pbc")
    _copy(_cells(PBC, 4), folder / "our-cells")
    for name in ("path/to/cells", "cells", "samples/cells"):
        _copy(_cells(MLL, 1), folder / name)
    _copy(_cells(MLL, 1), folder / "scan")
    _copy(sorted((MLL / "MON").iterdir())[:1], folder / "cells/more")
    shutil.copy(min(MLL.glob("PMO/*")), folder / "cells/odd.jpg")
    _fields(folder)
    for name in ("archive.zip", "far.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for cell in _cells(PBC if name == "far.zip" else MLL, 3):
                archive.write(cell, f"set/{cell.parent.name}/{cell.name}")


def _fields(folder: Path) -> None:
    """Lay out a field as JPEG, as TIFF and as a slide."""
    field = min(FIELDS.glob("*.jpg"))
    for name in ("fields", "samples/fields"):
        (folder / name).mkdir(parents=True)
        shutil.copy(field, folder / name)
    header, *rows = (FIELDS / "boxes.csv").read_text().splitlines()
    drawn = [header, *(row for row in rows if row.startswith(field.name))]
    (folder / "samples/fields/boxes.csv").write_text("\n".join(drawn))
    with Image.open(field) as picture:
        picture.save(folder / "fields/9.tif")
        slide = np.asarray(picture)
    words = "Aperio Image Library\r\n|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(
        folder / "slide.svs", slide, photometric="rgb", tile=(128, 128), description=words
    )


def _cases(folder: Path) -> None:
    """Make the case of the report's page, with the files that the page shows, and plainer ones."""
    toml, reviews = block_of("report.md", "toml"), block_of("report.md", "text")
    texts = {"path/to/case": toml, "case-117": toml, "case-118": toml.replace("0.101", "0.086")}
    for name, text in texts.items():
        case = folder / name
        case.mkdir(parents=True)
        (case / "case.toml").write_text(text, encoding="utf-8")
        for slide, code in {"slide-a": "BLA", "slide-b": "NGS", "late": "LYT"}.items():
            _copy(sorted((MLL / code).iterdir())[:2], case / slide, flat=True)
        shutil.copy(sorted((MLL / "BLA").iterdir())[3], case / "slide-a/0017.jpg")
    anna = f"slide-a/{min((MLL / 'BLA').iterdir()).name},PMO,anna,2026-03-03T11:00\n"
    (folder / "case-117/reviews.csv").write_text(reviews + anna, encoding="utf-8")


def _tables(folder: Path) -> None:
    for name in ("our-ranges.toml", "ours.toml"):
        (folder / name).write_text(block_of("differential.md", "toml"), encoding="utf-8")
    (folder / "our-marrow.csv").write_text("label,percent\nBLA,10\nNGS,60\nLYT,30\n")
    names = [cell.name for cell in _cells(MLL, 4)[::2]]
    (folder / "published.csv").write_text("\n".join(names) + "\n")
    lines = [
        f"our-cells/{cell.parent.name}/{cell.name},{CODES[cell.parent.name]},0.09"
        for cell in _cells(PBC, 4)
    ]
    (folder / "our-cells.csv").write_text("\n".join(["path,label,um_per_px", *lines]) + "\n")
    held_out = (SAMPLES / "cells.csv").read_text().splitlines()[:2]
    (folder / "samples/cells.csv").write_text("\n".join(held_out) + "\n")
    _copy([MLL / "ABE" / Path(held_out[1].split(",")[0]).name], folder / "samples/cells/mll")
    _reviews(folder)


def _reviews(folder: Path) -> None:
    """Write what two people took the same cells for."""
    cells = [f"cells/{cell.parent.name}/{cell.name}" for cell in _cells(MLL, 1)]
    rows = {
        name: [f"{cell},{cell.split('/')[1]},{name},2026-03-03T10:{minute}" for cell in cells]
        for name, minute in (("anna", 10), ("ben", 20))
    }
    rows["ben"][0] = rows["ben"][0].replace(",BLA,", ",LYT,")
    for name, lines in {**rows, "": [*rows["anna"], *rows["ben"]]}.items():
        (folder / name).mkdir(exist_ok=True)
        text = "\n".join(["path,label,reviewer,time", *lines]) + "\n"
        (folder / name / "reviews.csv").write_text(text)


def block_of(page: str, language: str) -> str:
    """Read the first block of a language on a page of the docs."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None, page
    return found[1]


def _cells(source: Path, each: int) -> list[Path]:
    """Choose sample cells: the first of each class that the source has."""
    folders = [source / name for name in CODES if (source / name).is_dir()]
    return [cell for folder in folders for cell in sorted(folder.iterdir())[:each]]


def _copy(cells: Iterable[Path], folder: Path, *, flat: bool = False) -> None:
    for cell in cells:
        place = folder / cell.name if flat else folder / cell.parent.name / cell.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cell, place)
