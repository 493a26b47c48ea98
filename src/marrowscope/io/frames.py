"""Rows as a pandas DataFrame, where pandas is installed."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from marrowscope.errors import MissingExtraError


def data_frame(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Any:
    """Give rows as a `pandas.DataFrame` with these columns, in this order; it may be empty.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise MissingExtraError(
            "to_pandas needs pandas; install it with: pip install pandas"
        ) from None
    return pandas.DataFrame(list(rows), columns=list(columns))
