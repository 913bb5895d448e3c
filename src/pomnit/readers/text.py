"""Plain text and Markdown: the text as it is, a line number for each line, the first heading as the title."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from pomnit.errors import ItemError
from pomnit.readers import Reading
from pomnit.records import Place
from pomnit.settings import Settings
from pomnit.text.split import PlacedText, Span

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_TITLE_LENGTH = 120
# What the spaces and controls of other systems become; a NUL or a form feed would end or hide text elsewhere.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read(data: bytes, _settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads a text in UTF-8 or UTF-16 with a byte order mark.

    Raises:
        ItemError: it is in neither.
    """
    text = clean(decode(data))
    spans, at = [], 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            spans.append(Span(at, at + len(line), Place(line=number)))
        at += len(line) + 1
    heading = _HEADING.search(text)
    return Reading(PlacedText(text, spans), title=heading.group(1)[:_TITLE_LENGTH] if heading else None)


def decode(data: bytes) -> str:
    """Gives the text of bytes in UTF-8, or in UTF-16 with a byte order mark.

    Raises:
        ItemError.
    """
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ItemError(f"the text is not in UTF-8 (byte {error.start} of {len(data)}); save it in UTF-8") from error


def clean(text: str) -> str:
    """Gives a text with line feeds for line ends, composed letters, and no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub(" ", unicodedata.normalize("NFC", text))
