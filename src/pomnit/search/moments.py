"""Times as people give them to a command: 2026-11-01T09:30, "вчера", "last week"; an interval of local time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pomnit.errors import UsageError
from pomnit.search.dates import find_dates
from pomnit.search.query import moment
from pomnit.text.times import utc

Span = tuple[str, str]  # the first moment, and the first that is no longer meant, as records write times


def span(after: str | None, before: str | None, during: str | None, now: datetime) -> tuple[str | None, str | None]:
    """Gives from when on and before when, as records write times; None where nothing is demanded.

    Raises:
        UsageError: no dates, both ways to say it, or an end that is not behind the beginning.
    """
    if during is not None:
        if after is not None or before is not None:
            raise UsageError("give either during, or after and before")
        return of_date("during", during, now)
    start = None if after is None else begins("after", after, now)
    end = None if before is None else begins("before", before, now)
    if start is not None and end is not None and start >= end:
        raise UsageError(f"after:{after} is not before before:{before}, so nothing is between them")
    return start, end


def begins(name: str, value: str, now: datetime) -> str:
    """Gives the moment at which a date begins, as records write times; ``name`` is that of the argument.

    Raises:
        UsageError: it is no date.
    """
    relative = _relative(value, now)
    return relative[0] if relative else _absolute(name, value)


def of_date(name: str, value: str, now: datetime) -> Span:
    """Gives the span of a date: that of a relative one, else of a whole year, month, day, minute or second.

    Raises:
        UsageError: it is no date.
    """
    relative = _relative(value, now)
    if relative:
        return relative
    start = _absolute(name, value)
    return start, _end(value.strip(), start)


def _relative(value: str, now: datetime) -> Span | None:
    """Gives the span of a value that is a relative date and nothing else."""
    plain = " ".join(value.split())
    found = find_dates(plain, now.astimezone().replace(tzinfo=None)) if plain else None
    if found is None or found.span != (0, len(plain)):
        return None
    return utc(found.after), utc(found.before)


def _absolute(name: str, value: str) -> str:
    try:
        return moment(name, value)
    except UsageError as error:
        raise UsageError(f"{error}; or yesterday, last week, вчера, на прошлой неделе") from error


def _end(written: str, start: str) -> str:
    """Gives the first moment behind a date that was written as a year, month, day, minute or second."""
    local = datetime.fromisoformat(start).astimezone().replace(tzinfo=None)
    colons, dashes = written.count(":"), written.count("-")
    if colons:
        return utc(local + timedelta(seconds=60 if colons == 1 else 1))
    if dashes == 2:
        return utc(local + timedelta(days=1))
    later = local + timedelta(days=32 if dashes else 367)
    return utc(later.replace(day=1) if dashes else later.replace(month=1, day=1))


def seconds_ago(seconds: float, now: datetime) -> str:
    """Gives the moment that many seconds ago, as records write times.

    Raises:
        UsageError: not above 0, or before the year 1.
    """
    try:
        if not seconds > 0:
            raise ValueError
        return utc(now.astimezone(UTC) - timedelta(seconds=seconds))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"last = {seconds:g} seconds is no time to look back; give one such as 10m, 2h or 3d"
        ) from error
