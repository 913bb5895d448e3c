"""Subtitles (SRT, WebVTT): what is said, each line at its time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pomnit.errors import ItemError
from pomnit.readers import Reading
from pomnit.readers.builder import TextBuilder
from pomnit.readers.encodings import clean, decode
from pomnit.records import Place
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

_MOMENT = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_MOMENT}\s*-->\s*{_MOMENT}")
_TAGS = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_PAUSE_S = 3.0  # of silence: a new paragraph


def read(data: bytes, settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads subtitles in any encoding. Places are the seconds from the beginning of the film.

    Raises:
        ItemError: there are no times in it.
    """
    text = TextBuilder(settings.document_chars)
    place, end, last = None, 0.0, ""
    for line in clean(decode(data)).split("\n"):
        if times := _TIMES.match(line):
            start, before = _seconds(times.groups()[:4]), end
            end = max(start, _seconds(times.groups()[4:]))
            place = Place(start_s=start, end_s=end)
            text.gap("\n\n" if start - before > _PAUSE_S else "\n")
        elif not line.strip():
            place = None
        elif place:
            said = " ".join(_TAGS.sub("", line).split())
            if said != last:  # rolling captions show each line twice
                text.gap("\n")
                text.add(said, place)
            last = said or last
    if not text.length:
        raise ItemError("there are no subtitles in it")
    return Reading(text.done())


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
