"""Web pages that were saved: what is read on them, with the line of the source; nothing they refer to is fetched."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from pomnit.readers import Reading
from pomnit.readers.builder import TextBuilder
from pomnit.readers.encodings import clean, decode
from pomnit.readers.titles import sensible
from pomnit.records import Place
from pomnit.settings import Settings

if TYPE_CHECKING:
    from pomnit.engines.protocols import Recogniser

_STEP = 1 << 22  # characters, after each of which it is asked whether the text is full
_CHARSET = re.compile(rb"""charset\s{0,9}=\s{0,9}["']?\s{0,9}([\w-]{1,40})""", re.IGNORECASE)
_SILENT = frozenset(("script", "style", "template", "noscript", "svg", "math", "object", "iframe", "head"))
_LINES = frozenset(("br", "li", "dt", "dd", "tr", "option", "caption", "figcaption", "hr"))
_BLOCK_NAMES = """
address article aside blockquote body details div dl fieldset figure footer form h1 h2 h3 h4 h5 h6 header main nav ol p
pre section summary table ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())


def read(data: bytes, settings: Settings, _recogniser: Recogniser | None) -> Reading:
    """Reads an HTML page.

    Raises:
        ItemError: it is no text.
    """
    claimed = _CHARSET.search(data[:4096])
    text = TextBuilder(settings.document_chars)
    title = write(decode(data, claimed[1].decode() if claimed else None), text, lines=True)
    return Reading(text.done(), title)


def write(source: str, text: TextBuilder, *, lines: bool = False) -> str | None:
    """Writes what is read on a page, with ``lines`` each piece at its line of the source; gives the page's title."""
    page = _Page(text, lines)
    # A marked section is a comment for browsers; the parser of Python 3.11 stops at an unknown one.
    source = clean(source).replace("<![", "<!x[")
    for at in range(0, len(source), _STEP):
        if text.full:
            break
        page.feed(source[at : at + _STEP])
    # Not closed: at the end of a cut page the parser would try each "<" anew, in quadratic time.
    if page.rawdata and not page.rawdata.startswith("<"):
        page.handle_data(unescape(page.rawdata))
    return sensible(page.title) or sensible(page.heading)


class _Page(HTMLParser):
    def __init__(self, text: TextBuilder, lines: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.title = self.heading = ""
        self._text, self._lines = text, lines
        self._silent: list[str] = []
        self._in_title = self._in_heading = self._in_pre = False

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = not self.title
        elif tag == "body":
            self._silent.clear()
        elif tag in _SILENT:
            self._silent.append(tag)
        elif tag == "h1":
            self._in_heading = not self.heading
        elif tag == "pre":
            self._in_pre = True
        self._gap(tag)

    def handle_startendtag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self._gap(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in _SILENT:
            if tag in self._silent:
                del self._silent[self._silent.index(tag) :]
        elif tag == "h1":
            self._in_heading = False
        elif tag == "pre":
            self._in_pre = False
        self._gap(tag)

    def _gap(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._text.gap("\n\n")
        elif tag in _LINES:
            self._text.gap("\n")
        elif tag in ("td", "th"):
            self._text.gap("\t")

    def handle_data(self, data: str) -> None:
        if self._in_title and len(self.title) < 1000:
            self.title += data
        if self._in_title or self._silent or self._text.full:
            return
        first = self.getpos()[0]
        for number, line in enumerate(data.split("\n") if self._in_pre else [data], first):
            words = line.split()
            if number > first:
                self._text.gap("\n")
            elif line[:1].isspace():
                self._text.gap(" ")
            self._text.add(" ".join(words), Place(line=number) if self._lines else None)
            if line[-1:].isspace():
                self._text.gap(" ")
        if self._in_heading and len(self.heading) < 1000:
            self.heading += data
