"""Audit labelled cells: damaged pictures, copies, and pictures that share pixels."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from marrowscope.data.audit.image_stats import summarise
from marrowscope.data.audit.near_duplicates import find_copies
from marrowscope.data.audit.overlaps import PICTURES_KEPT, overlapping
from marrowscope.data.audit.page import write_audit_page
from marrowscope.data.audit.result import PAGE, Audit, Damage, write_lists
from marrowscope.data.audit.survey import Survey, survey
from marrowscope.data.manifest import Manifest
from marrowscope.io.tables import prepare_folder, write_json
from marrowscope.locations import within

SUMMARY, SURVEY = "audit.json", "survey"
USUAL_SHARE = 0.95
"""Share of a source's pictures that must have one size before another size is called odd."""


def audit(
    manifest: Manifest,
    folder: Path,
    *,
    workers: int = 0,
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Audit:
    """Search a manifest; write three lists of findings, `audit.html` and `audit.json`.

    The folder is what `data split --audit` takes; `audit.json` comes last, so an audit without it
    is not finished, and the same call goes on with it. `advance` is called for every picture that
    was measured, in `workers` processes (0: one a core).

    Raises:
        MissingExtraError: the extra `data`, or the library for a store, is not installed.
        OutputError: the folder cannot be used, or holds something and must not be overwritten.
        ImageError: a picture cannot be read any more.
    """
    prepare_folder(folder, overwrite or (folder / SURVEY).is_dir())
    (folder / SUMMARY).unlink(missing_ok=True)
    cells = manifest.cells
    by_content: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        by_content[cell.sha256].append(place)
    first = [places[0] for places in by_content.values()]
    files = [within(manifest.root, cells[place].path) for place in first]
    measured = survey(files, list(by_content), folder / SURVEY, workers=workers, advance=advance)
    load = lru_cache(PICTURES_KEPT)(measured.grey)
    sources = [cells[place].source for place in first]
    result = Audit(
        manifest,
        tuple(replace(d, place=first[d.place]) for d in _damaged(measured, sources)),
        tuple(pair for places in by_content.values() for pair in pairwise(places)),
        tuple(
            replace(copy, a=first[copy.a], b=first[copy.b])
            for copy in find_copies(measured.signatures, load)
        ),
        tuple(
            replace(overlap, a=first[overlap.a], b=first[overlap.b])
            for overlap in overlapping(measured.corners, load)
        ),
        summarise(measured.looks, sources),
    )
    write_lists(result, folder)
    write_audit_page(result, folder / PAGE)
    write_json(folder / SUMMARY, result.summary())
    del measured, load
    rmtree(folder / SURVEY)
    return result


def _damaged(measured: Survey, sources: Sequence[str]) -> list[Damage]:
    damaged = [
        Damage(place, problem.kind, problem.reason)
        for place, problem in enumerate(measured.problems)
        if problem.kind
    ]
    return damaged + _odd_sizes(measured.looks[:, :2], sources)


def _odd_sizes(sizes: np.ndarray[Any, Any], sources: Sequence[str]) -> list[Damage]:
    """Find pictures of another size than nearly all of their source have; (N, 2) pixels."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for place, source in enumerate(sources):
        if not np.isnan(sizes[place, 0]):
            by_source[source].append(place)
    odd = []
    for places in by_source.values():
        counts = Counter((int(sizes[place, 0]), int(sizes[place, 1])) for place in places)
        (width, height), usual = counts.most_common(1)[0]
        if usual >= USUAL_SHARE * len(places):
            odd += [
                Damage(
                    place,
                    "odd size",
                    f"{int(sizes[place, 0])} x {int(sizes[place, 1])} pixels, where "
                    f"{usual / len(places):.1%} of its source have {width} x {height}",
                )
                for place in places
                if tuple(sizes[place]) != (width, height)
            ]
    return odd
