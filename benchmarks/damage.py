"""How many broken pictures are found, and how many whole ones are called broken.

python benchmarks/damage.py CELLS_CSV [CELLS_TO_BREAK]

Each cell is broken in its compressed data, as stored and after saving it with half the colour
resolution (4:2:0, as the public bone marrow set is stored), and is looked at twice: as the broken
file, and decoded and saved again, so that only the pixels tell.
"""

import argparse
import io
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marrowscope.data.audit.corruption import find_damage
from marrowscope.data.manifest import read_manifest
from marrowscope.metrics.classification import exact_interval

VISIBLE = 1.0
"""Mean absolute difference of all pixels and channels, in levels (0..255), that counts as seen."""
STEPS = (1, 2, 4, 8, 256)
"""Limits of that difference, in levels, between which the detection is told apart."""
MARGIN = 0.05
"""Share of the compressed data at either end that is left alone."""

Pixels = NDArray[np.uint8]
Breaking = Callable[[bytearray, int, np.random.Generator], None]


def overwrite(count: int) -> Breaking:
    def breaking(data: bytearray, at: int, random: np.random.Generator) -> None:
        data[at : at + count] = random.bytes(count)

    return breaking


def zero(count: int) -> Breaking:
    def breaking(data: bytearray, at: int, _: np.random.Generator) -> None:
        data[at : at + count] = bytes(count)

    return breaking


def delete(count: int) -> Breaking:
    def breaking(data: bytearray, at: int, _: np.random.Generator) -> None:
        del data[at : at + count]

    return breaking


def insert(count: int) -> Breaking:
    def breaking(data: bytearray, at: int, random: np.random.Generator) -> None:
        data[at:at] = random.bytes(count)

    return breaking


def cut(data: bytearray, at: int, _: np.random.Generator) -> None:
    del data[at:]


def cut_and_end(data: bytearray, at: int, _: np.random.Generator) -> None:
    data[at:] = b"\xff\xd9"


BREAKINGS: dict[str, Breaking] = {
    "overwrite 1 byte": overwrite(1),
    "overwrite 4 bytes": overwrite(4),
    "overwrite 16 bytes": overwrite(16),
    "overwrite 64 bytes": overwrite(64),
    "zero 16 bytes": zero(16),
    "zero 256 bytes": zero(256),
    "delete 1 byte": delete(1),
    "delete 16 bytes": delete(16),
    "delete 256 bytes": delete(256),
    "insert 1 byte": insert(1),
    "insert 16 bytes": insert(16),
    "cut off": cut,
    "cut off, end marker set": cut_and_end,
}


def decode(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def save(pixels: Pixels, **settings: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **settings)
    return buffer.getvalue()


def break_scan(content: bytes, breaking: Breaking, random: np.random.Generator) -> bytes:
    """Break a JPEG somewhere in its compressed data."""
    header = content.rfind(b"\xff\xda") + 2
    start = header + int.from_bytes(content[header : header + 2], "big")
    room = int((len(content) - start) * MARGIN)
    at = int(random.integers(start + room, len(content) - room))
    data = bytearray(content)
    breaking(data, at, random)
    return bytes(data)


def broken(
    contents: list[bytes], breaking: Breaking, random: np.random.Generator
) -> Iterator[tuple[bytes, Pixels, float] | None]:
    """Give broken files with their pixels and how far these differ; None where none come out."""
    for content in contents:
        data = break_scan(content, breaking, random)
        try:
            pixels = decode(data)
        except (OSError, SyntaxError, ValueError):
            yield None
            continue
        whole = decode(content)
        if pixels.shape != whole.shape:
            yield None
            continue
        yield data, pixels, float(np.abs(pixels.astype(np.int16) - whole).mean())


def share(found: int, of: int) -> str:
    interval = exact_interval(found, of)
    return f"{interval.value:.3f} ({interval.low:.3f}-{interval.high:.3f})"


def detection(contents: list[bytes], seed: int = 0) -> None:
    """Print the share of the visibly broken pictures that is found, by kind of damage."""
    random = np.random.default_rng(seed)
    by_step = defaultdict[float, Counter[str]](Counter)
    total = Counter[str]()
    for kind, breaking in BREAKINGS.items():
        counts = Counter[str]()
        for result in broken(contents, breaking, random):
            if result is None:
                counts["refused"] += 1
                continue
            data, pixels, difference = result
            if difference < VISIBLE:
                counts["unseen"] += 1
                continue
            again = save(pixels, quality=90, subsampling=0)
            step = max(limit for limit in STEPS if limit <= difference)
            for each in (counts, total, by_step[step]):
                each["visible"] += 1
                each["file"] += find_damage(data, pixels) is not None
                each["again"] += find_damage(again, decode(again)) is not None
        line(f"{kind}: n {len(contents)}, refused {counts['refused']}", counts)
    line("all", total)
    for least, counts in sorted(by_step.items()):
        line(f"differing by {least} levels up to {STEPS[STEPS.index(least) + 1]}", counts)


def line(name: str, counts: Counter[str]) -> None:
    seen = counts["visible"]
    file, again = share(counts["file"], seen), share(counts["again"], seen)
    print(f"{name}, visible {seen}: file {file}, saved again {again}", flush=True)


def false_alarms(files: list[Path]) -> None:
    """Print which whole cells are called broken: untouched, moved against the blocks, re-saved."""
    alarms: dict[str, list[str]] = {
        "untouched": [],
        "moved by 3 and 5 pixels": [],
        "turned": [],
        "half the colour resolution": [],
    }
    for file in files:
        content = file.read_bytes()
        pixels = decode(content)
        halved = save(pixels, quality=95, subsampling=2)
        looks = (content, pixels), (b"", pixels[3:, 5:]), (b"", np.rot90(pixels))
        for found, look in zip(alarms.values(), (*looks, (halved, decode(halved))), strict=True):
            damage = find_damage(*look)
            if damage:
                found.append(f"{file.name}: {damage}")
    for name, found in alarms.items():
        print(
            f"{name}: {len(found)} of {len(files)} called broken, {share(len(found), len(files))}"
        )
        for alarm in found:
            print(f"  {alarm}")


def speed(contents: list[bytes]) -> None:
    looks = [(content, decode(content)) for content in contents]
    start = time.process_time()
    for look in looks:
        find_damage(*look)
    print(f"{len(looks) / (time.process_time() - start):.0f} pictures per core-second")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells", type=Path)
    parser.add_argument("number", nargs="?", type=int, default=500)
    given = parser.parse_args()
    manifest = read_manifest(given.cells)
    files = [manifest.root / cell.path for cell in manifest.cells]
    chosen = np.random.default_rng(0).permutation(len(files))[: given.number]
    contents = [files[place].read_bytes() for place in chosen]
    speed(contents)
    print("As stored")
    detection(contents)
    print("Saved with half the colour resolution first")
    detection([save(decode(content), quality=95, subsampling=2) for content in contents])
    false_alarms(files)


if __name__ == "__main__":
    main()
