"""What the fuzzer starts from: small, whole files of every form that a target reads."""

import csv
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from descriptions import ODD_VALUES, places, whole_description
from PIL import Image
from targets import CLASSES, LARGE, PLAIN

from marrowscope.model.reference_embeddings import References, write_references
from marrowscope.model.reference_images import write_pictures
from marrowscope.model.test_predictions import LabelledCells, write_tested

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
CELL = min((SAMPLES / "cells" / "pbc").rglob("*.jpg"))
CASE = """id = "A-17"
date = 2026-03-02
material = "aspirate"
um_per_px = 0.086
[[slides]]
name = "1"
cells = ["cells", "more/*.jpg"]
stain = "Pappenheim"
[[slides]]
name = "2"
fields = "fields"
um_per_px = 0.1
"""


def seeds(target: str) -> Iterator[bytes]:
    """Give the seeds of a target."""
    yield from SEEDS[target]()


def _small(side: int = 24) -> Image.Image:
    return Image.open(CELL).convert("RGB").resize((side, side))


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _images() -> Iterator[bytes]:
    for kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP"):
        yield _encoded(_small(), kind)
    yield _encoded(_small(), "JPEG", progressive=True, quality=50)
    yield _encoded(_small().convert("P"), "PNG")
    yield _encoded(_small().convert("RGBA"), "WEBP", lossless=True)
    for packed in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        yield _encoded(_small(), "TIFF", compression=packed)
    yield _encoded(_small().convert("L"), "PNG")


def _zip(names: tuple[str, ...], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name in names:
            archive.writestr(name, b"\xff\xd8\xff" + bytes(40))
    return buffer.getvalue()


def _tar(names: tuple[str, ...], form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 43
            archive.addfile(info, io.BytesIO(b"\xff\xd8\xff" + bytes(40)))
    return buffer.getvalue()


NAMES = ("LYT/1.jpg", "../2.jpg", "__MACOSX/._1.jpg", "a" * 120 + ".jpg", "é.jpg")


def _uploads() -> Iterator[bytes]:
    yield from (_zip(NAMES, kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    yield _zip(NAMES[:2], zipfile.ZIP_BZIP2)
    yield _zip(())
    yield _encoded(_small(), "JPEG", quality=20)


def _containers() -> Iterator[bytes]:
    yield from (b"Z" + upload for upload in _uploads())
    yield b"Z" + _zip(NAMES[:2], zipfile.ZIP_LZMA)
    yield b"T" + _tar(NAMES, tarfile.GNU_FORMAT)
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield b"T" + _tar(NAMES[:3], form)


def _bundles() -> Iterator[bytes]:
    yield json.dumps(whole_description()).encode()
    without: dict[str, object] = {
        "calibration": None,
        "abstention": None,
        "review": [],
        "evaluation": None,
    }
    yield json.dumps(whole_description() | without | {"origin": {"images": {}}}).encode()
    for number in range(len(list(places(whole_description())))):
        value = ODD_VALUES[number % len(ODD_VALUES)]
        yield b"@" + number.to_bytes(2, "big") + value.encode()


def _arrays() -> Iterator[bytes]:
    embeddings = np.eye(3, 4, dtype=np.float16)
    known = References(embeddings, CLASSES, ("a/1.jpg", "a/2.jpg", "b/3.jpg"))
    tested = LabelledCells(np.full((3, 3), 1 / 3, np.float16), CLASSES, ("mll",) * 3, (0, 1, 2))
    with tempfile.TemporaryDirectory() as folder:
        for start, file in (
            (b"R", write_references(known, Path(folder))),
            (b"T", write_tested(tested, Path(folder))),
        ):
            yield start + file.read_bytes()
            with np.load(file) as content:
                buffer = io.BytesIO()
                np.savez(buffer, **{name: content[name] for name in content.files})
            yield start + buffer.getvalue()


def _known_cells() -> Iterator[bytes]:
    pixels = np.asarray(_small(24)).transpose(2, 0, 1)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures([(pixels, "mll")] * 3, Path(folder), "of nobody")
        yield (Path(folder) / "known-cells.zip").read_bytes()


def _fields() -> Iterator[bytes]:
    import tifffile

    pixels = np.asarray(_small(64))
    for options in (
        {},
        {"tile": (32, 32), "compression": "zlib"},
        {"tile": (32, 32), "compression": "lzw", "predictor": True},
        {"tile": (32, 32), "compression": "jpeg"},
        {"rowsperstrip": 16, "compression": "zlib", "bigtiff": True},
        {"byteorder": ">", "rowsperstrip": 16, "resolution": (1e5, 1e5)},
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, photometric="rgb", **options)
        yield LARGE + buffer.getvalue()
        yield PLAIN + buffer.getvalue()
    yield PLAIN + _encoded(_small(64), "JPEG", dpi=(300, 300))
    yield PLAIN + _encoded(_small(64), "PNG", dpi=(300, 300))


def _cases() -> Iterator[bytes]:
    yield CASE.encode()
    yield b'id = "1"\n[[slides]]\nname = "1"\ncells = "."\n'


def _tables() -> Iterator[bytes]:
    lines = (SAMPLES / "cells.csv").read_text().splitlines()[:4]
    yield b"M" + "\r\n".join(lines).encode()
    yield b"M" + b'path,label,um_per_px\n"a,b.zip/1.jpg",LYT,0.1\n../c.jpg,lyt,\n'
    lines = (SAMPLES / "fields" / "boxes.csv").read_text().splitlines()[:4]
    yield b"B" + "\n".join(lines).encode()
    yield b"D" + b"path,label,reviewer,time\n1.jpg,LYT,Ada,2026-03-02T14:30\n"


def _manifests() -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    with (SAMPLES / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))[:3]
    names = {"info": {"features": {"label": {"names": ["LYT", "MON"]}}}}
    pictures = pa.table(
        {"image": [{"bytes": b"\xff\xd8", "path": "1.jpg"}] * 2, "label": [0, 1]}
    ).replace_schema_metadata({"huggingface": json.dumps(names)})
    for table in (pa.Table.from_pylist(rows), pictures):
        buffer = io.BytesIO()
        write_table(table, buffer, compression="none")
        yield buffer.getvalue()


SEEDS = {
    "image": _images,
    "upload": _uploads,
    "container": _containers,
    "bundle": _bundles,
    "arrays": _arrays,
    "known-cells": _known_cells,
    "field": _fields,
    "case": _cases,
    "tables": _tables,
    "manifest": _manifests,
}
"""What makes the seeds of each target."""
