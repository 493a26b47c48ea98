"""Predictions as a Parquet file, for those who work on them with other programs."""

import csv
from importlib import import_module
from pathlib import Path

from marrowscope.contents import arrow
from marrowscope.results import TEXTS, whole_file

BYTES_AT_ONCE = 2**20
"""Of the CSV; memory does not grow with the number of cells."""


def write_parquet(predictions: Path, table: Path) -> None:
    """Turn `predictions.csv` into a Parquet file with the same columns, probabilities as doubles.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, text = arrow(), import_module("pyarrow.csv")
    with predictions.open(newline="", encoding="utf-8") as lines:
        header = next(csv.reader(lines))
    types = {name: pa.string() if name in TEXTS else pa.float64() for name in header}
    schema = pa.schema(types)
    with (
        text.open_csv(
            predictions,
            read_options=text.ReadOptions(use_threads=False, block_size=BYTES_AT_ONCE),
            parse_options=text.ParseOptions(newlines_in_values=True),
            convert_options=text.ConvertOptions(column_types=types),
        ) as rows,
        whole_file(table) as partial,
        pa.parquet.ParquetWriter(partial, schema) as writer,
    ):
        for batch in rows:
            writer.write_batch(batch)
