"""Divide cells into parts without leaks: whole groups, stratified by source and class."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from marrowscope.data.split import HELD_OUT, Split, SplitRow, check_split, unknown_pair
from marrowscope.data.split_plan import SplitPlan
from marrowscope.errors import SplitError
from marrowscope.types import Cell

Pair = tuple[str, str]
"""Paths of two cells that must stay together."""


def divide(
    cells: Sequence[Cell], pairs: Iterable[Pair] | None = None, plan: SplitPlan | None = None
) -> Split:
    """Divide cells by whole groups, the same way in whatever order they come.

    A group is what shares a patient, slide or field, the same content, or is named together in
    `pairs`. In each stratum, shuffled groups go one by one to the part that is furthest below its
    share: of 100 single cells at 0.7, 0.15 and 0.15, the parts get 70, 15 and 15. A stratum of
    fewer cells than the plan's `min_stratum` goes whole to the last part. Listed parts hold what
    their list names; all other cells go to the other parts, whatever their number.

    Raises:
        SplitError: a pair names an unknown cell, a list one that is unknown, in another list, held
            out or not the only one of its name, or a listed cell shares a group with one outside
            its part; the message names the files.
    """
    plan = plan or SplitPlan()
    known_pairs = None if pairs is None else list(pairs)
    ordered = sorted(cells, key=lambda cell: (cell.sha256, cell.path))
    group_of = number_groups(ordered, known_pairs or ())
    listed = _listed(ordered, plan)
    leaking = _leaks(ordered, group_of, listed, plan)
    left_out = Counter({"shares a group with a listed cell": len(leaking)})
    chosen = _choose(ordered, listed, leaking, plan, left_out)
    part_of = {group_of[index]: part for index, part in listed.items()}
    part_of |= {
        group_of[index]: HELD_OUT
        for index, cell in enumerate(ordered)
        if cell.sha256 in plan.held_out
    }
    sizes = Counter(group_of[index] for index in chosen)
    shuffle = random.Random(plan.seed)
    for groups in _strata(ordered, chosen, group_of, part_of):
        part_of |= _allot({group: sizes[group] for group in groups}, plan, shuffle)
    rows = tuple(
        SplitRow(ordered[index], group_of[index], part_of[group_of[index]]) for index in chosen
    )
    return check_split(Split(rows, plan.seed, grouped_by(ordered, known_pairs), dict(+left_out)))


def folds(
    cells: Sequence[Cell], pairs: Iterable[Pair] | None, plan: SplitPlan, count: int
) -> list[Split]:
    """Divide cells into splits whose test parts are disjoint and cover all cells.

    Of 5 folds, the first tests on the first fifth, validates on the second and trains on the rest.
    Classes with few cells are spread over all folds. Of the plan, the shares and `min_stratum` do
    not count, and there must be no lists.

    Raises:
        SplitError: fewer than three folds are asked for, the plan has lists, or `divide` raises it.
    """
    if plan.lists:
        raise SplitError(
            f"a list makes up the part {', '.join(plan.lists)}, and folds take turns as parts; "
            "give either --list or --folds"
        )
    if count < 3:
        raise SplitError(f"at least 3 folds are needed (train, val and test); got {count}")
    names = [str(number) for number in range(count)]
    even = replace(plan, shares=dict.fromkeys(names, 1 / count), min_stratum=0)
    split = divide(cells, pairs, even)
    splits = []
    for number in range(count):
        part_of = dict.fromkeys(names, "train")
        part_of |= {names[(number + 1) % count]: "val", names[number]: "test"}
        part_of[HELD_OUT] = HELD_OUT
        rows = tuple(replace(row, part=part_of[row.part]) for row in split.rows)
        splits.append(replace(split, rows=rows))
    return splits


def number_groups(cells: Sequence[Cell], pairs: Iterable[Pair] = ()) -> list[int]:
    """Number the groups (0..G-1) of cells that must stay together; one number for each cell.

    Raises:
        SplitError: a pair names an unknown cell.
    """
    index_of = {cell.path: index for index, cell in enumerate(cells)}
    edges: list[tuple[int, int]] = []
    first: dict[tuple[str, ...], int] = {}
    for index, cell in enumerate(cells):
        edges += [(first.setdefault(key, index), index) for key in _keys(cell)]
    for pair in pairs:
        unknown = [path for path in pair if path not in index_of]
        if unknown:
            raise unknown_pair(unknown)
        edges.append((index_of[pair[0]], index_of[pair[1]]))
    ends = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    shape = (len(cells), len(cells))
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=shape)
    _, numbers = connected_components(graph, directed=False)
    return [int(number) for number in numbers]


def _keys(cell: Cell) -> list[tuple[str, ...]]:
    """Name what a cell shares with its group; numbers of patients differ between sources."""
    keys: list[tuple[str, ...]] = [("content", cell.sha256)]
    if cell.patient:
        keys.append(("patient", cell.source, cell.patient))
    if cell.slide:
        keys.append(("slide", cell.source, cell.patient, cell.slide))
    if cell.field:
        keys.append(("field", cell.source, cell.patient, cell.slide, cell.field))
    return keys


def grouped_by(cells: Sequence[Cell], pairs: Sequence[Pair] | None) -> str:
    """Say in words what kept cells together; `pairs` is None where no audit looked for any."""
    fields_with_values = [
        name for name in ("patient", "slide", "field") if any(getattr(c, name) for c in cells)
    ]
    words = [*fields_with_values, "same content"]
    audited = (
        "no list of overlapping pictures" if pairs is None else f"{len(pairs):,} pairs of an audit"
    )
    words.append(audited)
    return ", ".join(words) + ("" if "patient" in fields_with_values else " (no patient is known)")


def _listed(cells: Sequence[Cell], plan: SplitPlan) -> dict[int, str]:
    """Give the part of each cell that a list names, by index."""
    part_of: dict[int, str] = {}
    for part, names in plan.lists.items():
        indices = [index for index, cell in enumerate(cells) if PurePath(cell.path).name in names]
        _check_list(part, names, [cells[index] for index in indices])
        for index in indices:
            if part_of.setdefault(index, part) != part:
                raise SplitError(f"{cells[index].path} is in the lists of two parts")
            if cells[index].sha256 in plan.held_out:
                raise SplitError(f"{cells[index].path} is in the list of {part!r}, and held out")
    return part_of


def _leaks(
    cells: Sequence[Cell], group_of: Sequence[int], listed: Mapping[int, str], plan: SplitPlan
) -> set[int]:
    """Give the cells that share a group with a listed one of another part.

    Raises:
        SplitError: a list names them too, or they are not to be left out.
    """
    first: dict[int, int] = {}
    for index in listed:
        first.setdefault(group_of[index], index)
    leaks = {
        index: first[group]
        for index, group in enumerate(group_of)
        if group in first and listed.get(index) != listed[first[group]]
    }
    between_lists = [index for index in leaks if index in listed]
    if between_lists or (leaks and not plan.leave_out_leaks):
        index = next(iter(between_lists or leaks))
        raise SplitError(
            f"{len(leaks):,} cells share a group with a cell of a listed part (the first: "
            f"{cells[index].path} and {cells[leaks[index]].path}); those that no list names are "
            "left out with --leave-out-leaks"
        )
    return set(leaks)


def _check_list(part: str, names: frozenset[str], cells_listed: Sequence[Cell]) -> None:
    counts = Counter(PurePath(cell.path).name for cell in cells_listed)
    missing = sorted(names - counts.keys())
    twice = sorted(name for name, count in counts.items() if count > 1)
    if missing or twice:
        reason = "is not in the data" if missing else "is the name of several cells"
        raise SplitError(
            f"the list of the part {part!r}: {len(missing or twice):,} of its {len(names):,} file "
            f"names cannot be used, as {(missing or twice)[0]} {reason}"
        )


def _choose(
    cells: Sequence[Cell],
    listed: Mapping[int, str],
    leaking: set[int],
    plan: SplitPlan,
    left_out: Counter[str],
) -> list[int]:
    """Choose the cells of the scheme, at most `cap` of each class; listed ones come first."""
    usable: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        if plan.classes and cell.label not in plan.classes:
            left_out["of a class outside the scheme"] += 1
        elif plan.sources and cell.source not in plan.sources:
            left_out["of another source"] += 1
        elif cell.path in plan.damaged:
            left_out["unreadable or damaged"] += 1
        elif index not in listed and not plan.shares.keys() - plan.lists.keys():
            left_out["in no list"] += 1
        elif index not in leaking:
            usable[cell.label].append(index)
    shuffle = random.Random(plan.seed)
    chosen: list[int] = []
    for _, indices in sorted(usable.items()):
        shuffle.shuffle(indices)
        indices.sort(key=lambda index: index not in listed)
        limit = plan.cap or len(indices)
        chosen += indices[:limit]
        left_out["above the cap of its class"] += len(indices[limit:])
    return sorted(chosen)


def _strata(
    cells: Sequence[Cell],
    chosen: Iterable[int],
    group_of: Sequence[int],
    allotted: Mapping[int, str],
) -> list[list[int]]:
    """Collect the groups still to allot by source and class of their first cell."""
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    placed = set(allotted)
    for index in chosen:
        if group_of[index] not in placed:
            placed.add(group_of[index])
            strata[cells[index].source, cells[index].label].append(group_of[index])
    return [groups for _, groups in sorted(strata.items())]


def _allot(sizes: Mapping[int, int], plan: SplitPlan, shuffle: random.Random) -> dict[int, str]:
    """Give each group of a stratum its part, by the shares of the parts that no list makes up."""
    total = sum(sizes.values())
    if total < plan.min_stratum and not plan.lists:
        return dict.fromkeys(sizes, list(plan.shares)[-1])
    shares = {part: share for part, share in plan.shares.items() if part not in plan.lists}
    scale = total / sum(shares.values())
    groups = list(sizes)
    shuffle.shuffle(groups)
    part_of: dict[int, str] = {}
    have = Counter[str]()
    for group in groups:
        part = max(shares, key=lambda name: shares[name] * scale - have[name])
        part_of[group] = part
        have[part] += sizes[group]
    return part_of
