"""OpenDocument: texts, sheets and slides, which all keep their content in one part of the same words."""

from __future__ import annotations

from pomnit.errors import ItemError
from pomnit.readers.builder import TextBuilder
from pomnit.readers.package import Package
from pomnit.readers.titles import sensible
from pomnit.records import Place
from pomnit.settings import Settings

_MOST_ROWS = 1 << 22  # that a sheet may count to: empty ones are written as one that is repeated


def write(package: Package, main: str, text: TextBuilder, settings: Settings) -> str | None:
    """Writes the content; gives the first heading of a text, or the title of the first slide."""
    if package.holds("META-INF/manifest.xml", "encryption-data"):
        raise ItemError("the document is encrypted; save it without a password, then add it")
    kind = package.read("mimetype").decode("ascii", "replace").strip().rpartition(".")[2]
    content = _Content(text, kind, settings)
    content.page = 1 if kind == "text" and package.holds(main, "soft-page-break") else 0
    for event, tag, attributes in package.events(main):
        if content.over:
            break
        if event == "text":
            content.add(tag)
        elif event == "start":
            content.start(tag, attributes)
        else:
            content.end(tag)
    if content.rows >= settings.document_rows:
        text.note(f"cut after {content.rows} rows: setting document_rows")
    return sensible(content.heading)


class _Content:
    def __init__(self, text: TextBuilder, kind: str, settings: Settings) -> None:
        self.text, self.heading, self.page, self.rows = text, "", 0, 0
        self._most_rows = settings.document_rows
        self._is_sheet, self._is_slides = kind.startswith("spreadsheet"), kind.startswith("presentation")
        self._paragraphs = self._cells = self._skip = self._row = 0
        self._in_heading = self._filled = False
        self._sheet: str | None = None
        self._repeated = "1"

    @property
    def over(self) -> bool:
        return self.text.full or self.rows >= self._most_rows

    def add(self, words: str) -> None:
        if self._paragraphs and not self._skip:
            self.text.add(words.replace("\n", " "), self._place())
            self._filled = True
            if self._in_heading and len(self.heading) < 1000:
                self.heading += words

    def _place(self) -> Place | None:
        if self._is_sheet:
            return Place(sheet=self._sheet, line=self._row)
        return Place(page=self.page) if self.page else None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ("p", "h"):
            self._paragraphs += 1
            title = tag == "h" or (self._is_slides and self.page == 1)
            self._in_heading = title and not self.heading
        elif tag == "tracked-changes":
            self._skip += 1
        elif tag in ("s", "tab", "line-break"):
            self.text.gap({"s": " ", "tab": "\t", "line-break": "\n"}[tag])
        elif tag == "soft-page-break" or (tag == "page" and self._is_slides):
            self.page += 1 if self.page or self._is_slides else 0
        elif tag == "table" and self._is_sheet:
            self._sheet, self._row = attributes.get("table:name", "")[:100], 0
            if sensible(self._sheet):
                self.text.add(self._sheet, Place(sheet=self._sheet))
            self.text.gap("\n")
        elif tag == "table-row":
            self._row, self._filled = self._row + 1, False
            self._repeated = attributes.get("table:number-rows-repeated", "1")
        elif tag == "table-cell":
            self._cells += 1

    def end(self, tag: str) -> None:
        if tag in ("p", "h"):
            self._paragraphs -= 1
            self._in_heading = False
            self.text.gap(" " if self._cells else "\n\n")
        elif tag == "tracked-changes":
            self._skip -= 1
        elif tag == "table-cell":
            self._cells -= 1
            self.text.gap("\t")
        elif tag == "table-row":
            self.text.gap("\n")
            self.rows += self._filled
            if self._repeated.isdecimal() and len(self._repeated) < 8:
                self._row = min(_MOST_ROWS, self._row + int(self._repeated) - 1)
        elif tag in ("table", "page"):
            self.text.gap("\n\n")
