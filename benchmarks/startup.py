"""Seconds of a whole process: `marrowscope --help`, and one cell classified from a cold start.

.venv/bin/python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
CELL = min(Path("samples/cells/mll/BLA").iterdir())


def seconds(*arguments: str) -> list[float]:
    """Time a command several times, after one run that is not counted."""
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "marrowscope", *arguments], check=True, capture_output=True
        )
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "--help": ["--help"],
            "classify, one cell": [
                "classify",
                str(CELL),
                "--um-per-px",
                "0.086",
                "--overwrite",
                "--output",
                folder,
            ],
        }
        for name, arguments in commands.items():
            times = seconds(*arguments)
            print(
                f"{name}: median {statistics.median(times):.2f} s "
                f"({min(times):.2f} to {max(times):.2f}, {ROUNDS} runs)"
            )


if __name__ == "__main__":
    main()
