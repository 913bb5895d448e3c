"""Slides: the text of each, then the speaker's notes; a slide's number is its page."""

from __future__ import annotations

from pomnit.readers.builder import TextBuilder
from pomnit.readers.package import Package
from pomnit.readers.titles import sensible
from pomnit.records import Place
from pomnit.settings import Settings

_TITLES = ("title", "ctrTitle")


def write(package: Package, main: str, text: TextBuilder, settings: Settings) -> str | None:
    """Writes the slides in the order in which they are shown; gives the title of the first."""
    parts = package.related(main)
    wanted = [a.get("r:id", "") for kind, tag, a in package.events(main) if kind == "start" and tag == "sldId"]
    slides = [parts[id_][1] for id_ in wanted if id_ in parts]
    title = None
    for number, slide in enumerate(slides[: settings.document_pages], 1):
        if text.full:
            break
        shown = _write(package, slide, number, text)
        title = title or shown
        for kind, notes in package.related(slide).values():
            if kind == "notesSlide":
                _write(package, notes, number, text)
    if len(slides) > settings.document_pages:
        text.note(f"cut after {settings.document_pages} of {len(slides)} slides: setting document_pages")
    return title


def _write(package: Package, name: str, number: int, text: TextBuilder) -> str | None:
    """Writes one slide or its notes; gives its title."""
    place, title = Place(page=number), ""
    in_text = in_title = False
    for kind, tag, attributes in package.events(name):
        if kind == "text" and in_text:
            text.add(tag, place)
            title += tag[:1000] if in_title and len(title) < 1000 else ""
        elif kind == "start":
            in_text = tag == "t" or (in_text and tag != "t")
            in_title = attributes.get("type") in _TITLES if tag == "ph" else in_title and tag != "sp"
            text.gap("\n" if tag == "br" else "")
        elif kind == "end":
            in_text = in_text and tag != "t"
            text.gap({"p": "\n", "tc": "\t", "tr": "\n", "sp": "\n\n"}.get(tag, ""))
            if in_title and tag == "p":
                title += " "
    text.gap("\n\n")
    return sensible(title)
