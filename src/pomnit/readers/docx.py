"""Word documents: paragraphs, tables, notes and comments; what was deleted under tracking stays out."""

from __future__ import annotations

import re

from pomnit.readers.builder import TextBuilder
from pomnit.readers.package import Package
from pomnit.readers.titles import sensible
from pomnit.records import Place
from pomnit.settings import Settings

_BESIDE = re.compile(r"word/(?:header|footer|footnotes|endnotes|comments)\d*\.xml")
_HEADINGS = ("title", "heading 1")


def write(package: Package, main: str, text: TextBuilder, _settings: Settings) -> str | None:
    """Writes the body, then what stands beside it. Pages are those of the last printing, when the file has them."""
    story = _Story(text, _headings(package))
    story.page = 1 if package.holds(main, "lastRenderedPageBreak") else None
    story.write(package, main)
    story.page = None
    for name in sorted(filter(_BESIDE.fullmatch, package.names)):
        story.write(package, name)
    return sensible(story.heading)


def _headings(package: Package) -> set[str]:
    """Gives the ids of the styles of titles and first headings; only their names are the same in every language."""
    style, found = "", set()
    for kind, tag, attributes in package.events("word/styles.xml"):
        if kind == "start" and tag == "style":
            style = attributes.get("styleId", "")
        elif kind == "start" and tag == "name" and attributes.get("val", "").lower() in _HEADINGS:
            found.add(style)
    return found


class _Story:
    """One flow of paragraphs."""

    def __init__(self, text: TextBuilder, headings: set[str]) -> None:
        self.text = text
        self.heading: str | None = None
        self.page: int | None = None
        self._headings = headings
        self._is_heading = self._in_text = self._broken = False
        self._skip = self._cells = 0

    def write(self, package: Package, name: str) -> None:
        for kind, tag, attributes in package.events(name):
            if self.text.full:
                return
            if tag == "Fallback" and kind != "text":  # the same again, for old programs
                self._skip += 1 if kind == "start" else -1
            elif self._skip:
                continue
            elif kind == "text":
                self._add(tag)
            elif kind == "start":
                self._start(tag, attributes)
            else:
                self._end(tag)
        self.text.gap("\n\n")

    def _add(self, words: str) -> None:
        if self._in_text:
            self.text.add(words, Place(page=self.page) if self.page else None)
            self._broken = False
            if self._is_heading and len(self.heading or "") < 1000:
                self.heading = (self.heading or "") + words

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "t":
            self._in_text = True
        elif tag == "pStyle":
            self._is_heading = self.heading is None and attributes.get("val") in self._headings
        elif tag == "tab":
            self.text.gap("\t")
        elif tag in ("br", "cr"):
            self.text.gap("\n")
            if attributes.get("type") == "page":
                self._turn()
        elif tag == "lastRenderedPageBreak":
            if not self._broken:  # else it repeats a break that the writer made
                self._turn()
            self._broken = False
        elif tag == "noBreakHyphen":
            self._in_text, before = True, self._in_text
            self._add("-")
            self._in_text = before
        elif tag == "tc":
            self._cells += 1

    def _turn(self) -> None:
        if self.page:
            self.page += 1
            self._broken = True

    def _end(self, tag: str) -> None:
        if tag == "t":
            self._in_text = False
        elif tag == "p":
            self._is_heading = False
            self.text.gap(" " if self._cells else "\n\n")
        elif tag == "tc":
            self._cells -= 1
            self.text.gap("\t")
        elif tag == "tr":
            self.text.gap("\n")
