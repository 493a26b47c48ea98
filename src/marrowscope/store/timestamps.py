"""Points in time: always with a zone, always UTC, the same on both engines."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

SKEW = timedelta(minutes=5)
"""By which the clocks of servers may differ."""


def now() -> datetime:
    """Give the time, in UTC."""
    return datetime.now(UTC)


def is_between(moment: datetime, start: datetime, ends: datetime) -> bool:
    """Tell whether what was made then still holds at a moment.

    What was made more than five minutes later than the moment does not hold: the clock was set
    back, and would give it more time than it was meant to have. Servers' clocks may differ by less.
    """
    return start - SKEW <= moment < ends


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no zones, so it is put back when a time is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a time into UTC without its zone for SQLite; others take it as it is."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give a time with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
