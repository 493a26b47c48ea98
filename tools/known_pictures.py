"""Give a bundle that was exported without pictures of its known cells these pictures.

    python tools/known_pictures.py BUNDLE cells.csv "Whose pictures these are; their licence"

The manifest must be that of the training. Neither the model nor its figures are touched.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.evaluation.artifacts import write_card
from marrowscope.io.images import read_image
from marrowscope.locations import within
from marrowscope.model.bundle import Bundle, load_bundle, load_references, write_description
from marrowscope.model.reference_images import Cell, write_pictures


def seen(bundle: Bundle, manifest: Manifest) -> Iterator[Cell]:
    """Give the known cells as the network sees them; the manifest must agree on their classes."""
    known = load_references(bundle)
    cells = {cell.path: cell for cell in manifest.cells}
    for path, label in zip(known.paths, known.labels, strict=True):
        cell = cells.get(path)
        if cell is None or cell.label != label:
            raise SystemExit(f"{path} is no {label} in this manifest; give that of the training")
        image = read_image(within(manifest.root, path))
        yield bundle.preprocessing.resize(image, cell.um_per_px), cell.source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("credit", help="shown beside the pictures, in short")
    arguments = parser.parse_args()
    bundle = load_bundle(str(arguments.bundle))
    if bundle.novelty is None:
        raise SystemExit(f"{arguments.bundle} has no known cells; export its run again")
    cells = seen(bundle, read_manifest(arguments.manifest))
    pictures = write_pictures(cells, bundle.folder, arguments.credit)
    bundle = replace(bundle, novelty=replace(bundle.novelty, pictures=pictures))
    write_description(bundle)
    write_card(bundle)
    print(f"{pictures.cells} pictures in {bundle.folder}")


if __name__ == "__main__":
    main()
