"""When a screenshot was taken, by the names that macOS, Linux desktops and common tools give it."""

from __future__ import annotations

import re
from datetime import datetime

from pomnit.text.times import utc

# macOS writes "Screenshot 2026-11-03 at 09.41.07", "at 9.41.07 AM" or "Снимок экрана 2026-11-03 в 09.41.07", GNOME
# "Screenshot from 2026-11-03 09-41-07" or "Снимок экрана от …", KDE and Android "Screenshot_20261103_094107",
# Flameshot "2026-11-03_09-41", scrot "2026-11-03-094107_1920x1080_scrot".
_NAME = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)"
    r"(?:[\s_T-]*(?:at|в|um|à|,)?[\s_T-]*([0-2]?\d)[-.:_]?([0-5]\d)(?:[-.:_]?([0-5]\d))?(?!\d)[\s\u202f]*([AaPp]\.?[Mm])?)?"
)


def time_in_name(name: str) -> str | None:
    """Gives the time, in UTC, that a file name states in local time; None when it states none."""
    found = _NAME.search(name)
    if not found:
        return None
    year, month, day, hour, minute, second, half = found.groups()
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + (12 if half[0] in "Pp" else 0)
    try:  # without a zone: the name states local time
        local = datetime(int(year), int(month), int(day), hours, int(minute or 0), int(second or 0))  # noqa: DTZ001 local
        return utc(local)
    except (ValueError, OverflowError, OSError):
        return None
