"""Keep of a fuzzer's corpus what is worth replaying: `python tools/fuzz/keep.py TARGET FOLDER`.

Of the cases in FOLDER (as `run.py` leaves it), the smallest are kept that together reach every line
of Python that all of them reach, and those that once failed. They go to `tests/corpus/TARGET`.
"""

import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

from seeds import seeds
from targets import survives

CORPUS = Path(__file__).parents[2] / "tests" / "corpus"
FOLLOWED = ("marrowscope", "PIL", "tifffile", "zipfile", "tarfile", "tomllib", "numpy/lib")
LARGEST = 4096
"""Bytes of a case that is kept for its lines alone."""
Lines = set[tuple[str, int]]


def reached(target: str, content: bytes) -> Lines:
    """Run a case; give the lines that it went through."""
    lines: Lines = set()

    def look(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not any(each in name for each in FOLLOWED):
            return None
        if event == "line":
            lines.add((name, frame.f_lineno))
        return look

    sys.settrace(look)
    with suppress(Exception):
        survives(target, content)
    sys.settrace(None)
    return lines


def chosen(target: str, cases: list[bytes]) -> list[bytes]:
    """Choose the smallest cases that reach what all reach."""
    kept, so_far = [], Lines()
    for case in sorted(set(cases), key=lambda each: (len(each), each)):
        lines = reached(target, case)
        if not lines <= so_far:
            so_far |= lines
            kept.append(case)
    return kept


def main() -> None:
    """Replace what `tests/corpus` has of a target, but for what once failed."""
    target, folder = sys.argv[1], Path(sys.argv[2])
    there = CORPUS / target
    there.mkdir(parents=True, exist_ok=True)
    for old in there.glob("case-*"):
        old.unlink()
    for found in folder.glob("findings/*"):
        if found.suffix != ".traceback":
            (there / f"found-{found.name}").write_bytes(found.read_bytes())
    cases = [file.read_bytes() for file in (folder / "corpus").iterdir()]
    small = [case for case in (*cases, *seeds(target)) if len(case) <= LARGEST]
    for case in chosen(target, small):
        (there / f"case-{sha256(case).hexdigest()[:12]}").write_bytes(case)
    kept = list(there.iterdir())
    print(f"{target}: {len(kept)} cases, {sum(file.stat().st_size for file in kept):,} bytes")


if __name__ == "__main__":
    main()
