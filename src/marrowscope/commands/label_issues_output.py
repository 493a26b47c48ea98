"""What `marrowscope data doubts` prints."""

import json

from rich.console import Console
from rich.table import Table

from marrowscope.evaluation.label_issues_page import PAGE, TABLE, Doubts, as_dict


def show_doubts(result: Doubts, as_json: bool) -> None:
    """Print how many labels of each class are doubted, and where the list and the page are."""
    if as_json:
        print(json.dumps(as_dict(result), ensure_ascii=False))
        return
    table = Table(title="Labels that may be wrong")
    for heading in ("class", "cells", "doubted", "threshold", "suggested instead"):
        right = heading in {"cells", "doubted", "threshold"}
        table.add_column(heading, justify="right" if right else "left")
    for row in result.by_class:
        instead = ", ".join(f"{code} {cells}" for code, cells in row.suggested.items())
        threshold = "-" if row.threshold is None else f"{row.threshold:.3f}"
        table.add_row(row.code, f"{row.cells:,}", f"{row.doubts:,}", threshold, instead)
    Console().print(table)
    print(f"{len(result.listed):,} of {result.cells:,} labels are doubted; none was changed")
    if result.not_covered:
        cells = ", ".join(f"{code} {count}" for code, count in result.not_covered.items())
        print(f"left out, not covered: {cells}")
    if "val" in result.parts:
        print("note: the model's best epoch and calibration were chosen on the part val")
    print(f"List: {result.folder / TABLE}")
    print(f"Page: {result.folder / PAGE}")
