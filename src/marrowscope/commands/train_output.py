"""What trainings, sweeps and exports print."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marrowscope.train.export import Exported
    from marrowscope.train.fit import Trained
    from marrowscope.train.tune import Tuned


def show_trained(result: "Trained", as_json: bool) -> None:
    """Print which classes were learnt, how well, and where the run is."""
    if as_json:
        values = asdict(result) | {"folder": str(result.folder)}
        print(json.dumps(values))
        return
    print(f"learnt: {' '.join(result.classes)}")
    for code, reason in result.left_out.items():
        print(f"left out: {code}: {reason}")
    print(f"best validation macro-F1: {result.best_macro_f1:.4f}")
    print(f"Run: {result.folder}")


def show_tuned(result: "Tuned", as_json: bool) -> None:
    """Print the best trial, what it changed, how many trials there were, and where they are."""
    if as_json:
        print(json.dumps(asdict(result), default=str))
        return
    print(f"{result.done:,} trials, {result.pruned:,} pruned, {result.failed:,} failed")
    print(f"best validation macro-F1: {result.best_macro_f1:.4f} (trial {result.best_trial})")
    for name, value in result.best.items():
        print(f"  {name} = {value}")
    print(f"Recipe: {result.folder / 'best.toml'}")
    print(f"Page: {result.folder / 'sweep.html'}")


def show_exported(result: "Exported", as_json: bool) -> None:
    """Print how well the bundle agrees with its run, where it is, and its digest.

    Raises:
        BundleError: a file of the bundle is not there.
    """
    from marrowscope.model.bundle import digest

    whole = digest(result.bundle)
    if as_json:
        values = {"folder": str(result.bundle.folder), "sha256": whole}
        print(json.dumps(values | {"agreement": list(result.agreement)}))
        return
    for line in result.agreement:
        print(line)
    size = result.bundle.model_file.stat().st_size / 1e6
    print(f"Bundle: {result.bundle.folder} ({size:.1f} MB), SHA-256 {whole}")
