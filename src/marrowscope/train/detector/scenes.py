"""Scenes that the finder learns from: parts of real fields, and real cells laid onto them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from marrowscope.train.detector.copy_paste import Cutout, lay, turned

SIDE = 112
"""Of a scene in pixels: 28 um."""
SCALES = (0.78, 1.3)
"""By how much a scene is enlarged: scales told by red cells are that far off."""
LEAST_SEEN = 0.2
"""Share of a box inside the scene above which it counts."""
COVERED = 0.4
"""Share of a box under a cell laid onto it above which it is gone."""


@dataclass(frozen=True)
class Scene:
    """Part of a field with the boxes on it."""

    densities: np.ndarray
    """`(H, W, 3) float32`, optical density at 0.25 um per pixel."""
    boxes: np.ndarray
    """`(N, 4) float32`: x0, y0, x1, y1 in pixels."""
    kinds: np.ndarray
    """`(N,) int`: places in `finder_net.KINDS`."""


def draw_scene(
    fields: Sequence[Scene], cells: Sequence[Cutout], random: np.random.Generator
) -> Scene:
    """Draw a square of `SIDE` from a field, half of the time with cells laid onto it; vary it."""
    part = _part(fields[int(random.integers(len(fields)))], random)
    if cells and random.random() < 0.5:
        part = lay_cells(part, cells, random, int(random.integers(1, 9)))
    return _varied(_flipped(part, random), random)


def _part(field: Scene, random: np.random.Generator) -> Scene:
    """Cut a square of `SIDE`, at a scale of `SCALES`; beyond the field it is empty."""
    scale = float(np.exp(random.uniform(*np.log(SCALES))))
    around = SIDE / scale
    x, y = (
        random.uniform(min(0, size - around) - 4, max(0, size - around) + 4)
        for size in field.densities.shape[1::-1]
    )
    grid = np.mgrid[:SIDE, :SIDE] / scale
    at = np.stack([grid[0] + y, grid[1] + x])
    soft = (
        ndimage.gaussian_filter(field.densities, (0.4 / scale, 0.4 / scale, 0))
        if scale < 1
        else field.densities
    )
    pixels = np.stack([ndimage.map_coordinates(soft[..., c], at, order=1) for c in range(3)], -1)
    boxes = (field.boxes - np.array([x, y, x, y], np.float32)) * scale
    return _clipped(Scene(pixels.astype(np.float32), boxes, field.kinds))


def _clipped(scene: Scene) -> Scene:
    tall, wide = scene.densities.shape[:2]
    whole = np.prod(scene.boxes[:, 2:] - scene.boxes[:, :2], axis=1)
    boxes = np.clip(scene.boxes, 0, np.array([wide, tall, wide, tall], np.float32))
    visible_area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    keep = visible_area > LEAST_SEEN * whole
    return Scene(scene.densities, boxes[keep], scene.kinds[keep])


def lay_cells(
    scene: Scene, cells: Sequence[Cutout], random: np.random.Generator, number: int
) -> Scene:
    """Lay cells onto a scene, most of them touching or overlapping another a little.

    A cell for which no place is found is left out, so there may be fewer than `number`.
    """
    densities, boxes, kinds = scene.densities.copy(), list(scene.boxes), list(scene.kinds)
    for _ in range(number):
        cell = turned(cells[int(random.integers(len(cells)))], random)
        laid = [box for box, kind in zip(boxes, kinds, strict=True) if kind == 0]
        place = _place(cell, laid, densities.shape[:2], random)
        if place is None:
            continue
        new = lay(densities, cell, *place)
        gone = _covered(np.array(boxes).reshape(-1, 4), new)
        boxes = [box for box, under in zip(boxes, gone, strict=True) if not under] + [new]
        kinds = [kind for kind, under in zip(kinds, gone, strict=True) if not under] + [0]
    drawn = Scene(densities, np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, int))
    return _clipped(drawn)


def _place(
    cell: Cutout, laid: Sequence[np.ndarray], shape: tuple[int, ...], random: np.random.Generator
) -> tuple[int, int] | None:
    """Find where a cell's corner goes so that it hides no nucleated cell; None after 20 tries."""
    tall, wide = cell.mask.shape
    for _ in range(20):
        x = random.uniform(-wide / 3, shape[1] - wide * 2 / 3)
        y = random.uniform(-tall / 3, shape[0] - tall * 2 / 3)
        if laid and random.random() < 0.7:
            x0, y0, x1, y1 = laid[int(random.integers(len(laid)))]
            angle = random.uniform(0, 2 * np.pi)
            apart = random.uniform(0.82, 1.05) / 2
            x = (x0 + x1 - wide) / 2 + apart * (x1 - x0 + wide) * np.cos(angle)
            y = (y0 + y1 - tall) / 2 + apart * (y1 - y0 + tall) * np.sin(angle)
        new = np.array([x, y, x + wide, y + tall])
        middle_inside = -wide / 2 < x < shape[1] - wide / 2 and -tall / 2 < y < shape[0] - tall / 2
        if middle_inside and not any(_shares(new, other) > 0.3 for other in laid):
            return round(x), round(y)
    return None


def _shares(one: np.ndarray, other: np.ndarray) -> float:
    """Shared area by that of the smaller box."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(np.prod(np.clip(sides, 0, None)) / min(areas))


def _covered(boxes: np.ndarray, new: np.ndarray) -> np.ndarray:
    sides = np.minimum(boxes[:, 2:], new[2:]) - np.maximum(boxes[:, :2], new[:2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(np.prod(np.clip(sides, 0, None), axis=1) > COVERED * areas)


def _flipped(scene: Scene, random: np.random.Generator) -> Scene:
    densities, boxes = scene.densities, scene.boxes
    side = densities.shape[0]
    if random.random() < 0.5:
        densities = densities[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [side, 0, side, 0]
    if random.random() < 0.5:
        densities = densities[::-1]
        boxes = boxes[:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, side, 0, side]
    if random.random() < 0.5:
        densities, boxes = densities.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return Scene(densities, boxes, scene.kinds)


def _varied(scene: Scene, random: np.random.Generator) -> Scene:
    """Vary stain, light, focus and noise."""
    mix = np.eye(3) + random.normal(0, 0.08, (3, 3))
    densities = np.clip(scene.densities, -0.3, 3) @ mix.T.astype(np.float32)
    densities = densities * np.exp(random.normal(0, 0.22)) * np.exp(random.normal(0, 0.12, 3))
    densities = np.sign(densities) * np.abs(densities) ** np.exp(random.normal(0, 0.12))
    densities = densities + random.normal(0, 0.04, 3)
    if random.random() < 0.4:
        densities = ndimage.gaussian_filter(densities, (random.uniform(0.3, 1.5),) * 2 + (0,))
    densities = densities + random.normal(0, random.uniform(0, 0.05), densities.shape)
    return Scene(np.clip(densities, -0.3, 3).astype(np.float32), scene.boxes, scene.kinds)
