"""Spreadsheets: every row of every sheet, as values: what formulas gave last, dates as dates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from pomnit.readers.builder import TextBuilder
from pomnit.readers.package import Event, Package
from pomnit.readers.titles import sensible
from pomnit.records import Place
from pomnit.settings import Settings

_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}  # ECMA-376, 18.8.30: built-in formats
_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.')
_LONGEST_ROW = 1_000_000  # characters


def write(package: Package, main: str, text: TextBuilder, settings: Settings) -> str | None:
    """Writes the sheets in their order, a line for each row that holds anything, cells apart by tabs."""
    sheets, since = _sheets(package, main)
    strings = _strings(package, 2 * settings.document_chars)
    values = _Values(strings, _date_styles(package), since)
    rows = 0
    for name, part in sheets:
        if sensible(name):
            text.add(name, Place(sheet=name))
        for number, cells in _rows(package.events(part), values):
            if text.full or rows >= settings.document_rows:
                break
            text.gap("\n")
            text.add("\t".join(cells), Place(sheet=name, line=number))
            rows += 1
        else:
            text.gap("\n\n")
            continue
        break
    if rows >= settings.document_rows:
        text.note(f"cut after {rows} rows: setting document_rows")
    return None


def _sheets(package: Package, main: str) -> tuple[list[tuple[str, str]], datetime]:
    """Gives name and part of each sheet, and the day from which dates are counted."""
    parts, sheets, since = package.related(main), [], datetime(1899, 12, 30)  # noqa: DTZ001 cells have no zone
    for kind, tag, attributes in package.events(main):
        if kind == "start" and tag == "sheet" and attributes.get("r:id") in parts:
            sheets.append((attributes.get("name", "")[:100], parts[attributes["r:id"]][1]))
        elif kind == "start" and tag == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            since = datetime(1904, 1, 1)  # noqa: DTZ001
    return sheets, since


def _strings(package: Package, most: int) -> list[str]:
    """Gives the texts that cells refer to by number, at most ``most`` characters together."""
    strings: list[str] = []
    parts: list[str] = []
    in_text = phonetic = False
    for kind, tag, _ in package.events("xl/sharedStrings.xml"):
        if kind == "text":
            if in_text and not phonetic:
                parts.append(tag)
                most -= len(tag)
        elif tag == "t":
            in_text = kind == "start"
        elif tag == "rPh":  # how to pronounce it
            phonetic = kind == "start"
        elif tag == "si" and kind == "end":
            strings.append("".join(parts))
            parts = []
        if most < 0 or len(strings) > 2_000_000:
            break
    return strings


def _date_styles(package: Package) -> set[int]:
    """Gives the numbers of the cell styles that show a number as a date."""
    dates, styles, inside, number = set(_DATES), set(), False, 0
    for kind, tag, attributes in package.events("xl/styles.xml"):
        if tag == "cellXfs":
            inside = kind == "start"
        elif kind == "start" and tag == "numFmt":
            if re.search("[dymh]", _QUOTED.sub("", attributes.get("formatCode", "").lower())):
                dates.add(_number(attributes.get("numFmtId")))
        elif kind == "start" and tag == "xf" and inside:
            if _number(attributes.get("numFmtId")) in dates:
                styles.add(number)
            number += 1
    return styles


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else -1


class _Values:
    """What a cell shows, from what it holds."""

    def __init__(self, strings: list[str], dates: set[int], since: datetime) -> None:
        self._strings, self._dates, self._since = strings, dates, since

    def of(self, held: str, kind: str, style: int) -> str:
        if kind == "s":
            at = _number(held)
            return self._strings[at].strip() if 0 <= at < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if held == "1" else "FALSE"
        if kind not in ("n", ""):
            return held.strip()
        try:
            value = float(held)
            return self._date(value) if style in self._dates else f"{value:.15g}"
        except (ValueError, OverflowError):
            return held.strip()

    def _date(self, days: float) -> str:
        moment = self._since + timedelta(days=round(days * 86400) / 86400)
        if 0 <= days < 1:
            return f"{moment:%H:%M}"
        return f"{moment:%Y-%m-%d}" if days == int(days) else f"{moment:%Y-%m-%d %H:%M}"


def _rows(events: Iterator[Event], values: _Values) -> Iterator[tuple[int, list[str]]]:
    """Gives number and cells of each row that is not empty."""
    number, size = 0, 0
    cells: list[str] = []
    parts: list[str] = []
    cell, taking = ("", -1), False
    for kind, tag, attributes in events:
        if kind == "text":
            if taking and size < _LONGEST_ROW:
                parts.append(tag)
                size += len(tag)
        elif kind == "start":
            if tag == "row":
                number, cells, size = max(number + 1, _number(attributes.get("r"))), [], 0
            elif tag == "c":
                cell, parts = (attributes.get("t", "n"), _number(attributes.get("s"))), []
            taking = taking or tag in ("v", "t")
        elif tag in ("v", "t"):
            taking = False
        elif tag == "c" and parts and (shown := values.of("".join(parts), *cell)):
            size += len(shown)
            if size < 2 * _LONGEST_ROW:
                cells.append(shown)
            parts = []
        elif tag == "row" and cells:
            yield number, cells
            cells = []
