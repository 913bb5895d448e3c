"""Tables as text (CSV, TSV): a line for each row, its cells apart by tabs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pomnit.readers import Reading
from pomnit.readers.builder import TextBuilder
from pomnit.readers.encodings import clean, decode
from pomnit.records import Place
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

_DELIMITERS = ";\t,|"  # the first wins a tie: where commas part the cents, semicolons part the cells


def read(data: bytes, settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads a table in any encoding.

    Raises:
        ItemError: it is no text.
    """
    lines = clean(decode(data)).split("\n")
    text = TextBuilder(settings.document_chars)
    rows = 0
    for number, cells in _rows(lines):
        row = "\t".join(cell for cell in (" ".join(cell.split()) for cell in cells) if cell)
        if not row:
            continue
        if rows >= settings.document_rows:
            text.note(f"cut after {rows} rows: setting document_rows")
            break
        text.gap("\n")
        text.add(row, Place(line=number))
        rows += 1
    return Reading(text.done())


def _rows(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Gives each row with the number of its first line. From a quote that is never closed on, lines are rows."""
    delimiter = _delimiter(lines)
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    done = 0
    try:
        for cells in reader:
            yield done + 1, cells
            done = reader.line_num
    except csv.Error:
        for number, line in enumerate(islice(lines, done, None), done + 1):
            yield number, line.split(delimiter)


def _delimiter(lines: list[str]) -> str:
    """Gives what parts the cells: the sign that most lines have equally often."""
    head = [line[:10_000] for line in islice(filter(None, lines), 20)]

    def evenness(sign: str) -> tuple[int, int]:
        counts = [line.count(sign) for line in head]
        usual = max(counts, key=counts.count, default=0)
        return (counts.count(usual), usual) if usual else (0, max(counts, default=0))

    return max(_DELIMITERS, key=evenness)
