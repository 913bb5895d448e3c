"""A text in the making: pieces with their places, gaps between them, and an end when it grows too long."""

from __future__ import annotations

from pomnit.readers.encodings import clean
from pomnit.records import Place
from pomnit.text.split import PlacedText, Span

_GAPS = ("", " ", "\t", "\n", "\n\n")  # from the weakest to the strongest


class TextBuilder:
    """Collects a text of at most ``most`` characters. A gap is written only between two pieces."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.length = 0
        self._parts: list[str] = []
        self._spans: list[Span] = []
        self._gap = ""
        self._notes: list[str] = []

    @property
    def full(self) -> bool:
        """Whether nothing more is taken; whoever reads on would read in vain."""
        return self.length >= self.most

    def add(self, text: str, place: Place | None = None) -> None:
        """Adds a piece, cleaned, that lies at ``place``. Empty ones and those after the end are left out."""
        text = clean(text)
        if not text or self.full:
            return
        if self._parts:
            self._parts.append(self._gap)
            self.length += len(self._gap)
        self._gap = ""
        text = text[: max(1, self.most - self.length)]
        self._parts.append(text)
        if place is not None:
            self._spans.append(Span(self.length, self.length + len(text), place))
        self.length += len(text)

    def gap(self, gap: str) -> None:
        """Asks for a gap (a space, tab, line or paragraph) before the next piece; the strongest asked for counts."""
        if _GAPS.index(gap) > _GAPS.index(self._gap):
            self._gap = gap

    def add_placed(self, placed: PlacedText, page: int) -> None:
        """Adds a text that has places of its own, all of them on one page."""
        at = 0
        for span in placed.spans:
            self.add(placed.text[at : span.start])
            here = span.place
            self.add(placed.text[span.start : span.end], Place(page=page, line=here.line, box=here.box))
            at = span.end
        self.add(placed.text[at:])

    def note(self, note: str) -> None:
        """Says at the end of the text that something was left out."""
        self._notes.append(note)

    def done(self) -> PlacedText:
        """Gives the whole, with a last paragraph for each thing left out."""
        if self.full:
            self.note(f"cut after {self.most} characters")
        notes = "".join(f"\n\n[{note}]" for note in self._notes)
        return PlacedText("".join(self._parts) + notes, self._spans)
