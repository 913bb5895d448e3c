"""PDF: the text layer with a box for each word; pages without one are drawn and recognised.

The first call, without a recogniser, gives what the text layer says; the second gives the whole.
"""

from __future__ import annotations

import ctypes
import math
import re
import statistics
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from pomnit.errors import ItemError
from pomnit.readers import Reading
from pomnit.readers.builder import TextBuilder
from pomnit.readers.encodings import undisguise
from pomnit.readers.image import lay_out, preview
from pomnit.readers.titles import sensible
from pomnit.records import Box, Place
from pomnit.settings import Settings
from pomnit.text.split import PlacedText
from pomnit.text.times import utc

if TYPE_CHECKING:
    from PIL import Image

    from pomnit.engines.protocols import Recogniser

DPI = 200
MOST_PIXELS = 12_000_000  # of a drawn page: A3 at 200 dpi is 7.7 million
_PREVIEW_PIXELS = 640 * 640
_FEW, _LITTLE = 16, 200  # letters: a page with fewer is recognised; so is one with fewer under a picture
_MOST_OBJECTS = 2_000  # of a page, looked at for a picture
_UNITS = 1 << 20  # PDFium places points on a page of so many whole units
_HYPHEN = "\x02"  # PDFium's mark of a word that goes on in the next line
# PDFium must not be called by two threads at once, not even for two documents.
_LOCK = threading.Lock()
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?\s*(?:([+-])(\d\d)'?(\d\d)?|(Z))?")


def read(data: bytes, settings: Settings, recogniser: Recogniser | None) -> Reading:
    """Reads a PDF. A place is a page and the box of a word on it.

    Raises:
        ItemError: encrypted, damaged, or without pages.
    """
    pdf = _Pdf(data)
    try:
        return _read(pdf, settings, recogniser)
    finally:
        pdf.close()


def draw(data: bytes, number: int) -> Image.Image:
    """Gives a page, from 1, as it looks.

    Raises:
        ItemError: encrypted, damaged, or without such a page.
    """
    pdf = _Pdf(data)
    try:
        if not 1 <= number <= pdf.pages:
            raise ItemError(f"the PDF has {pdf.pages} pages, and none of number {number}")
        return pdf.draw(number, DPI, MOST_PIXELS)
    finally:
        pdf.close()


def _read(pdf: _Pdf, settings: Settings, recogniser: Recogniser | None) -> Reading:
    text = TextBuilder(settings.document_chars)
    heading, unseen, seen = None, 0, 0
    for number in range(1, min(pdf.pages, settings.document_pages) + 1):
        if text.full:
            break
        layer = pdf.layer(number)
        heading = heading or (layer.heading() if number == 1 else None)
        placed = layer.placed()
        if layer.needs_eyes:
            if recogniser is not None and seen < settings.document_scans:
                placed, seen = lay_out(recogniser.recognise(pdf.draw(number, DPI, MOST_PIXELS))), seen + 1
            else:
                unseen += 1
        text.gap("\n\n")
        text.add_placed(placed, number)
    if pdf.pages > settings.document_pages:
        text.note(f"cut after {settings.document_pages} of {pdf.pages} pages: setting document_pages")
    if recogniser is not None and unseen:
        text.note(f"{unseen} more pages without text were not recognised: setting document_scans")
    title, time = pdf.info()
    more = recogniser is None and unseen > 0
    return Reading(text.done(), title or heading, time, preview(pdf.draw(1, DPI, _PREVIEW_PIXELS)), more)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    box: Box
    gap: str  # before it


@dataclass(slots=True)
class _Layer:
    """What the text layer of one page says."""

    words: list[_Word] = field(default_factory=list)
    strange: int = 0  # characters that no letter stands behind
    pictured: bool = False  # a picture covers most of the page
    drawn: bool = False  # there is anything on it

    @property
    def needs_eyes(self) -> bool:
        """Whether the page shows more than its text layer says."""
        letters = sum(c.isalnum() for word in self.words for c in word.text)
        if self.strange > letters / 4:
            return True
        return (letters < _FEW and self.drawn) or (letters < _LITTLE and self.pictured)

    def placed(self) -> PlacedText:
        text = TextBuilder(1 << 62)
        for word in self.words:
            text.gap(word.gap)
            text.add(word.text, Place(box=word.box))
        return text.done()

    def heading(self) -> str | None:
        """Gives the line in the largest letters, if they are clearly larger than the others and it stands high."""
        lines: list[list[_Word]] = []
        for word in self.words:
            if not lines or word.gap in ("\n", "\n\n"):
                lines.append([])
            lines[-1].append(word)
        if not lines:
            return None
        heights = [statistics.median(word.box[3] - word.box[1] for word in line) for line in lines]
        tallest = max(heights)
        i = heights.index(tallest)
        large = len(lines) == 1 or tallest >= 1.15 * statistics.median(heights)
        if not large or lines[i][0].box[1] > 0.6:
            return None
        return sensible(" ".join(word.text for word in lines[i]))


class _Pdf:
    """An open document. Every call of PDFium is made under the one lock."""

    def __init__(self, data: bytes) -> None:
        with _LOCK:
            import pypdfium2

            self._raw: Any = pypdfium2.raw
            self._error = pypdfium2.PdfiumError
            try:
                self._document = pypdfium2.PdfDocument(data)
                self.pages = len(self._document)
            except self._error as error:
                if getattr(error, "err_code", None) == self._raw.FPDF_ERR_PASSWORD:
                    raise ItemError("the PDF is encrypted with a password; save it without one, then add it") from error
                raise ItemError(f"the PDF is damaged: {error}") from error
        if not self.pages:
            self.close()
            raise ItemError("the PDF has no pages")

    def close(self) -> None:
        with _LOCK:
            self._document.close()

    def info(self) -> tuple[str | None, str | None]:
        """Gives title and time that the document states, where they make sense."""
        with _LOCK:
            facts = self._document.get_metadata_dict()
        return sensible(undisguise(facts.get("Title", ""))), _time(facts.get("CreationDate", ""))

    def draw(self, number: int, dpi: int, most_pixels: int) -> Image.Image:
        """Gives a page as it looks."""
        with _LOCK, self._page(number) as page:
            width, height = page.get_size()
            scale = min(dpi / 72, math.sqrt(most_pixels / max(1.0, width * height)))
            scale = min(scale, most_pixels / 256 / max(width, height, 1.0))
            bitmap = page.render(scale=scale)
            try:
                picture: Image.Image = bitmap.to_pil().convert("RGB")
                return picture
            finally:
                bitmap.close()

    def layer(self, number: int) -> _Layer:
        """Gives the words of a page."""
        with _LOCK, self._page(number) as page:
            layer = _Layer()
            text = page.get_textpage()
            try:
                layer.words = self._words(page, text, layer)
            finally:
                text.close()
            if sum(len(word.text) for word in layer.words) < 2 * _LITTLE:
                self._look(page, layer)
            return layer

    def _page(self, number: int) -> _Closing:
        try:
            return _Closing(self._document[number - 1])
        except self._error as error:
            raise ItemError(f"page {number} of the PDF is damaged") from error

    def _words(self, page: Any, text: Any, layer: _Layer) -> list[_Word]:
        characters = [chr(self._raw.FPDFText_GetUnicode(text, i)) for i in range(text.count_chars())]
        layer.strange = sum(c == "\0" or c == "\ufffd" or "\ue000" <= c <= "\uf8ff" for c in characters)
        words: list[_Word] = []
        for start, end, asked in _runs("".join(characters)):
            box = _around(self._box(page, text, start), self._box(page, text, end - 1))
            gap = "\n\n" if words and asked == "\n" and _apart(words[-1].box, box) else asked
            word = "".join(characters[start:end]).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            words.append(_Word(word, box, gap))
        whole = undisguise("\n".join(word.text for word in words)).split("\n")
        return [_Word(meant, word.box, word.gap) for word, meant in zip(words, whole, strict=False)]

    def _box(self, page: Any, text: Any, i: int) -> Box:
        """Gives the box of a character, as high as its line, as fractions of the page as it is shown."""
        rect = self._raw.FS_RECTF()
        if not self._raw.FPDFText_GetLooseCharBox(text, i, rect):
            return 0.0, 0.0, 0.0, 0.0
        x, y = ctypes.c_int(), ctypes.c_int()
        corners: list[tuple[float, float]] = []
        for at in ((rect.left, rect.top), (rect.right, rect.bottom)):
            self._raw.FPDF_PageToDevice(page, 0, 0, _UNITS, _UNITS, 0, *at, x, y)
            corners.append((_fraction(x.value), _fraction(y.value)))
        return _around((*corners[0], *corners[0]), (*corners[1], *corners[1]))

    def _look(self, page: Any, layer: _Layer) -> None:
        """Notes whether anything is drawn on a page, and whether a picture covers most of it."""
        width, height = page.get_size()
        for thing in islice(page.get_objects(max_depth=3), _MOST_OBJECTS):
            layer.drawn = layer.drawn or thing.type != self._raw.FPDF_PAGEOBJ_TEXT
            if thing.type == self._raw.FPDF_PAGEOBJ_IMAGE and thing.level == 0:
                left, bottom, right, top = thing.get_bounds()
                layer.pictured = layer.pictured or (right - left) * (top - bottom) > width * height / 2


class _Closing:
    """A page that is closed here and now: a finaliser would call PDFium from any thread."""

    def __init__(self, page: Any) -> None:
        self._page = page

    def __enter__(self) -> Any:
        return self._page

    def __exit__(self, *_: object) -> None:
        self._page.close()


def _runs(text: str) -> Iterator[tuple[int, int, str]]:
    """Gives where each word begins and ends, and the gap before it. A word that goes on in the next line is two."""
    gap, start = "", -1
    for i, c in enumerate(text + " "):
        apart = c.isspace() or c in (_HYPHEN, "\ufffe", "\0")
        if not apart:
            start = i if start < 0 else start
            continue
        if start >= 0:
            yield start, i, gap
            gap, start = "", -1
        if c == "\n":
            gap = "\n"
        elif c.isspace() and not gap:
            gap = " "


def _around(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _fraction(units: int) -> float:
    return min(1.0, max(0.0, units / _UNITS))


def _apart(above: Box, below: Box) -> bool:
    """Whether two lines are two paragraphs: more than half a line lies between them, or they are of two columns."""
    return not -0.5 < (below[1] - above[3]) / max(1e-6, above[3] - above[1]) < 0.5


def _time(date: str) -> str | None:
    """Gives a time as PDF writes it (ISO 32000-1, 7.9.4); in local time when no zone is given."""
    found = _DATE.match(date)
    if not found:
        return None
    year, *rest = (int(part) if part else None for part in found.groups()[:6])
    month, day, hour, minute, second = (part if part is not None else i < 2 for i, part in enumerate(rest))
    sign, hours, minutes, zulu = found.groups()[6:]
    try:
        moment = datetime(year or 0, int(month), int(day), int(hour), int(minute), int(second))  # noqa: DTZ001 local
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            moment = moment.replace(tzinfo=timezone(offset if sign == "+" else -offset))
        elif zulu:
            moment = moment.replace(tzinfo=UTC)
        return utc(moment)
    except (ValueError, OverflowError, OSError):
        return None
