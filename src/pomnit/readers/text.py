"""Plain text and Markdown: the text as it is, a line number for each line, the first heading as the title."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pomnit.readers import Reading
from pomnit.readers.encodings import clean, decode
from pomnit.records import Place
from pomnit.settings import Settings
from pomnit.text.split import PlacedText, Span

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_TITLE_LENGTH = 120


def read(data: bytes, _settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads a text in any encoding that ``encodings`` knows.

    Raises:
        ItemError: it is no text.
    """
    text = clean(decode(data))
    spans, at = [], 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            spans.append(Span(at, at + len(line), Place(line=number)))
        at += len(line) + 1
    heading = _HEADING.search(text)
    return Reading(PlacedText(text, spans), title=heading.group(1)[:_TITLE_LENGTH] if heading else None)
