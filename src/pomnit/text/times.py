"""Times as records write them: ISO 8601 in UTC with milliseconds and a final Z, so that they sort as text.

Those of a recording count from its beginning, in seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime


def utc(moment: datetime) -> str:
    """Gives a moment as records write it; one without a zone is taken as local time.

    Raises:
        ValueError, OverflowError, OSError: outside the years 1 to 9999, or unknown to this system's time zones.
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """Gives the present."""
    return utc(datetime.now(UTC))


def from_seconds(seconds: float) -> str:
    """Gives a file's time; the beginning of 1970 where the file system gives nonsense."""
    try:
        return utc(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        return utc(datetime.fromtimestamp(0, UTC))


def clock(seconds: float) -> str:
    """Gives a moment of a recording as people write it: 12:04, 1:02:03."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
