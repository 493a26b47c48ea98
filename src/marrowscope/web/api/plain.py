"""Our records as plain JSON: what is no number is null."""

import math
from dataclasses import fields, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Give records, lists and numbers as JSON knows them; NaN and infinity become null."""
    if is_dataclass(value):
        return plain_fields(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plain_fields(record: Any) -> dict[str, Any]:
    """Give a record by the names of its fields."""
    return {each.name: plain(getattr(record, each.name)) for each in fields(record)}
