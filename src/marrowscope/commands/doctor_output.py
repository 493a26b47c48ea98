"""What `marrowscope doctor` prints."""

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrowscope.inference.doctor import Examined


def show_examined(result: Examined, as_json: bool) -> None:
    """Print what the machine has, how fast it is, and what could be installed besides."""
    if as_json:
        print(json.dumps(asdict(result)))
        return
    machine = result.machine
    table = Table(show_header=False, box=None)
    gpus = ", ".join(machine.gpus) or "none that is used"
    for name, value in (
        ("marrowscope", f"{result.marrowscope}, Python {machine.python}, {machine.system}"),
        ("processor", f"{machine.processor}, {machine.cores} cores for this process"),
        ("instructions", ", ".join(machine.instructions) or "none that speed networks up"),
        ("memory", f"{machine.memory_gb:.1f} GB, {machine.memory_free_gb:.1f} GB free"),
        ("GPU", gpus),
        ("bundle", f"{result.bundle}, {result.precision}, {result.signature}"),
    ):
        table.add_row(name, escape(value))
    for name, rate in result.engine_rates.items():
        chosen = "  <- used for many cells" if name == result.engine else ""
        table.add_row(f"engine {name}", f"{rate:.1f} cells a second{chosen}")
    table.add_row("from JPEG files", f"{result.cells_per_second:.1f} cells a second")
    table.add_row("a count of 500", f"about {500 / result.cells_per_second:.0f} seconds")
    Console().print(table)
    print(f"bundle {result.bundle}, SHA-256: {result.bundle_sha256}")
    for what, line in result.missing.items():
        print(f"not installed: {what}; install it with: {line}")
