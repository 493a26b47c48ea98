"""Predictions as a Parquet file, for those who work on them with other programs."""

import csv
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from marrowscope.errors import OutputError
from marrowscope.io.archives import arrow
from marrowscope.io.tables import REPLACE, TEXTS, whole_file
from marrowscope.locations import Location, store_of

BYTES_AT_ONCE = 2**20
"""Of the CSV; memory does not grow with the number of cells."""


ROWS_A_PART = 2**16


def write_parquet(predictions: Path, table: Path) -> None:
    """Turn `predictions.csv` into a Parquet file with the same columns, probabilities as doubles.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = arrow()
    with (
        _rows(predictions) as rows,
        whole_file(table) as partial,
        pa.parquet.ParquetWriter(partial, rows.schema) as writer,
    ):
        for batch in rows:
            writer.write_batch(batch)


def write_parts(predictions: Path, place: Location, *, overwrite: bool) -> None:
    """Turn `predictions.csv` into a Parquet data set: a folder or store of parts in their order.

    The columns are those of `write_parquet`; a part has 65,536 rows at most. If it goes wrong, no
    part stays in a folder.

    Raises:
        OutputError: something is there and must not be overwritten, it cannot be written, or the
            URL is of no kind of store that is reached.
        MissingExtraError: pyarrow, or the library for such a store, is not installed.
    """
    arrow()
    data_set = import_module("pyarrow.dataset")
    store, folder = place_of_parts(place)
    try:
        with _rows(predictions) as rows:
            data_set.write_dataset(
                rows,
                folder,
                filesystem=store,
                format="parquet",
                basename_template="part-{i}.parquet",
                max_rows_per_file=ROWS_A_PART,
                max_rows_per_group=ROWS_A_PART,
                use_threads=False,
                existing_data_behavior="delete_matching" if overwrite else "error",
            )
    except OSError as error:
        if isinstance(place, Path):
            _remove_parts(place)
        raise OutputError(f"{place} cannot be written ({error})") from None
    except ValueError:
        raise OutputError(
            f"{place} already holds something; give another place, or {REPLACE}"
        ) from None


def place_of_parts(place: Location) -> tuple[Any, str]:
    """Give the store that a Parquet data set goes to, None for a disk, and the folder in it.

    Raises:
        OutputError: the URL is of no kind of store that is reached.
        MissingExtraError: the library for such a store is not installed.
    """
    try:
        return (None, str(place)) if isinstance(place, Path) else store_of(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written ({error.strerror})") from None


def _remove_parts(folder: Path) -> None:
    """Remove the parts of a data set that is not whole: the last one may be half written."""
    for part in folder.glob("part-*.parquet"):
        with suppress(OSError):
            part.unlink()


def _rows(predictions: Path) -> Any:
    """Read `predictions.csv` in batches, with its types."""
    pa, text = arrow(), import_module("pyarrow.csv")
    with predictions.open(newline="", encoding="utf-8") as lines:
        header = next(csv.reader(lines))
    types = {name: pa.string() if name in TEXTS else pa.float64() for name in header}
    return text.open_csv(
        predictions,
        read_options=text.ReadOptions(use_threads=False, block_size=BYTES_AT_ONCE),
        parse_options=text.ParseOptions(newlines_in_values=True),
        convert_options=text.ConvertOptions(column_types=types),
    )
